"""Import of what cannot be used: one clear line for each, the good rest imported, nothing half written."""

from __future__ import annotations

import csv
import errno
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from phonybrains.errors import ConfigError, OutputError, SourceError
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig, import_images
from tests.support.pictures import head, reasons, save, write_table

MR = ImportConfig(modality="MR", size=64)
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    """No test reads or makes the key of the person who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def source(tmp_path):
    """A folder that already holds one good picture."""
    save(tmp_path / "in/good.png", head(1))
    return tmp_path / "in"


def run(source: Path, config: ImportConfig = MR, **options):
    """Import `source` into `out` beside it, and check that nothing else has appeared there."""
    before = set(source.parent.iterdir())
    report = import_images([source], source.parent / "out", config, progress=False, **options)
    new = {path.name for path in set(source.parent.iterdir()) - before}
    assert new <= {"out", "out.import.csv", "out.sources.csv", "config"}
    return report


def truncated_jpeg(path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(head(2, 256)).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def bomb(path: Path) -> None:
    """A PNG whose header promises 30,000 × 30,000 pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def frames(path: Path, **options) -> None:
    first, second = Image.fromarray(head(2)), Image.fromarray(head(3))
    first.save(path, save_all=True, append_images=[second], **options)


def uneven_pages(path: Path) -> None:
    Image.fromarray(head(2)).save(path, save_all=True, append_images=[Image.fromarray(head(3, 32))])


def half_transparent(path: Path) -> None:
    image = Image.fromarray(head(2)).convert("RGBA")
    image.putalpha(128)
    image.save(path)


def coloured() -> Image.Image:
    pixels = np.stack([head(2)] * 3, axis=2)
    pixels[20:30, 20:30] = (255, 0, 0)
    return Image.fromarray(pixels)


def with_nan(path: Path) -> None:
    values = head(2).astype(np.float32)
    values[3, 3] = np.nan
    save(path, values)


BAD_FILES = {
    "empty file": ("a.png", lambda path: path.write_bytes(b""), "empty"),
    "empty file without extension": ("a", lambda path: path.write_bytes(b""), "empty"),
    "truncated JPEG": ("a.jpg", truncated_jpeg, "damaged or truncated"),
    "text named .png": ("a.png", lambda path: path.write_text("hello"), "not that of an image"),
    "CMYK": ("a.jpg", lambda path: Image.fromarray(head(2)).convert("CMYK").save(path), "CMYK"),
    "transparent": ("a.png", half_transparent, "transparent"),
    "coloured": ("a.png", lambda path: save(path, coloured()), "is coloured, not gray"),
    "coloured palette": ("a.gif", lambda path: save(path, coloured().convert("P")), "is coloured, not gray"),
    "animated GIF": ("a.gif", frames, "2 frames"),
    "animated WebP": ("a.webp", frames, "2 frames"),
    "animated PNG": ("a.png", frames, "2 frames"),
    "TIFF of pages that differ": ("a.tif", uneven_pages, "2 pages that differ in size"),
    "blank": ("a.png", lambda path: save(path, np.full((64, 64), 9, np.uint8)), "blank: all its pixels are equal"),
    "bomb": ("a.png", bomb, "30000×30000 pixels are more than max_pixels"),
    "NaN": ("a.tif", with_nan, "NaN"),
    "mask": ("a.png", lambda path: save(path, Image.fromarray(head(2)).convert("1")), "black and white"),
    "unknown format": ("a.bin", lambda path: path.write_bytes(bytes(range(256))), "not an image in a known format"),
    "archive": ("a.zip", lambda path: path.write_bytes(b"PK\3\4" + bytes(100)), "unpack"),
    "link that leads nowhere": ("a.png", lambda path: path.symlink_to("missing.png"), "leads nowhere"),
    "link to itself": ("a.png", lambda path: path.symlink_to("a.png"), "leads nowhere"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_line_and_the_rest_is_imported(source, case):
    """The report has exactly one line on the bad file, skipped, with its reason; the good picture is there."""
    name, make, reason = BAD_FILES[case]
    make(source / name)
    report = run(source)
    assert list(reasons(report)) == [f"in/{name}"]
    assert reason in reasons(report)[f"in/{name}"]
    assert report.results["skipped"] == 1
    assert len(ImageSet.open(source.parent / "out")) == 1


def test_other_files_beside_images_are_only_noted(source):
    """A README is no failure: it is a note, and strict does not mind it."""
    (source / "README.md").write_text("# Scans")
    (source / "LICENSE").write_text("text")
    (source / ".DS_Store").write_bytes(b"\0\1")
    report = run(source, strict=True)
    assert list(reasons(report, "note"))[:2] == ["in/LICENSE", "in/README.md"]
    assert not report.failed


def test_truncated_files_are_refused_even_where_pillow_was_told_to_load_them(source, monkeypatch):
    """Other packages switch Pillow's tolerance on for the whole process; import does not fall for it, nor undo it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    truncated_jpeg(source / "a.jpg")
    assert "in/a.jpg" in reasons(run(source))
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_strict_makes_a_skipped_file_a_failure(source):
    """With strict the set is still written, and the report says that the command failed, also when asked again."""
    (source / "bad.png").write_text("no")
    assert run(source, strict=True).failed
    assert import_images([source], source.parent / "out", MR, strict=True, progress=False).failed
    assert not import_images([source], source.parent / "out", MR, progress=False).failed


def test_metadata_that_is_wrong_here_and_there(source):
    """A missing file, a second row, a changed file, a wrong modality and too many cells are one line each."""
    for number in range(4):
        save(source / f"{number}.png", head(number + 10))
    rows = [
        "file_name,sha256,modality",
        "good.png,,MR",
        "missing.png,,MR",
        "good.png,,CT",
        "0.png,abcd,MR",
        "1.png,,PET",
    ]
    rows += ["2.png,,MR,MR", "../x.png,,MR", "3.png,,"]
    (source / "metadata.csv").write_text("\n".join(rows))
    report = run(source, ImportConfig(size=64))
    found = reasons(report)
    assert "missing.png is missing" in found["in/metadata.csv, row 3"]
    assert "has a row already" in reasons(report, "warning")["in/metadata.csv, row 4"]
    assert "SHA-256 differs" in found["in/0.png"]
    assert "'PET' is neither MR nor CT" in found["in/1.png"]
    assert "number of cells" in found["in/metadata.csv, row 7"]
    assert "does not lie inside" in found["in/metadata.csv, row 8"]
    assert "--modality" in found["in/3.png"]
    assert len(found) == 6
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
    report = run(source)
    assert list(reasons(report)) == ["in/part/metadata.csv"]
    assert reason in reasons(report)["in/part/metadata.csv"]
    assert "The 1 image files it stands for are left out" in reasons(report)["in/part/metadata.csv"]
    assert len(ImageSet.open(source.parent / "out")) == 1


def test_a_byte_order_mark_does_no_harm(source):
    """Excel writes UTF-8 with a mark in front; the first column is still file_name."""
    (source / "metadata.csv").write_text("file_name,modality\ngood.png,CT\n", encoding="utf-8-sig")
    run(source, ImportConfig(size=64))
    assert ImageSet.open(source.parent / "out").rows[0].modality == "CT"


@pytest.mark.skipif(AS_ROOT, reason="root may read every folder")
def test_an_unreadable_folder_is_reported(source):
    """A folder without permission is one line; permissions stay as they were."""
    save(source / "closed/a.png", head(2))
    (source / "closed").chmod(0)
    try:
        report = run(source)
    finally:
        (source / "closed").chmod(0o700)
    assert "Permission denied" in reasons(report)["in/closed"]


def test_folders_and_files_that_refuse_to_open_are_reported(source, monkeypatch):
    """The same, with the refusal simulated, so that it is tested for root too."""
    save(source / "closed/a.png", head(2))
    save(source / "b.png", head(3))
    real_scandir, real_open = os.scandir, Path.open

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_scandir(path)

    def open_file(self, *arguments, **options):
        if self.name == "b.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real_open(self, *arguments, **options)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "open", open_file)
    found = reasons(run(source))
    assert found["in/closed"] == "the folder cannot be read (Permission denied)"
    assert found["in/b.png"] == "cannot be read (Permission denied)"


def test_links_that_lead_round_in_circles_are_followed_once(source):
    """A link to a folder above ends, and no picture comes twice; a link to another folder is followed."""
    save(source.parent / "elsewhere/a.png", head(2))
    (source / "loop").symlink_to(source)
    (source / "other").symlink_to(source.parent / "elsewhere")
    report = run(source)
    assert (report.results["total"], report.results["duplicates"]) == (2, 0)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has only names in UTF-8")
def test_names_that_are_no_text_are_written_as_escapes(source):
    """A file's name with bytes that are not UTF-8 can be imported and reported."""
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.png")).write_bytes((source / "good.png").read_bytes())
    Path(os.fsdecode(os.fsencode(source) + b"/\xfe.png")).write_text("no picture")
    assert list(reasons(run(source))) == [r"in/\udcfe.png"]


def test_modality_that_nobody_tells(source):
    """Without a modality nothing is guessed: no image can be used, and the error says what to do."""
    with pytest.raises(SourceError, match=r"no image can be used.*good\.png: modality unknown: give --modality"):
        run(source, ImportConfig())
    assert not (source.parent / "out").exists()


def test_nothing_usable_leaves_a_report_and_says_where(tmp_path):
    """All reasons are in the report; on the screen, one of each, first those of files that were taken for images."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / f"in/a{number}.bin").write_bytes(bytes(range(256)))
        (tmp_path / f"in/z{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(SourceError, match=r"in/z0\.png: .*; in/a0\.bin: not an image.*All reasons: .*out\.import\.csv"):
        run(tmp_path / "in")
    with (tmp_path / "out.import.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == [
        f"in/{c}{n}.{e}" for c, e in (("a", "bin"), ("z", "png")) for n in range(5)
    ]
    assert {row["kind"] for row in rows} == {"skipped"}
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out.import.csv", "config"}


def test_a_table_beside_scans_alone_is_not_passed_over_in_silence(tmp_path):
    """metadata.csv describes pictures; beside DICOM files it is a warning that it was not used."""
    pytest.importorskip("nibabel")
    import nibabel

    volume = np.stack([head(n) for n in range(2, 12)], axis=2).astype(np.int16)
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "in/volume.nii")
    (tmp_path / "in/metadata.csv").write_text("file_name,patient_id\nvolume.nii,7\n")
    assert "was not used" in reasons(run(tmp_path / "in"), "warning")["in/metadata.csv"]


@pytest.mark.parametrize("where", ["missing", "in/good.png/below"])
def test_a_source_that_does_not_exist(source, where):
    """It is an error before anything is read or written."""
    with pytest.raises(SourceError, match=r"cannot be read.*Check the path"):
        import_images([source.parent / where], source.parent / "out", MR, progress=False)
    assert not (source.parent / "out").exists()


def test_an_empty_source(tmp_path):
    """A folder without images is an error that says so, and leaves nothing."""
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=r"in: no image can be used\. There are no image files\."):
        run(tmp_path / "in")


@pytest.mark.parametrize("out", ["in/out", "in"])
def test_output_inside_a_source_is_refused(source, out):
    """A later import would read its own output, so that place is refused."""
    with pytest.raises(OutputError, match="inside the source"):
        import_images([source], source.parent / out, MR, progress=False)


def test_shares_that_do_not_sum_to_one(source):
    """A split of 0.8, 0.1 and 0.2 is a mistake that is told, not repaired."""
    with pytest.raises(ConfigError, match="sum to 1"):
        run(source, MR.model_copy(update={"split": (0.8, 0.1, 0.2)}))
    assert not (source.parent / "out").exists()


def test_blank_images_are_left_out_unless_they_were_generated(tmp_path):
    """An even image teaches nothing and is skipped, each on a line; one that a generator made is a fact about it."""
    for number in (0, 100, 255):
        save(tmp_path / f"in/{number}.png", np.full((64, 64), number, np.uint8))
    save(tmp_path / "in/head.png", head(1))
    report = run(tmp_path / "in")
    assert reasons(report) == {f"in/{n}.png": "blank: all its pixels are equal" for n in (0, 100, 255)}
    assert (report.results["total"], report.results["skipped"], report.results["near_duplicates"]["pairs"]) == (1, 3, 0)
    made = MR.model_copy(update={"synthetic": True, "generator": "x"})
    report = import_images([tmp_path / "in"], tmp_path / "made", made, progress=False)
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
        run(tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "config"}


@pytest.mark.skipif(not AS_ROOT or sys.platform != "linux", reason="only root may mount a small file system")
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
            import_images([tmp_path / "in"], disk / "out", ImportConfig(modality="MR", size=128), progress=False)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_ctrl_c_leaves_nothing(tmp_path):
    """Stopped by SIGINT in the middle of writing, the command leaves no set, no draft and no report."""
    for number in range(300):
        save(tmp_path / f"in/{number}.png", head(number, 256))
    (tmp_path / "outs").mkdir()
    code = (
        "from phonybrains.importing import *; import sys; from pathlib import Path\n"
        "import_images([Path(sys.argv[1])], Path(sys.argv[2]), ImportConfig(modality='MR'), progress=False)"
    )
    command = [sys.executable, "-c", code, tmp_path / "in", tmp_path / "outs/out"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not list((tmp_path / "outs").glob(".*/images/*.png")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    assert list((tmp_path / "outs").iterdir()) == []


def test_a_key_that_is_no_key(source):
    """A key file with other content is refused, never overwritten, and nothing is written."""
    write_table(source, [{"file_name": "good.png", "patient_id": "1"}])
    (source.parent / "key").write_text("password")
    with pytest.raises(ConfigError, match="not a key"):
        run(source, MR.model_copy(update={"key_file": source.parent / "key"}))
    assert (source.parent / "key").read_text() == "password"
    assert not (source.parent / "out").exists()
