"""What some tests need beside Python packages: programs and files, whether they are here, and how to have them.

    @pytest.mark.needs("chromium")      skips the test, with what to do, where there is no browser

`make test` runs pytest with --quick, which leaves out whatever needs a program; `make test-all` installs and runs all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.support.places import SHARED


@dataclass(frozen=True)
class Need:
    """Whether it is here, and how to have it; a program's tests are slow, as they start it."""

    is_here: Callable[[], object]
    how: str
    is_program: bool = True


def program(*names: str) -> str | None:
    """The path of the first of these programs that is installed, system folders included."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return next(filter(None, (shutil.which(name, path=places) for name in names)), None)


def postgresql_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on PATH, or where Debian puts the newest version."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name.split(".")[0]))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def dicomweb_plugin() -> Path | None:
    """Orthanc's DICOMweb plugin, where Debian puts it."""
    return next(iter(sorted(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb*"))), None)


def _debian(package: str) -> str:
    return f"Debian's package {package}; make test-all installs it"


CHROMIUM = program("chromium", "chromium-browser", "google-chrome")
NGINX = program("nginx")
PDFTOTEXT = program("pdftotext")
STRACE = program("strace")
NEEDS = {
    "chromium": Need(lambda: CHROMIUM, _debian("chromium")),
    "nginx": Need(lambda: NGINX, _debian("nginx-light")),
    "Orthanc": Need(lambda: program("Orthanc") and dicomweb_plugin(), _debian("orthanc-dicomweb")),
    "openssl": Need(lambda: program("openssl"), _debian("openssl")),
    "postgresql": Need(postgresql_programs, _debian("postgresql")),
    "strace": Need(lambda: STRACE, _debian("strace")),
    "pdftotext": Need(lambda: PDFTOTEXT, _debian("poppler-utils")),
    "dicom3tools": Need(lambda: program("dciodvfy"), _debian("dicom3tools")),
    "dcmtk": Need(lambda: program("dcmdump"), _debian("dcmtk")),
    "dcm2niix": Need(lambda: program("dcm2niix"), _debian("dcm2niix")),
    "real images": Need((SHARED / "data").is_dir, "a folder shared/data beside the repository", is_program=False),
    "weights": Need((SHARED / "weights").is_dir, "a folder shared/weights beside the repository", is_program=False),
    "MNN": Need(lambda: find_spec("MNN"), "python -m pip install 'phonybrains[compile]'", is_program=False),
    "root": Need(lambda: os.geteuid() == 0, "only root may mount a file system", is_program=False),
    "no root": Need(lambda: os.geteuid() != 0, "root may read and write everything", is_program=False),
}
