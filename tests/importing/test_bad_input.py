"""Import of what cannot be used: one clear line for each, the good rest imported, nothing half written."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from phonybrains.errors import ConfigError, OutputError, SourceError
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, intake
from tests.support.imports import reasons, run, table
from tests.support.pictures import head, save, write_table
from tests.support.volume_files import volume

MR = ImportConfig(modality="MR", size=64)


@pytest.fixture
def source(tmp_path):
    """A folder that already holds one good picture."""
    save(tmp_path / "in/good.png", head(1))
    return tmp_path / "in"


def imported(source: Path, config: ImportConfig = MR, **options):
    """Import `source` into `out` beside it, and check that nothing else has appeared there."""
    before = set(source.parent.iterdir())
    report = run(source, source.parent / "out", config, **options)
    new = {path.name for path in set(source.parent.iterdir()) - before}
    assert new <= {"out", "out.import.csv", "out.sources.csv", "config"}
    return report


def truncated_jpeg(path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(head(2, 256)).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def bomb(path: Path) -> None:
    """A PNG whose header promises 30,000 × 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + header, b"IDAT" + zlib.compress(b""), b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content)


def frames(path: Path, size: int = 64) -> None:
    Image.fromarray(head(2)).save(path, save_all=True, append_images=[Image.fromarray(head(3, size))])


HEAD = Image.fromarray(head(2))
HALF = HEAD.convert("RGBA")
HALF.putalpha(128)
COLOURED = np.stack([head(2)] * 3, axis=2)
COLOURED[20:30, 20:30] = (255, 0, 0)
WITH_NAN = head(2).astype(np.float32)
WITH_NAN[3, 3] = np.nan
BAD_FILES: dict[str, tuple[str, Any, str]] = {
    "empty file": ("a.png", b"", "empty"),
    "empty file without extension": ("a", b"", "empty"),
    "truncated JPEG": ("a.jpg", truncated_jpeg, "damaged or truncated"),
    "text named .png": ("a.png", b"hello", "not that of an image"),
    "CMYK": ("a.jpg", HEAD.convert("CMYK"), "CMYK"),
    "transparent": ("a.png", HALF, "transparent"),
    "coloured": ("a.png", COLOURED, "is coloured, not gray"),
    "coloured palette": ("a.gif", Image.fromarray(COLOURED).convert("P"), "is coloured, not gray"),
    "animated GIF": ("a.gif", frames, "2 frames"),
    "animated WebP": ("a.webp", frames, "2 frames"),
    "animated PNG": ("a.png", frames, "2 frames"),
    "TIFF of pages that differ": ("a.tif", partial(frames, size=32), "2 pages that differ in size"),
    "blank": ("a.png", np.full((64, 64), 9, np.uint8), "blank: all its pixels are equal"),
    "bomb": ("a.png", bomb, "30000×30000 pixels are more than max_pixels"),
    "NaN": ("a.tif", WITH_NAN, "NaN"),
    "mask": ("a.png", HEAD.convert("1"), "black and white"),
    "unknown format": ("a.bin", bytes(range(256)), "not an image in a known format"),
    "archive": ("a.zip", b"PK\3\4" + bytes(100), "unpack"),
    "link that leads nowhere": ("a.png", lambda path: path.symlink_to("missing.png"), "leads nowhere"),
    "link to itself": ("a.png", lambda path: path.symlink_to("a.png"), "leads nowhere"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_line_and_the_rest_is_imported(source, case):
    """The report has exactly one line on the bad file, skipped, with its reason; the good picture is there."""
    name, content, reason = BAD_FILES[case]
    if callable(content):
        content(source / name)
    elif isinstance(content, bytes):
        (source / name).write_bytes(content)
    else:
        save(source / name, content)
    report = imported(source)
    assert list(reasons(report)) == [f"in/{name}"]
    assert reason in reasons(report)[f"in/{name}"]
    assert report.results["skipped"] == 1
    assert len(ImageSet.open(source.parent / "out")) == 1


def test_other_files_beside_images_are_only_noted(source):
    """A README is no failure: it is a note, and strict does not mind it."""
    (source / "README.md").write_text("# Scans")
    (source / "LICENSE").write_text("text")
    (source / ".DS_Store").write_bytes(b"\0\1")
    report = imported(source, strict=True)
    assert list(reasons(report, "note"))[:2] == ["in/LICENSE", "in/README.md"]
    assert not report.failed


def test_truncated_files_are_refused_even_where_pillow_was_told_to_load_them(source, monkeypatch):
    """Other packages switch Pillow's tolerance on for the whole process; import does not fall for it, nor undo it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    truncated_jpeg(source / "a.jpg")
    assert "in/a.jpg" in reasons(imported(source))
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_strict_makes_a_skipped_file_a_failure(source):
    """With strict the set is still written, and the report says that the command failed, also when asked again."""
    (source / "bad.png").write_text("no")
    assert imported(source, strict=True).failed
    assert run(source, source.parent / "out", MR, strict=True).failed
    assert not run(source, source.parent / "out", MR).failed


def test_metadata_that_is_wrong_here_and_there(source):
    """A missing file, a second row, a changed file, a wrong modality and too many cells are one line each."""
    for number in range(4):
        save(source / f"{number}.png", head(number + 10))
    rows = "good.png,,MR missing.png,,MR good.png,,CT 0.png,abcd,MR 1.png,,PET 2.png,,MR,MR ../x.png,,MR 3.png,,"
    (source / "metadata.csv").write_text("\n".join(["file_name,sha256,modality", *rows.split(" ")]))
    report = imported(source, ImportConfig(size=64))
    assert "has a row already" in reasons(report, "warning")["in/metadata.csv, row 4"]
    expected = {
        "in/metadata.csv, row 3": "missing.png is missing",
        "in/0.png": "SHA-256 differs",
        "in/1.png": "'PET' is neither MR nor CT",
        "in/metadata.csv, row 7": "number of cells",
        "in/metadata.csv, row 8": "does not lie inside",
        "in/3.png": "--modality",
    }
    found = reasons(report)
    assert found.keys() == expected.keys()
    assert all(words in found[name] for name, words in expected.items())
    assert [row.modality for row in ImageSet.open(source.parent / "out").rows] == ["MR"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("file_name,diagnosis\na.png,Hämatom\n".encode("latin-1"), "not UTF-8"),
        (b"image,modality\na.png,MR\n", "no column file_name"),
        (b'file_name,modality\n"a.png,MR\n', "not a readable CSV"),
        (b"", "no column file_name"),
    ],
)
def test_metadata_that_cannot_be_used_leaves_its_images_out(source, content, reason):
    """Without their table patients are unknown, so its images wait until it is repaired; other folders are imported."""
    save(source / "part/a.png", head(2))
    (source / "part/metadata.csv").write_bytes(content)
    report = imported(source)
    ((file, said),) = reasons(report).items()
    assert file == "in/part/metadata.csv"
    assert reason in said
    assert "Left out with it: 1 image file" in said
    assert len(ImageSet.open(source.parent / "out")) == 1


def test_a_byte_order_mark_does_no_harm(source):
    """Excel writes UTF-8 with a mark in front; the first column is still file_name."""
    (source / "metadata.csv").write_text("file_name,modality\ngood.png,CT\n", encoding="utf-8-sig")
    imported(source, ImportConfig(size=64))
    assert ImageSet.open(source.parent / "out").rows[0].modality == "CT"


@pytest.mark.needs("no root")
def test_an_unreadable_folder_is_reported(source):
    """A folder without permission is one line; permissions stay as they were."""
    save(source / "closed/a.png", head(2))
    (source / "closed").chmod(0)
    try:
        report = imported(source)
    finally:
        (source / "closed").chmod(0o700)
    assert "Permission denied" in reasons(report)["in/closed"]


def test_folders_and_files_that_refuse_to_open_are_reported(source, monkeypatch):
    """The same, with the refusal simulated, so that it is tested for root too."""
    save(source / "closed/a.png", head(2))
    save(source / "b.png", head(3))

    def refusing(real: Any, name: str) -> Any:
        def opened(path: Any, *arguments: Any, **options: Any) -> Any:
            if Path(path).name == name:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments, **options)

        return opened

    monkeypatch.setattr(os, "scandir", refusing(os.scandir, "closed"))
    monkeypatch.setattr(Path, "open", refusing(Path.open, "b.png"))
    found = reasons(imported(source))
    assert found["in/closed"] == "the folder cannot be read (Permission denied)"
    assert found["in/b.png"] == "cannot be read (Permission denied)"


def test_links_that_lead_round_in_circles_are_followed_once(source):
    """A link to a folder above ends, and no picture comes twice; a link to another folder is followed."""
    save(source.parent / "elsewhere/a.png", head(2))
    (source / "loop").symlink_to(source)
    (source / "other").symlink_to(source.parent / "elsewhere")
    report = imported(source)
    assert (report.results["total"], report.results["duplicates"]) == (2, 0)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has only names in UTF-8")
def test_names_that_are_no_text_are_written_as_escapes(source):
    """A file's name with bytes that are not UTF-8 can be imported and reported."""
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.png")).write_bytes((source / "good.png").read_bytes())
    Path(os.fsdecode(os.fsencode(source) + b"/\xfe.png")).write_text("no picture")
    assert list(reasons(imported(source))) == [r"in/\udcfe.png"]


def test_nothing_usable_leaves_a_report_and_says_where(tmp_path):
    """All reasons are in the report; on the screen, one of each, first those of files that were taken for images."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / f"in/a{number}.bin").write_bytes(bytes(range(256)))
        (tmp_path / f"in/z{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(SourceError, match=r"in/z0\.png: .*; in/a0\.bin: not an image.*All reasons: .*out\.import\.csv"):
        imported(tmp_path / "in")
    rows = table(tmp_path / "out.import.csv")
    assert sorted(row["file"] for row in rows) == [f"in/{name}" for name in sorted(os.listdir(tmp_path / "in"))]
    assert {row["kind"] for row in rows} == {"skipped"}
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out.import.csv", "config"}


def test_a_table_beside_scans_alone_is_not_passed_over_in_silence(tmp_path):
    """metadata.csv describes pictures; beside DICOM files it is a warning that it was not used."""
    volume(tmp_path / "in/volume.nii", np.stack([head(n) for n in range(2, 12)], axis=2).astype(np.int16))
    (tmp_path / "in/metadata.csv").write_text("file_name,patient_id\nvolume.nii,7\n")
    assert "was not used" in reasons(imported(tmp_path / "in"), "warning")["in/metadata.csv"]


TORN = MR.model_copy(update={"split": (0.8, 0.1, 0.2)})
NOT_TOLD = r"no image can be used.*good\.png: modality unknown: give --modality"
REFUSED = {
    "no source": ("missing", "out", MR, SourceError, r"cannot be read.*Check the path"),
    "below a file": ("in/good.png/below", "out", MR, SourceError, r"cannot be read.*Check the path"),
    "out in a source": ("in", "in/out", MR, OutputError, "inside the source"),
    "out is the source": ("in", "in", MR, OutputError, "inside the source"),
    "shares of 1.1": ("in", "out", TORN, ConfigError, "sum to 1"),
    "no modality": ("in", "out", ImportConfig(), SourceError, NOT_TOLD),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_as_asked_is_refused(source, case):
    """A mistake is told, not repaired, and no set is written: no source, a place that a later import would read, shares
    of more than all, a modality that nobody tells."""
    where, out, config, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        run(source.parent / where, source.parent / out, config)
    assert {path.name for path in source.parent.iterdir()} <= {"in", "config", "out.import.csv"}
    assert [path.name for path in source.iterdir()] == ["good.png"]


def test_an_empty_source(tmp_path):
    """A folder without images is an error that says so, and leaves nothing."""
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=r"in: no image can be used\. There are no image files\."):
        imported(tmp_path / "in")


def test_blank_images_are_left_out_unless_they_were_generated(tmp_path):
    """An even image teaches nothing and is skipped, each on a line; one that a generator made is a fact about it."""
    for number in (0, 100, 255):
        save(tmp_path / f"in/{number}.png", np.full((64, 64), number, np.uint8))
    save(tmp_path / "in/head.png", head(1))
    report = imported(tmp_path / "in")
    assert reasons(report) == {f"in/{n}.png": "blank: all its pixels are equal" for n in (0, 100, 255)}
    assert (report.results["total"], report.results["skipped"], report.results["near_duplicates"]["pairs"]) == (1, 3, 0)
    made = MR.model_copy(update={"synthetic": True, "generator": "x"})
    report = run(tmp_path / "in", tmp_path / "made", made)
    assert list(reasons(report, "warning").values()) == ["all pixels are equal"] * 3
    assert [int(ImageSet.open(tmp_path / "made").pixels(n)[0, 0]) for n in range(3)] == [0, 100, 255]


def test_disk_full_in_the_middle(tmp_path, monkeypatch):
    """When the disk is full the error says so, and no folder, draft or report is left."""
    for number in range(20):
        save(tmp_path / f"in/{number}.png", head(number))
    real_write = Path.write_bytes

    def write_bytes(self, data):
        if self.name.startswith(".000009"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OutputError, match="disk is full"):
        imported(tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "config"}


@pytest.mark.needs("root")
def test_a_disk_that_really_is_full(tmp_path):
    """On a file system of 300 KB, 60 images of noise do not fit: an error, and the disk is as empty as before."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        for number in range(60):
            noise = np.random.default_rng(number).integers(0, 255, (128, 128), dtype=np.uint8)
            save(tmp_path / f"in/{number}.png", noise)
        with pytest.raises(OutputError, match="disk is full"):
            run(tmp_path / "in", disk / "out", ImportConfig(modality="MR", size=128))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    """Stopped by SIGINT in the middle of writing, the import leaves no set, no draft and no report."""
    for number in range(20):
        save(tmp_path / f"in/{number}.png", head(number))
    write_png = intake.write_png

    def stopping(path, pixels, mark):
        if path.name == "000009.png":
            os.kill(os.getpid(), signal.SIGINT)
        return write_png(path, pixels, mark)

    monkeypatch.setattr(intake, "write_png", stopping)
    with pytest.raises(KeyboardInterrupt):
        imported(tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "config"}


def test_a_key_that_is_no_key(source):
    """A key file with other content is refused, never overwritten, and nothing is written."""
    write_table(source, [{"file_name": "good.png", "patient_id": "1"}])
    (source.parent / "key").write_text("password")
    with pytest.raises(ConfigError, match="not a key"):
        imported(source, MR.model_copy(update={"key_file": source.parent / "key"}))
    assert (source.parent / "key").read_text() == "password"
    assert not (source.parent / "out").exists()


@pytest.mark.parametrize("again", ["in", "in/../in", "link", "in/part", "in/good.png"])
def test_no_source_is_read_twice(source: Path, again: str) -> None:
    """Given again under any name, or a part of another: an error, and not as many duplicates as it has images."""
    save(source / "part/more.png", head(2))
    (source.parent / "link").symlink_to(source)
    words = f"{source.parent / again} " + ("lies inside" if again in ("in/part", "in/good.png") else "is given twice")
    with pytest.raises(SourceError, match=re.escape(words)):
        run([source, source.parent / again], source.parent / "out", MR)
    assert not (source.parent / "out").exists()
