"""A real Orthanc with its DICOMweb plugin, on free ports, in a folder of its own; and a line to it that can stall."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.dicom_files import write
from tests.support.needs import dicomweb_plugin, program
from tests.support.study_server import free_port
from tests.support.web_server import until

OPEN = {"DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "AuthenticationEnabled": False}


class Orthanc:
    """A server that can be stopped, killed and started again on the same storage; `settings` replace its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.dicom_port, self.web_port = folder, free_port(), free_port()
        storage = folder / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        own = {
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": True,
            "DicomPort": self.dicom_port,
            "HttpPort": self.web_port,
            "Plugins": [str(dicomweb_plugin())],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "SyncStorageArea": False,
            "SaveJobs": False,
        }
        (folder / "orthanc.json").write_text(json.dumps(own | OPEN | settings))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        command = [str(program("Orthanc")), str(self.folder / "orthanc.json")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: all(map(listens, (self.dicom_port, self.web_port))))
        return self

    def kill(self) -> None:
        """End it without a word, as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def pacs(self, query: str = "", scheme: str = "pacs", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.dicom_port}/ORTHANC{query}"

    def web(self, query: str = "", scheme: str = "dicomweb", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.web_port}/dicom-web{query}"

    def rest(self, path: str) -> Any:
        """What its own interface says, without TLS and login."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}{path}") as answer:
            return json.load(answer)

    def __len__(self) -> int:
        """How many instances it has."""
        return self.rest("/statistics")["CountInstances"]


@contextmanager
def orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """Run a server until the end of the block."""
    server = Orthanc(folder, **settings)
    try:
        yield server.start()
    finally:
        server.kill()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def kill_when(server: Orthanc, reached: Any) -> threading.Thread:
    """Kill a server, in a thread, as soon as a condition holds."""

    def watch() -> None:
        while not reached():
            time.sleep(0.002)
        server.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


class SlowLine:
    """A port that leads to another one; it passes no more than `allowed` bytes back, each piece after a pause (s).

    tls: the certificate and key of its own end: HTTPS of Orthanc 1.10.1 itself ends in a crash with OpenSSL 3.
    """

    def __init__(self, port: int, tls: tuple[Path, Path] | None = None) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._context and tls:
            self._context.load_cert_chain(*tls)
        self.allowed, self.pause = 1 << 60, 0.0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        with suppress(OSError):
            near = self._context.wrap_socket(near, server_side=True) if self._context else near
            far = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
            self._pass(far, near, True)

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(4096):
                if counts:
                    time.sleep(self.pause)
                    self.allowed -= len(piece)
                    while self.allowed < 0:
                        time.sleep(0.02)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of so many bytes, which only root can have."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def write_heads(
    folder: Path, count: int, root: str = "1.2.826.0.1.3680043.8.498.7", per_series: int = 100, whose: str = "Müller"
) -> Path:
    """CT images of noise, no two alike; each series is a study of a patient of its own; the tenth shows the neck."""
    rng = np.random.default_rng(int(root.rpartition(".")[2]))
    for i in range(count):
        part, number = divmod(i, per_series)
        write(
            folder / f"{part}" / f"{number:04d}.dcm",
            rng.integers(0, 4096, (16, 16), np.uint16),
            SOPInstanceUID=f"{root}.{part}.{number + 1}",
            SeriesInstanceUID=f"{root}.{part}.0",
            StudyInstanceUID=f"{root}.{part}",
            PatientID=f"{whose}-{part}",
            SpecificCharacterSet="ISO_IR 192",
            SeriesDescription="NECK" if part == 9 else f"Head axial {part}",
            StudyDate=f"202{part}0131",
            ImagePositionPatient=[0.0, 0.0, float(number)],
            InstanceNumber=number + 1,
        )
    return folder


def pixels_of(folders: Path | Sequence[Path]) -> dict[str, bytes]:
    """The pixels of all DICOM files below folders, by SOP instance UID."""
    from pydicom import dcmread

    folders = [folders] if isinstance(folders, Path) else folders
    files = [dcmread(path) for folder in folders for path in folder.rglob("*.dcm")]
    found = {str(file.SOPInstanceUID): bytes(file.PixelData) for file in files}
    assert len(found) == len(files), "an image is there twice"
    return found


def certificate(folder: Path, name: str, *, host: str = "localhost", days: int = 30) -> tuple[Path, Path]:
    """A certificate of its own making and its key, for a host; with a negative number of days it has expired."""
    folder.mkdir(exist_ok=True)
    cert, key, request, names = (folder / f"{name}.{kind}" for kind in ("crt", "key", "csr", "ext"))
    names.write_text(f"subjectAltName=DNS:{host}\n")
    asked = ["req", "-new", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={host}", "-keyout", key, "-out", request]
    signed = ["x509", "-req", "-in", request, "-signkey", key, "-days", days, "-extfile", names, "-out", cert]
    for words in (asked, signed):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key
