"""Archives in a source: the set that their unpacked files make, nothing left behind, and none that would do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from phonybrains.errors import OutputError, SourceError
from phonybrains.files import only_writer
from phonybrains.importing import ImportConfig, archives, import_images
from phonybrains.record import read_record
from tests.support.dicom_files import stack

CONFIG = ImportConfig(size=32, modality="MR")


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def volume(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values: Any = np.random.default_rng(seed).integers(100, 900, (24, 24, 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1, 3, 1])), path)
    return path


def folder(root: Path) -> Path:
    """Three patients, with a sidecar, in NIfTI and as a pair."""
    for number in range(2):
        volume(root / f"sub-{number}/sub-{number}_T1w.nii.gz", number)
    (root / "sub-1/sub-1_T1w.json").write_text('{"Modality": "MR"}')
    volume(root / "sub-2/sub-2_T2w.img", 2)
    return root


def zipped(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))


def tarred(mode: str) -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
            archive.add(source, ".")

    return write


WRITERS = {
    "scans.zip": zipped,
    "scans.tar": tarred("w"),
    "scans.tar.gz": tarred("w:gz"),
    "scans.tgz": tarred("w:gz"),
    "scans.tar.bz2": tarred("w:bz2"),
    "scans.tar.xz": tarred("w:xz"),
    "no_extension": zipped,
}


def pixels(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "images").iterdir())]


def beside(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("alone", [True, False])
def test_an_archive_makes_the_set_of_its_files(tmp_path: Path, name: str, alone: bool) -> None:
    """Given itself, or among other files: the same images, patients and splits as unpacked, and nothing stays."""
    source = folder(tmp_path / "scans")
    import_images([source], tmp_path / "plain", CONFIG, progress=False)
    packed = tmp_path / "packed" / name
    packed.parent.mkdir()
    WRITERS[name](source, packed)
    report = import_images([packed if alone else packed.parent], tmp_path / "out", CONFIG, progress=False)
    assert pixels(tmp_path / "out") == pixels(tmp_path / "plain")
    ours, theirs = (read_record(tmp_path / name)["results"] for name in ("out", "plain"))
    assert {key: ours[key] for key in ("total", "images", "patients", "split", "skipped")} == {
        key: theirs[key] for key in ("total", "images", "patients", "split", "skipped")
    }
    assert ours["split"] == {"MR": "by patient"}
    assert not report.failed
    assert beside(tmp_path) == set()
    again = import_images([packed if alone else packed.parent], tmp_path / "out", CONFIG, progress=False)
    assert again.finished_before
    assert beside(tmp_path) == set()


@pytest.mark.parametrize(("extension", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("inside", [False, True])
def test_files_packed_one_by_one_stay_one_series(tmp_path: Path, extension: str, pack: Any, inside: bool) -> None:
    """Slices called .dcm.gz, also within a ZIP file, are the volume that they are unpacked."""
    slices = np.random.default_rng(0).integers(0, 4000, (6, 24, 24)).astype(np.uint16)
    stack(tmp_path / "scans", slices, [(0, 0, 3 * number) for number in range(6)], "MR")
    import_images([tmp_path / "scans"], tmp_path / "plain", CONFIG, progress=False)
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in sorted((tmp_path / "scans").iterdir()):
        (packed / f"{path.name}.{extension}").write_bytes(pack(path.read_bytes()))
    if inside:
        zipped(packed, tmp_path / "all.zip")
        packed = tmp_path / "all.zip"
    import_images([packed], tmp_path / "out", CONFIG, progress=False)
    assert pixels(tmp_path / "out") == pixels(tmp_path / "plain")
    assert len(pixels(tmp_path / "out")) > 2


def test_packed_volumes_and_documents_are_no_archives(tmp_path: Path) -> None:
    """NIfTI and MGH are read packed, a spreadsheet is a note, and the packed values of a header stay where they are."""
    root = tmp_path / "scans"
    volume(root / "a_T1w.nii.gz")
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: RAS\nsizes: 24 24 4\nspace directions: (1,0,0) (0,1,0) (0,0,3)\n"
    )
    header += "endian: little\nencoding: gzip\ndata file: values.raw.gz\n\n"
    (root / "b_T1w.nhdr").write_text(header)
    values = np.random.default_rng(9).integers(100, 900, (4, 24, 24)).astype("<i2")
    (root / "values.raw.gz").write_bytes(gzip.compress(values.tobytes()))
    with zipfile.ZipFile(root / "table.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    report = import_images([root], tmp_path / "out", CONFIG, progress=False)
    assert report.results["total"] == 8
    assert [(n.kind, n.file) for n in report.notices if n.file.endswith(("xlsx", "gz"))] == [
        ("note", "scans/table.xlsx")
    ]


def with_member(name: str, content: bytes, link: bool = False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (0o120777 if link else 0o100644) << 16
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def encrypted() -> bytes:
    content = bytearray(with_member("a.nii", b"x" * 99))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def damaged_member() -> bytes:
    """A ZIP file with one member whose CRC-32 is wrong."""
    content = bytearray(with_member("a.nii", b"x" * 99))
    content[14] ^= 1
    content[content.index(b"PK\x01\x02") + 16] ^= 1
    return bytes(content)


HARM: dict[str, tuple[bytes, str]] = {
    "up.zip": (with_member("../evil.nii", b"x"), "outside of the folder"),
    "absolute.zip": (with_member("/tmp/evil.nii", b"x"), "outside of the folder"),
    "windows.zip": (with_member("..\\evil.nii", b"x"), "outside of the folder"),
    "drive.zip": (with_member("C:\\evil.nii", b"x"), "outside of the folder"),
    "link.zip": (with_member("evil.nii", b"/etc/passwd", link=True), "a link"),
    "up.tar.gz": (tar_of((member("../evil.nii"), b"x")), "outside of the folder"),
    "link.tar.gz": (tar_of((member("evil.nii", tarfile.SYMTYPE, "/etc/passwd"), b"")), "a link"),
    "hard.tar.gz": (tar_of((member("evil.nii", tarfile.LNKTYPE, "/etc/passwd"), b"")), "a link"),
    "device.tar.gz": (tar_of((member("evil.nii", tarfile.CHRTYPE), b"")), "device"),
    "bomb.zip": (with_member("a.nii", b"\0" * 20_000_000), "times its size"),
    "bomb.tar.gz": (tar_of((member("a.nii"), b"\0" * 20_000_000)), "times its size"),
    "bomb.nii.xz": (lzma.compress(b"\0" * 20_000_000), "times its size"),
    "nested.zip": (with_member("inner.zip", with_member("a.nii", b"x")), "lies in another"),
    "cut.zip": (with_member("a.nii", os.urandom(9_000))[:5_000], "damaged"),
    "cut.tar.gz": (tar_of((member("a.nii"), os.urandom(9_000)))[:5_000], "damaged"),
    "crc.zip": (damaged_member(), "damaged (BadZipFile)"),
    "long.zip": (with_member("a" * 300 + ".nii", b"x"), "too long a name"),
    "packed.zip": (with_member("a.dcm.gz", gzip.compress(os.urandom(9_000))[:5_000]), "damaged"),
    "locked.zip": (encrypted(), "encrypted"),
    "twice.tar.gz": (tar_of((member("a.txt"), b"1"), (member("a.txt"), b"2")), "second member"),
    "under.tar.gz": (tar_of((member("a.txt"), b"1"), (member("a.txt/b.txt"), b"2")), "second member"),
}


def test_archives_that_would_do_harm_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs, members that lead out, links, devices, damage: a line names archive and member, and the rest goes on."""
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    root = tmp_path / "deep/scans"
    volume(root / "good_T1w.nii.gz")
    for name, (content, _) in HARM.items():
        (root / name).write_bytes(content)
    report = import_images([root], tmp_path / "deep/out", CONFIG, progress=False, strict=True)
    assert report.results["total"] == 4
    assert report.failed
    found = {n.file: n.reason for n in report.notices if n.kind == "skipped"}
    for name, (_, word) in HARM.items():
        reasons = [reason for file, reason in found.items() if file.startswith(f"scans/{name}")]
        assert reasons, name
        assert word in " ".join(reasons), (name, reasons)
    assert not list(tmp_path.rglob("evil*")), "nothing was written outside"
    assert not Path("/tmp/evil.nii").exists()
    assert beside(tmp_path / "deep") == set()


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one archive must not unpack to, many must not together; what came before is imported."""
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    volume(tmp_path / "scans/a_T1w.nii.gz")
    for number in range(40):
        (tmp_path / f"scans/b{number}.raw.gz").write_bytes(gzip.compress(b"\0" * 900_000))
    report = import_images([tmp_path / "scans"], tmp_path / "out", CONFIG, progress=False)
    reasons = [notice.reason for notice in report.notices if notice.kind == "skipped"]
    assert report.results["total"] == 4
    assert sum("times its size" in reason for reason in reasons) >= 35


def test_one_damaged_member_does_not_cost_the_others(tmp_path: Path) -> None:
    """Each member of a ZIP file has a sum of its own: the whole ones are imported, the damaged one is named."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(3):
            archive.write(volume(tmp_path / f"scans/sub-{number}_T1w.nii.gz", number), f"sub-{number}_T1w.nii.gz")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"sub-1_T1w.nii.gz") + 300] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    report = import_images([tmp_path / "a.zip"], tmp_path / "out", CONFIG, progress=False)
    assert report.results["total"] == 8
    assert [n.file for n in report.notices if n.kind == "skipped"] == ["a.zip/sub-1_T1w.nii.gz"]


def test_a_source_of_nothing_usable_leaves_nothing(tmp_path: Path) -> None:
    """An archive without images, alone, is an error with its name, and no folder stays beside the set."""
    (tmp_path / "a.zip").write_bytes(with_member("../evil.nii", b"x"))
    with pytest.raises(SourceError, match=r"a\.zip"):
        import_images([tmp_path / "a.zip"], tmp_path / "out", CONFIG, progress=False)
    assert beside(tmp_path) == set()
    assert not (tmp_path / "out").exists()


def test_a_disk_without_room_stops_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive is not to blame for the disk: the import stops and says so, instead of leaving its images out."""
    zipped(folder(tmp_path / "scans"), tmp_path / "a.zip")
    monkeypatch.setattr(archives, "LEFT_FREE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(OutputError, match="no room"):
        import_images([tmp_path / "a.zip"], tmp_path / "out", CONFIG, progress=False)
    assert beside(tmp_path) == set()


def test_two_imports_do_not_share_what_they_unpack(tmp_path: Path) -> None:
    """While another process unpacks beside the same set, an import waits for nobody and says why."""
    zipped(folder(tmp_path / "scans"), tmp_path / "a.zip")
    with only_writer(tmp_path / ".out.unpacked"), pytest.raises(OutputError, match="another phonybrains"):
        import_images([tmp_path / "a.zip"], tmp_path / "out", CONFIG, progress=False)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_unpacked_goes_when_the_import_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    """After SIGTERM or Ctrl-C at once; after a kill with the next import to the same place."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        for number in range(400):
            archive.writestr(f"{number}.raw", rng.bytes(1 << 18))
    place = tmp_path / ".out.unpacked"
    command = [sys.executable, "-m", "phonybrains", "import", tmp_path / "big.zip", "--out", tmp_path / "out"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not place.is_dir():
        time.sleep(0.01)
    process.send_signal(how)
    _, text = process.communicate()
    assert process.returncode != 0
    assert "Traceback" not in text
    assert place.exists() == (how is signal.SIGKILL)
    zipped(folder(tmp_path / "scans"), tmp_path / "a.zip")
    import_images([tmp_path / "a.zip"], tmp_path / "out", CONFIG, progress=False)
    assert not place.exists()
