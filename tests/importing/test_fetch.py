"""Fetching public data and reading their original formats, against a server of this test on 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from phonybrains.errors import ConfigError, OutputError, SourceError
from phonybrains.importing import download as download_module
from phonybrains.importing.config import ImportConfig
from phonybrains.importing.download import unzip
from phonybrains.importing.fetch import fetch
from phonybrains.importing.matlab import Matlab
from phonybrains.importing.slices import Slice
from phonybrains.importing.volumes.ct_ich import is_ct_ich, read_ct_ich
from phonybrains.record import read_record
from tests.support.imports import parted, run
from tests.support.volume_files import volume

LOGIN = {"user": "reader", "password": "a secret"}
BASIC = "Basic " + base64.b64encode(b"reader:a secret").decode()
CONFIG = ImportConfig()


@dataclass
class Server:
    """What the server holds, how it misbehaves, and what it was asked: (path, Range, bytes sent)."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    needs_login: bool = False
    forbidden: bool = False
    cut_after: dict[str, int] = field(default_factory=dict)
    resumes: bool = True
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def asked_for(self, name: str) -> list[tuple[str, int]]:
        return [(span, sent) for path, span, sent in self.asked if path.endswith(name)]

    def cheng(self, tmp_path: Path) -> Path:
        return fetch("cheng2017", tmp_path / "cheng", base_url=f"{self.url}/v2", progress=False)

    def ct_ich(self, tmp_path: Path, **login: str) -> Path:
        return fetch("ct-ich", tmp_path / "ct", base_url=self.url, progress=False, **login)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span, content = self.headers.get("Range", ""), state.files.get(self.path)
            if state.needs_login and self.headers.get("Authorization", "") != BASIC:
                return self.refuse(401)
            if state.forbidden or content is None:
                return self.refuse(403 if state.forbidden else 404)
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and state.resumes else 0
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: state.cut_after.pop(self.path, len(body))]
            state.asked.append((self.path, span, len(body)))
            self.wfile.write(body)
            self.close_connection = True

        def refuse(self, status: int) -> None:
            state.asked.append((self.path, self.headers.get("Range", ""), 0))
            self.send_error(status)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(download_module, "RETRY_AFTER_S", (0.0, 0.0))
    for name in ("PHYSIONET_USER", "PHYSIONET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    yield state
    http.shutdown()
    http.server_close()


def mat_bytes(label: int = 2, patient: str = "100360", image: np.ndarray | None = None) -> bytes:
    """A slice as MATLAB 7.3 writes it: arrays transposed, the text as a column of character codes."""
    image = np.arange(48 * 64, dtype=np.int16).reshape(48, 64) if image is None else image
    mask = np.zeros(image.shape, np.uint8)
    mask[12:24, 48:56] = 1
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        group["label"] = np.array([[float(label)]])
        group["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        group["image"], group["tumorMask"] = image.T, mask.T
        group["tumorBorder"] = np.array([[48.0, 12.0, 56.0, 24.0]])
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"
    return header + buffer.getvalue()[len(header) :]


def zip_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def publish_cheng(server: Server, files: dict[str, bytes]) -> None:
    """Put files on the server as figshare lists them."""
    listed = []
    for number, (name, content) in enumerate(files.items()):
        server.files[f"/files/{number}"] = content
        md5, url = hashlib.md5(content).hexdigest(), f"{server.url}/files/{number}"
        facts = {"id": number, "name": name, "size": len(content), "is_link_only": False, "download_url": url}
        listed.append(facts | {"computed_md5": md5, "supplied_md5": md5})
    server.files["/v2/articles/1512427/versions/5"] = json.dumps({"files": listed}).encode()


def publish_ct_ich(server: Server, files: dict[str, bytes]) -> None:
    """Put files on the server as PhysioNet does."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items())
    server.files |= {f"/{name}": content for name, content in {**files, "SHA256SUMS.txt": sums.encode()}.items()}


RANDOM = np.random.default_rng(0).bytes(700_000)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_cheng2017_is_fetched_checked_and_unpacked(server: Server, tmp_path: Path) -> None:
    """ZIP parts are unpacked into folders of their names, other files lie beside them, and the record names it all."""
    parts = {"brainTumorDataPublic_1-766.zip": zip_bytes({"1.mat": mat_bytes(), "2.mat": mat_bytes(3)})}
    publish_cheng(server, {**parts, "cvind.mat": b"folds", "README.txt": b"read me"})
    out = server.cheng(tmp_path)
    assert leftovers(out) == ["1.mat", "2.mat", "README.txt", "cvind.mat", "record.json"]
    assert (out / "brainTumorDataPublic_1-766" / "1.mat").read_bytes() == mat_bytes()
    record = read_record(out)
    assert record["sources"][0]["licence"] == "CC BY 4.0"
    assert record["results"]["files"]["README.txt"] == "md5:" + hashlib.md5(b"read me").hexdigest()
    found, _ = parted(Matlab().read(out, sorted(out.rglob("*.mat")), CONFIG))
    assert [item.attributes["diagnosis"] for item in found] == ["glioma", "pituitary"]


def test_import_takes_the_licence_of_what_was_fetched(server: Server, tmp_path: Path) -> None:
    """Nobody has to type the licence again: it goes from the download's record into the corpus's."""
    publish_cheng(server, {"brainTumorDataPublic_1-766.zip": zip_bytes({"1.mat": mat_bytes(), "2.mat": mat_bytes(3)})})
    run(server.cheng(tmp_path), tmp_path / "corpus", ImportConfig(size=32))
    record = read_record(tmp_path / "corpus")
    assert [source["licence"] for source in record["sources"]] == ["CC BY 4.0"]
    assert record["inputs"][0]["record"]["stage"] == "fetch"


def test_second_run_downloads_nothing(server: Server, tmp_path: Path) -> None:
    """When everything is there, the same command does not even ask the server."""
    publish_cheng(server, {"a.zip": zip_bytes({"1.mat": b"x"})})
    server.cheng(tmp_path)
    server.asked.clear()
    server.cheng(tmp_path)
    assert server.asked == []


def test_a_cut_download_goes_on_by_range(server: Server, tmp_path: Path) -> None:
    """After a connection was cut in the middle, only the rest is asked for and sent."""
    content = zip_bytes({"1.mat": RANDOM})
    publish_cheng(server, {"a.zip": content})
    server.cut_after["/files/0"] = 400_000
    out = server.cheng(tmp_path)
    first, second = server.asked_for("/files/0")
    assert first == ("", 400_000)
    start = int(second[0].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 400_000
    assert second[1] == len(content) - start
    assert (out / "a" / "1.mat").read_bytes() == RANDOM


def test_the_same_command_goes_on_after_it_failed(server: Server, tmp_path: Path, monkeypatch) -> None:
    """Without a connection the command fails and says so; given again, it fetches nothing twice."""
    monkeypatch.setattr(download_module, "RETRY_AFTER_S", ())
    publish_cheng(server, {"README.txt": b"read me", "a.zip": zip_bytes({"1.mat": RANDOM})})
    server.cut_after["/files/1"] = 300_000
    with pytest.raises(SourceError, match=r"a\.zip: the connection was lost.*again to go on"):
        server.cheng(tmp_path)
    assert not (tmp_path / "cheng").exists()
    server.cheng(tmp_path)
    assert len(server.asked_for("/files/0")) == 1
    assert server.asked_for("/files/1")[1][0].startswith("bytes=")
    assert [path.name for path in tmp_path.iterdir()] == ["cheng"]


def test_a_server_without_range_is_asked_for_the_whole_again(server: Server, tmp_path: Path) -> None:
    """If the server ignores Range, the part is replaced, not added to."""
    server.resumes = False
    publish_cheng(server, {"a.zip": zip_bytes({"1.mat": RANDOM})})
    server.cut_after["/files/0"] = 300_000
    out = server.cheng(tmp_path)
    assert (out / "a" / "1.mat").read_bytes() == RANDOM


def test_a_wrong_hash_is_an_error_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    """A file that is not what its publisher lists is removed, and the error names it."""
    publish_cheng(server, {"a.zip": zip_bytes({"1.mat": b"x"})})
    server.files["/files/0"] = zip_bytes({"1.mat": b"y"})
    with pytest.raises(SourceError, match=r"a\.zip: what was downloaded has another MD5"):
        server.cheng(tmp_path)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil.mat", "/evil.mat", "a/../../evil.mat", "..\\evil.mat"])
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Names with .., absolute names and backslashes are refused before anything is written."""
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.mat", b"x")
        file.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(SourceError, match="refused"):
        unzip(archive, tmp_path / "out")
    assert leftovers(tmp_path) == ["bad.zip"]


def test_a_list_that_names_files_elsewhere_is_refused(server: Server, tmp_path: Path) -> None:
    """The publisher's list cannot make the command write outside of its folder either."""
    publish_cheng(server, {"a.zip": b"", "../evil.txt": b"x"})
    with pytest.raises(SourceError, match="outside of the folder"):
        server.cheng(tmp_path)
    assert leftovers(tmp_path) == []


def test_ct_ich_takes_the_login_from_the_environment(server: Server, tmp_path: Path, monkeypatch) -> None:
    """With PHYSIONET_USER and PHYSIONET_PASSWORD all files come; the record and the folder hold neither."""
    server.needs_login = True
    publish_ct_ich(server, {"ct_scans/049.nii": b"scan", "masks/049.nii": b"mask", "LICENSE.txt": b"terms"})
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"PHYSIONET_{name.upper()}", value)
    out = server.ct_ich(tmp_path)
    assert (out / "ct_scans" / "049.nii").read_bytes() == b"scan"
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert not any(value.encode() in written for value in LOGIN.values())


def test_ct_ich_takes_the_login_from_netrc(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for the host in the netrc file does as well."""
    server.needs_login = True
    publish_ct_ich(server, {"LICENSE.txt": b"terms"})
    (tmp_path / "netrc").write_text('machine 127.0.0.1 login reader password "a secret"\n')
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert leftovers(server.ct_ich(tmp_path)) == ["LICENSE.txt", "record.json"]


def test_ct_ich_without_a_login_says_where_to_get_one(server: Server, tmp_path: Path) -> None:
    """A missing login is told before anything is asked, with the page of the data use agreement."""
    with pytest.raises(ConfigError, match=r"data use agreement at https://physionet\.org.*PHYSIONET_USER"):
        server.ct_ich(tmp_path)
    assert server.asked == []


def test_a_wrong_login_and_a_missing_agreement_are_told_apart(server: Server, tmp_path: Path) -> None:
    """HTTP 401 points to the login, 403 to the agreement; neither shows the password."""
    server.needs_login = True
    publish_ct_ich(server, {"LICENSE.txt": b"terms"})
    with pytest.raises(SourceError, match="does not accept the login") as wrong:
        server.ct_ich(tmp_path, user="reader", password="guess")
    server.forbidden = True
    with pytest.raises(SourceError, match="Sign the data use agreement"):
        server.ct_ich(tmp_path, **LOGIN)
    assert "guess" not in str(wrong.value)
    assert leftovers(tmp_path) == []


def test_a_password_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    """Over http the login goes to this machine only."""
    with pytest.raises(ConfigError, match="only sent over https"):
        fetch("ct-ich", tmp_path / "ct", base_url="http://example.org", user="a", password="b", progress=False)


def test_an_unknown_name_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    """The error lists the known names; a folder with other content is left alone."""
    with pytest.raises(ConfigError, match="cheng2017, ct-ich"):
        fetch("mnist", tmp_path / "x")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        fetch("cheng2017", tmp_path)
    assert leftovers(tmp_path) == ["mine.txt"]


def test_cheng2017_slices_are_upright_with_diagnosis_box_and_patient(tmp_path: Path) -> None:
    """MATLAB's transposed arrays come back as rows and columns; label, box and PID are those of the file."""
    (tmp_path / "7.mat").write_bytes(mat_bytes(label=1, patient="MR017260F"))
    (found,) = Matlab().read(tmp_path, [tmp_path / "7.mat"], CONFIG)
    assert isinstance(found, Slice)
    np.testing.assert_array_equal(found.values, np.arange(48 * 64, dtype=np.float32).reshape(48, 64), strict=True)
    facts = (found.modality, found.patient, found.order, found.unit, found.source)
    assert facts == ("MR", "MR017260F", 7.0, "a.u.", tmp_path.name)
    box = {"lesion_x": 52 / 64, "lesion_y": 18 / 48, "lesion_width": 8 / 64, "lesion_height": 12 / 48}
    assert found.attributes == {"diagnosis": "meningioma", **box}
    assert 0 < found.low < found.high <= 48 * 64


def test_other_mat_files_are_noticed_and_passed_over(tmp_path: Path) -> None:
    """The folds are a note; a file of an old format, a foreign one and one with a wrong label are skipped."""
    (tmp_path / "cvind.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    (tmp_path / "wrong.mat").write_bytes(mat_bytes(label=4))
    (tmp_path / "flat.mat").write_bytes(mat_bytes(image=np.full((48, 64), 5, np.int16)))
    with h5py.File(tmp_path / "foreign.mat", "w") as file:
        file["x"] = 1
    names = ["cvind.mat", "old.mat", "wrong.mat", "flat.mat", "foreign.mat"]
    slices, notices = parted(Matlab().read(tmp_path, [tmp_path / name for name in names], CONFIG))
    assert not slices
    assert [item.kind for item in notices] == ["note"] + ["skipped"] * 4
    assert "label 4" in notices[2].reason


AFFINE = np.diag([0.5, 0.4, 5.0, 1.0])
DIAGNOSES = """PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,\
No_Hemorrhage,Fracture_Yes_No
49,1,0,0,0,0,0,1,0
49,2,0,0,1,1,0,0,1
"""
DEMOGRAPHICS = """,,,"Hemorrhage type, from the diagnosis",
Patient Number,"Age\n(years)",Gender,Epidural,Fracture
49,33,Male,1,1
50,0.5,Female,,
"""


def ct_ich_folder(folder: Path, affine: np.ndarray, values: np.ndarray) -> Path:
    """A release with one scan of two slices; `values` as stored. The mask's own header says nothing."""
    volume(folder / "ct_scans" / "049.nii", values, affine)
    volume(folder / "masks" / "049.nii", (values == 70).astype(np.uint8) * 255, np.eye(4))
    (folder / "hemorrhage_diagnosis_raw_ct.csv").write_text(DIAGNOSES)
    (folder / "patient_demographics.csv").write_text(DEMOGRAPHICS)
    return folder


def stored_scan() -> np.ndarray:
    """A head as RAS: x to the right, y forward, z up. Blood at the patient's right in front, in the upper slice."""
    values = np.zeros((40, 60, 2), np.int16)
    values[30:36, 45:57, 1] = 70
    values[:, :, 0] = 30
    return values


@pytest.mark.parametrize("flips", [(), (0,), (1,), (0, 1), (2,)])
def test_ct_ich_is_shown_anterior_up_and_right_on_the_left(tmp_path: Path, flips: tuple[int, ...]) -> None:
    """However the array is stored, blood at the right front of the patient is at the upper left of the image."""
    values, affine = stored_scan(), AFFINE.copy()
    for axis in flips:
        values = np.flip(values, axis)
        affine[axis, 3] = affine[axis, axis] * (values.shape[axis] - 1)
        affine[axis, axis] *= -1
    root = ct_ich_folder(tmp_path / "ct", affine, np.ascontiguousarray(values))
    assert is_ct_ich(root)
    (lower, upper), _ = parted(read_ct_ich(root, [root / name / "049.nii" for name in ("ct_scans", "masks")], CONFIG))
    assert upper.values.shape == (60, 40)
    assert (upper.values[3:15, 4:10] == 70).all()
    assert upper.values.sum() == 72 * 70
    assert upper.spacing_mm == pytest.approx((0.4, 0.5))
    assert (lower.order, upper.order) == (0.0, 5.0)
    assert (lower.attributes["slice"], upper.attributes["slice"]) == ((2, 1) if flips == (2,) else (1, 2))


def test_ct_ich_slices_carry_what_the_tables_say(tmp_path: Path) -> None:
    """HU and window, hemorrhages joined by a semicolon, fracture, age, sex, and the box of the mask."""
    root = ct_ich_folder(tmp_path / "ct", AFFINE, stored_scan())
    (lower, upper), _ = parted(read_ct_ich(root, [root / "ct_scans" / "049.nii"], CONFIG))
    assert (upper.modality, upper.unit, upper.low, upper.high, upper.patient) == ("CT", "HU", 0.0, 80.0, "49")
    told = {"plane": "axial", "slice": 2, "hemorrhage": "subarachnoid;epidural", "fracture": 1.0}
    told |= {"age_years": 33.0, "sex": "M", "lesion_x": 7 / 40, "lesion_y": 9 / 60}
    told |= {"lesion_width": 6 / 40, "lesion_height": 12 / 60}
    assert upper.attributes == pytest.approx(told)
    assert (lower.attributes["hemorrhage"], lower.attributes["lesion_x"]) == ("none", None)


def test_ct_ich_problems_are_noticed(tmp_path: Path) -> None:
    """A damaged scan is skipped, missing tables and labels are warnings, air is left out, and the rest is read."""
    root = ct_ich_folder(tmp_path / "ct", np.eye(4), stored_scan())
    air = np.concatenate([stored_scan(), np.full((40, 60, 1), -1000, np.int16)], axis=2)
    volume(root / "ct_scans" / "050.nii", air, np.eye(4))
    cut = volume(root / "ct_scans" / "051.nii", stored_scan(), np.eye(4))
    cut.write_bytes(cut.read_bytes()[:400])
    (root / "masks" / "050.nii").write_bytes(b"damaged")
    (root / "patient_demographics.csv").unlink()
    slices, notices = parted(read_ct_ich(root, sorted(root.glob("*/*.nii")), CONFIG))
    told = {item.file: item for item in notices}
    assert [item.patient for item in slices] == ["49", "49", "50", "50"]
    assert told["ct/ct_scans/051.nii"].kind == "skipped"
    assert told["ct/patient_demographics.csv"].kind == "warning"
    assert "no row in hemorrhage_diagnosis_raw_ct.csv for 2 slices" in told["ct/ct_scans/050.nii"].reason
    assert "no lesion boxes" in told["ct/masks/050.nii"].reason
