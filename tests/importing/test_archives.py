"""Archives in a source: the set that their unpacked files make, nothing left behind, and none that would do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import multiprocessing
import os
import shutil
import signal
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import OutputError, SourceError
from phonybrains.files import only_writer
from phonybrains.importing import ImportConfig, archives
from phonybrains.record import read_record
from tests.support.dicom_files import heights, stack
from tests.support.imports import reasons, run
from tests.support.in_turn import called
from tests.support.volume_files import changed, noise, volume

CONFIG = ImportConfig(size=32, modality="MR")


def scans(root: Path) -> Path:
    """Three patients, with a sidecar, in NIfTI and as a pair."""
    for number in range(2):
        volume(root / f"sub-{number}/sub-{number}_T1w.nii.gz", noise(number))
    (root / "sub-1/sub-1_T1w.json").write_text('{"Modality": "MR"}')
    volume(root / "sub-2/sub-2_T2w.img", noise(2))
    return root


def zipped(source: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))


def tarred(source: Path, target: Path, mode: str) -> None:
    with tarfile.open(target, mode) as archive:
        archive.add(source, ".")


WRITERS = {
    "scans.zip": zipped,
    "no_extension": zipped,
    "scans.tar": partial(tarred, mode="w"),
    "scans.tar.gz": partial(tarred, mode="w:gz"),
    "scans.tgz": partial(tarred, mode="w:gz"),
    "scans.tar.bz2": partial(tarred, mode="w:bz2"),
    "scans.tar.xz": partial(tarred, mode="w:xz"),
}
COUNTS = ("total", "images", "patients", "split", "skipped")


def pixels(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "images").iterdir())]


def beside(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("alone", [True, False])
def test_an_archive_makes_the_set_of_its_files(tmp_path: Path, name: str, alone: bool) -> None:
    """Given itself, or among other files: the same images, patients and splits as unpacked, and nothing stays."""
    source, packed = scans(tmp_path / "scans"), tmp_path / "packed" / name
    run(source, tmp_path / "plain", CONFIG)
    packed.parent.mkdir()
    WRITERS[name](source, packed)
    given = packed if alone else packed.parent
    report = run(given, tmp_path / "out", CONFIG)
    assert pixels(tmp_path / "out") == pixels(tmp_path / "plain")
    plain = read_record(tmp_path / "plain")["results"]
    assert {key: report.results[key] for key in COUNTS} == {key: plain[key] for key in COUNTS}
    assert report.results["split"] == {"MR": "by patient"}
    assert not report.failed
    assert beside(tmp_path) == set()
    assert run(given, tmp_path / "out", CONFIG).finished_before
    assert beside(tmp_path) == set()


@pytest.mark.parametrize(("extension", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("inside", [False, True])
def test_files_packed_one_by_one_stay_one_series(tmp_path: Path, extension: str, pack: Any, inside: bool) -> None:
    """Slices called .dcm.gz, also within a ZIP file, are the volume that they are unpacked."""
    slices = np.random.default_rng(0).integers(0, 4000, (6, 24, 24)).astype(np.uint16)
    stack(tmp_path / "scans", slices, heights(6, 3.0), "MR")
    run(tmp_path / "scans", tmp_path / "plain", CONFIG)
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in (tmp_path / "scans").iterdir():
        (packed / f"{path.name}.{extension}").write_bytes(pack(path.read_bytes()))
    if inside:
        zipped(packed, tmp_path / "all.zip")
        packed = tmp_path / "all.zip"
    run(packed, tmp_path / "out", CONFIG)
    assert pixels(tmp_path / "out") == pixels(tmp_path / "plain")
    assert len(pixels(tmp_path / "out")) > 2


NRRD = """NRRD0004
type: short
dimension: 3
space: RAS
sizes: 24 24 4
space directions: (1,0,0) (0,1,0) (0,0,3)
endian: little
encoding: gzip
data file: values.raw.gz

"""


def test_packed_volumes_and_documents_are_no_archives(tmp_path: Path) -> None:
    """NIfTI and MGH are read packed, a spreadsheet is a note, and the packed values of a header stay where they are."""
    root = tmp_path / "scans"
    volume(root / "a_T1w.nii.gz", noise())
    (root / "b_T1w.nhdr").write_text(NRRD)
    (root / "values.raw.gz").write_bytes(gzip.compress(noise(9).T.tobytes()))
    with zipfile.ZipFile(root / "table.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    report = run(root, tmp_path / "out", CONFIG)
    assert report.results["total"] == 8
    found = [(item.kind, item.file) for item in report.notices if item.file.endswith(("xlsx", "gz"))]
    assert found == [("note", "scans/table.xlsx")]


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


def flipped(at_local: int, at_central: int) -> bytes:
    """A ZIP file of one member, with a bit flipped in both of its headers."""
    content = bytearray(with_member("a.nii", b"x" * 99))
    content[at_local] ^= 1
    content[content.index(b"PK\x01\x02") + at_central] ^= 1
    return bytes(content)


NULLS, RANDOM = b"\0" * 5_000_000, os.urandom(9_000)
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
    "bomb.zip": (with_member("a.nii", NULLS), "times its size"),
    "bomb.tar.gz": (tar_of((member("a.nii"), NULLS)), "times its size"),
    "bomb.nii.xz": (lzma.compress(NULLS), "times its size"),
    "nested.zip": (with_member("inner.zip", with_member("a.nii", b"x")), "lies in another"),
    "cut.zip": (with_member("a.nii", RANDOM)[:5_000], "damaged"),
    "cut.tar.gz": (tar_of((member("a.nii"), RANDOM))[:5_000], "damaged"),
    "crc.zip": (flipped(14, 16), "damaged (BadZipFile)"),
    "long.zip": (with_member("a" * 300 + ".nii", b"x"), "too long a name"),
    "packed.zip": (with_member("a.dcm.gz", gzip.compress(RANDOM)[:5_000]), "damaged"),
    "locked.zip": (flipped(6, 8), "encrypted"),
    "twice.tar.gz": (tar_of((member("a.txt"), b"1"), (member("a.txt"), b"2")), "second member"),
    "under.tar.gz": (tar_of((member("a.txt"), b"1"), (member("a.txt/b.txt"), b"2")), "second member"),
}


def test_archives_that_would_do_harm_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs, members that lead out, links, devices, damage: a line names archive and member, and the rest goes on."""
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    root = tmp_path / "deep/scans"
    volume(root / "good_T1w.nii.gz", noise())
    for name, (content, _) in HARM.items():
        (root / name).write_bytes(content)
    report = run(root, tmp_path / "deep/out", CONFIG, strict=True)
    assert (report.results["total"], report.failed) == (4, True)
    found = reasons(report)
    for name, (_, word) in HARM.items():
        said = [reason for file, reason in found.items() if file.startswith(f"scans/{name}")]
        assert word in " ".join(said), (name, said)
    assert not list(tmp_path.rglob("evil*")), "nothing was written outside"
    assert not Path("/tmp/evil.nii").exists()
    assert beside(tmp_path / "deep") == set()


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one archive must not unpack to, many must not together; what came before is imported."""
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1 << 20)
    volume(tmp_path / "scans/a_T1w.nii.gz", noise())
    for number in range(40):
        (tmp_path / f"scans/b{number}.raw.gz").write_bytes(gzip.compress(b"\0" * 900_000))
    report = run(tmp_path / "scans", tmp_path / "out", CONFIG)
    assert report.results["total"] == 4
    assert sum("times its size" in reason for reason in reasons(report).values()) >= 35


def test_one_damaged_member_does_not_cost_the_others(tmp_path: Path) -> None:
    """Each member of a ZIP file has a sum of its own: the whole ones are imported, the damaged one is named."""
    for number in range(3):
        volume(tmp_path / f"scans/sub-{number}_T1w.nii.gz", noise(number))
    zipped(tmp_path / "scans", tmp_path / "a.zip")
    content = (tmp_path / "a.zip").read_bytes()
    place = content.index(b"sub-1_T1w.nii.gz") + 300
    changed(tmp_path / "a.zip", place, bytes([content[place] ^ 1]))
    report = run(tmp_path / "a.zip", tmp_path / "out", CONFIG)
    assert report.results["total"] == 8
    assert list(reasons(report)) == ["a.zip/sub-1_T1w.nii.gz"]


def test_a_source_of_nothing_usable_leaves_nothing(tmp_path: Path) -> None:
    """An archive without images, alone, is an error with its name, and no folder stays beside the set."""
    (tmp_path / "a.zip").write_bytes(with_member("../evil.nii", b"x"))
    with pytest.raises(SourceError, match=r"a\.zip"):
        run(tmp_path / "a.zip", tmp_path / "out", CONFIG)
    assert beside(tmp_path) == set()
    assert not (tmp_path / "out").exists()


def test_a_disk_without_room_stops_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive is not to blame for the disk: the import stops and says so, instead of leaving its images out."""
    zipped(scans(tmp_path / "scans"), tmp_path / "a.zip")
    monkeypatch.setattr(archives, "LEFT_FREE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(OutputError, match="no room"):
        run(tmp_path / "a.zip", tmp_path / "out", CONFIG)
    assert beside(tmp_path) == set()


def test_two_imports_do_not_share_what_they_unpack(tmp_path: Path) -> None:
    """While another process unpacks beside the same set, an import waits for nobody and says why."""
    zipped(scans(tmp_path / "scans"), tmp_path / "a.zip")
    with only_writer(tmp_path / ".out.unpacked"), pytest.raises(OutputError, match="another phonybrains"):
        run(tmp_path / "a.zip", tmp_path / "out", CONFIG)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_unpacked_goes_when_the_import_is_stopped(tmp_path: Path, monkeypatch, capfd, how) -> None:
    """After SIGTERM or Ctrl-C at once; after a kill with the next import to the same place."""
    write, place = archives._Unpacking.write, tmp_path / ".out.unpacked"

    def stopping(self, source, target):
        write(self, source, target)
        os.kill(os.getpid(), how)

    zipped(scans(tmp_path / "scans"), tmp_path / "a.zip")
    with monkeypatch.context() as patch:
        patch.setattr(archives._Unpacking, "write", stopping)
        command = partial(called, "import", tmp_path / "a.zip", "--out", tmp_path / "out")
        process = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(command()))
        process.start()
        process.join()
    assert process.exitcode != 0
    assert "Traceback" not in capfd.readouterr().err
    assert place.exists() == (how is signal.SIGKILL)
    run(tmp_path / "a.zip", tmp_path / "out", CONFIG)
    assert not place.exists()
