"""The one data format: PNGs, metadata.csv and what becomes of a set that is damaged."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from phonybrains.errors import ImageSetError, PhonyBrainsError
from phonybrains.imageset import (
    FIXED_COLUMNS,
    MASK_COLUMNS,
    METADATA_NAME,
    ImageSet,
    Row,
    from_unit_range,
    read_metadata,
    read_png,
    to_unit_range,
    write_mask,
    write_metadata,
    write_png,
)
from phonybrains.record import Record, sha256_file
from tests.support.imports import table
from tests.support.pictures import write_table

RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
SECOND = {"age_years": None, "diagnosis": "glioma"}
ROWS = [
    Row("images/1.png", "", "MR", "p1", "train", False, "scans/a", attributes={"age_years": 61.0, "diagnosis": "none"}),
    Row("images/2.png", "", "CT", "p2", "test", True, "model", 0.5, -1024.0, "HU", SECOND),
    Row("images/3.png", "", "CT", "p2", "train", True, "model", 1.0, 0.0, "HU", {"age_years": 7.5, "diagnosis": None}),
]
HALF_A_HEADER = b"IHDR\0\0\0\x30\0"
CUT_IN_ITS_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\x05" + HALF_A_HEADER + zlib.crc32(HALF_A_HEADER).to_bytes(4)
Pixels = np.ndarray[Any, Any]


def make_set(folder: Path, bits: int = 8) -> Path:
    """Three images of 64 × 48 and their rows."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for step, row in enumerate(ROWS, start=1):
        pixels = (RAMP * step % 256).astype(np.uint8) if bits == 8 else (RAMP * 21 * step).astype(np.uint16)
        rows.append(replace(row, sha256=write_png(folder / row.file_name, pixels)))
    write_metadata(folder, rows)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def edit(folder: Path, row: int, **cells: str) -> None:
    """Change cells of a row, counted as a spreadsheet does: the header is row 1."""
    rows = table(folder / METADATA_NAME)
    rows[row - 2] |= cells
    write_table(folder, rows)


def put(folder: Path, row: int, content: bytes) -> None:
    """Put other bytes in place of a row's image, and their hash into the row."""
    path = folder / f"images/{row - 1}.png"
    path.write_bytes(content)
    edit(folder, row, sha256=sha256_file(path))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("bits", [8, 16])
def test_an_opened_set_holds_what_was_written(tmp_path: Path, bits: int) -> None:
    """Rows in order with their attributes, size, bit depth, and the record."""
    folder = make_set(tmp_path / "set", bits)
    Record("import", seed=5).write(folder)
    images = ImageSet.open(str(folder))
    assert [replace(row, sha256="") for row in images.rows] == ROWS
    assert (images.height, images.width, images.bits, len(images)) == (64, 48, bits, 3)
    assert images.record["stage"] == "import"
    expected = (RAMP * 2 % 256).astype(np.uint8) if bits == 8 else (RAMP * 42).astype(np.uint16)
    assert images.pixels(1).dtype == expected.dtype
    assert np.array_equal(images.pixels(1), expected)


def test_a_set_needs_no_record(folder: Path) -> None:
    """A set that someone put together by hand opens; one with a damaged record says which file it is."""
    assert ImageSet.open(folder).record == {}
    (folder / "record.json").write_text("{")
    with pytest.raises(PhonyBrainsError, match=r"set/record\.json: not valid JSON"):
        ImageSet.open(folder)


def editing(row: int, **cells: str) -> Callable[[Path], object]:
    return lambda folder: edit(folder, row, **cells)


def putting(image: bytes | str | Image.Image, kind: str = "PNG") -> Callable[[Path], object]:
    """Put these bytes, this image, or one of this mode, in place of the second."""
    image = Image.new(image, (48, 64)) if isinstance(image, str) else image
    content = image if isinstance(image, bytes) else encoded(image, kind)
    return lambda folder: put(folder, 3, content)


def rewriting(change: Callable[[str], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / METADATA_NAME).write_bytes(change((folder / METADATA_NAME).read_text()))


NOT_READABLE = r"row 3: images/2\.png is not a readable PNG\. Import the source again\."
OTHER_SHA256 = r"row 3: images/2\.png has another SHA-256 than its row\. Import the source again, or remove the row\."
NO_NUMBERS = r"row {}: slope and intercept must be numbers\."
UNEVEN = r"row 3: the number of cells differs from the header's\."
damages: dict[str, tuple[Callable[[Path], object], str]] = {
    "image missing": (
        lambda s: (s / "images/2.png").unlink(),
        r"row 3: images/2\.png is missing\. Import the source again, or remove the row\.",
    ),
    "image changed": (lambda s: write_png(s / "images/2.png", np.zeros((64, 48), np.uint8)), OTHER_SHA256),
    "one bit of an image": (lambda s: _flip(s / "images/2.png"), OTHER_SHA256),
    "image is a folder": (editing(3, file_name="images"), r"row 3: images cannot be read \(Is a directory\)"),
    "not an image": (putting(b"GIF89a?"), NOT_READABLE),
    "empty file": (putting(b""), NOT_READABLE),
    "cut in its header": (putting(CUT_IN_ITS_HEADER), NOT_READABLE),
    "JPEG called PNG": (putting("L", "JPEG"), NOT_READABLE),
    "colour": (putting("RGB"), r"row 3: images/2\.png is RGB, not grayscale\. Import the source again\."),
    "palette": (putting("P"), r"row 3: images/2\.png is P, not grayscale"),
    "transparency": (putting("LA"), r"row 3: images/2\.png is LA, not gray"),
    "outside the set": (
        editing(3, file_name="../other/2.png"),
        r"row 3: '\.\./other/2\.png' does not lie inside the set\.",
    ),
    "absolute name": (editing(3, file_name="/etc/passwd"), r"row 3: '/etc/passwd' does not lie inside"),
    "no name of a file": (editing(3, file_name="images/\0.png"), r"row 3: .* does not lie inside the set\."),
    "no name": (editing(3, file_name=""), r"row 3: '' does not lie inside the set\."),
    "name twice": (
        editing(4, file_name="images/1.png"),
        r"row 4: images/1\.png is already in row 2\. Remove one of them\.",
    ),
    "split": (editing(3, split="testing"), r"row 3: split 'testing' is not train, validation, test or empty\."),
    "synthetic": (editing(3, synthetic="yes"), r"row 3: synthetic 'yes' is not true or false\."),
    "synthetic empty": (editing(3, synthetic=""), r"row 3: synthetic '' is not true or false\."),
    "slope": (editing(3, slope="one"), NO_NUMBERS.format(3)),
    "slope nan": (editing(3, slope="nan"), NO_NUMBERS.format(3)),
    "intercept": (editing(4, intercept=""), NO_NUMBERS.format(4)),
    "a cell too many": (lambda s: _change_line(s, 3, lambda line: f"{line},more"), UNEVEN),
    "a cell too few": (lambda s: _change_line(s, 3, lambda line: "images/2.png,abc,CT"), UNEVEN),
}


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])


def _change_line(folder: Path, row: int, change: Callable[[str], str]) -> None:
    lines = (folder / METADATA_NAME).read_text().splitlines()
    lines[row - 1] = change(lines[row - 1])
    (folder / METADATA_NAME).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", damages)
def test_damage_in_a_row_is_named_by_file_and_row(folder: Path, name: str) -> None:
    """Whatever is wrong with one image of a set, the error names metadata.csv, the row, the image and the fault."""
    damage, message = damages[name]
    damage(folder)
    with pytest.raises(ImageSetError, match=f"^{re.escape(str(folder / METADATA_NAME))}, {message}"):
        ImageSet.open(folder)


def test_a_folder_without_metadata_is_not_an_image_set(tmp_path: Path) -> None:
    """The error says so and how to make one: for an empty folder, for a file; a path that is none is not there."""
    (tmp_path / "file.png").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "file.png"):
        with pytest.raises(ImageSetError, match=rf"^{folder} is not an image set: it has no metadata\.csv\. Make one"):
            ImageSet.open(folder)
    with pytest.raises(ImageSetError, match=r"nowhere is not there\. Check the path\.$"):
        ImageSet.open(tmp_path / "nowhere")


def _folder_for_table(folder: Path) -> None:
    (folder / METADATA_NAME).unlink()
    (folder / METADATA_NAME).mkdir()


NOT_CSV = r"metadata\.csv: not a UTF-8 CSV file"
SIZES = "set: a set has one size and bit depth, this has "
damages_of_all: dict[str, tuple[Callable[[Path], object], str]] = {
    "encoding": (rewriting(lambda text: text.replace("glioma", "Tumör").encode("latin-1")), NOT_CSV),
    "broken quotation": (rewriting(lambda text: text.replace("glioma", '"gli"oma').encode()), NOT_CSV),
    "a folder of its name": (_folder_for_table, r"metadata\.csv: cannot be read \(Is a directory\)"),
    "empty": (rewriting(lambda text: b""), r"metadata\.csv: these columns are missing: file_name, sha256, "),
    "no images": (lambda folder: write_metadata(folder, []), f"{SIZES}no images"),
    "two sizes": (putting(Image.new("L", (32, 64))), f"{SIZES}32×64 8-bit, 48×64 8-bit"),
    "two depths": (putting(Image.fromarray(RAMP)), f"{SIZES}48×64 8-bit, 48×64 16-bit"),
}
for column in FIXED_COLUMNS:
    renamed = rewriting(lambda text, column=column: text.replace(column, f"my_{column}", 1).encode())
    damages_of_all[f"no {column}"] = renamed, rf"metadata\.csv: these columns are missing: {column}\."


@pytest.mark.parametrize("name", damages_of_all)
def test_damage_of_a_whole_set_is_named(folder: Path, name: str) -> None:
    """A table that cannot be read ends in no traceback; a missing column is named; two sizes or depths are listed."""
    damage, message = damages_of_all[name]
    damage(folder)
    with pytest.raises(ImageSetError, match=message):
        ImageSet.open(folder)


def test_a_set_edited_in_a_spreadsheet_opens(folder: Path) -> None:
    """Such programs write a byte-order mark, CRLF line ends and TRUE."""
    path = folder / METADATA_NAME
    text = path.read_text().replace("true", "TRUE").replace("false", "FALSE").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [replace(row, sha256="") for row in ImageSet.open(folder).rows] == ROWS


def test_damaged_pixels_are_named_when_they_are_read(folder: Path) -> None:
    """A file that was already cut short when its hash was taken is found when its pixels are needed."""
    put(folder, 3, (folder / "images/2.png").read_bytes()[:-30])
    images = ImageSet.open(folder)
    with pytest.raises(ImageSetError, match=r"images/2\.png: not a readable PNG \(.*\)\. Import the source again\."):
        images.pixels(1)


@pytest.mark.parametrize("content", [encoded(Image.new("L", (48, 64)), "JPEG"), CUT_IN_ITS_HEADER, b""])
def test_only_a_png_is_read(tmp_path: Path, content: bytes) -> None:
    """A lossy JPEG that is called PNG is refused like a damaged file."""
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(ImageSetError, match=r"1\.png: not a readable PNG"):
        read_png(tmp_path / "1.png")


@pytest.mark.parametrize("bits", [8, 16])
@settings(max_examples=50)
@given(data=st.data())
def test_no_damage_to_a_png_ends_in_anything_but_an_image_set_error(
    tmp_path_factory: pytest.TempPathFactory, bits: int, data: st.DataObject
) -> None:
    """Any bytes changed, any part cut off: read_png returns (H, W) pixels or raises ImageSetError."""
    pixels = RAMP[:8, :8].astype(np.uint8 if bits == 8 else np.uint16)
    content = bytearray(encoded(Image.fromarray(pixels)))
    for place, value in data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255))).items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / f"damaged{bits}.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ImageSetError):
        assert read_png(path).ndim >= 2


def test_where_keeps_the_rows_that_match_all(folder: Path) -> None:
    """Fixed columns, attributes and missing ones (None) are chosen alike; order, size and pixels stay."""
    images = ImageSet.open(folder)
    for wanted, numbers in (
        ({}, "123"),
        ({"modality": "CT"}, "23"),
        ({"modality": "CT", "split": "train"}, "3"),
        ({"synthetic": False}, "1"),
        ({"diagnosis": "glioma"}, "2"),
        ({"age_years": 7.5}, "3"),
        ({"age_years": None}, "2"),
        ({"modality": "PET"}, ""),
    ):
        assert [row.file_name for row in images.where(**wanted).rows] == [f"images/{n}.png" for n in numbers]
    assert np.array_equal(images.where(split="train").where(modality="CT").pixels(0), images.pixels(2))
    chosen = images.where(split="train")
    assert (chosen.height, chosen.width, chosen.bits, chosen.folder) == (64, 48, 8, images.folder)


def test_a_row_is_read_by_column() -> None:
    """row["…"] gives fixed columns and attributes, and None for an attribute that the image does not have."""
    columns = ("modality", "synthetic", "slope", "diagnosis", "age_years", "plane")
    assert [ROWS[1][name] for name in columns] == ["CT", True, 0.5, "glioma", None, None]


def test_values_are_physical(tmp_path: Path) -> None:
    """value = slope · pixel + intercept, each row's own, as float32."""
    images = ImageSet.open(make_set(tmp_path / "set", bits=16))
    assert images.values(1).dtype == np.float32
    assert np.array_equal(images.values(1), 0.5 * images.pixels(1).astype(np.float64) - 1024)
    assert np.array_equal(images.values(0), images.pixels(0))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_batches_give_every_image_once_in_order(tmp_path: Path, bits: int, size: int) -> None:
    """(B, 1, H, W) float32, the last batch smaller, pixels spread over -1…1."""
    images = ImageSet.open(make_set(tmp_path / "set", bits))
    batches = list(images.batches(size))
    assert [len(batch) for batch in batches] == {1: [1, 1, 1], 2: [2, 1], 3: [3], 5: [3]}[size]
    together = np.concatenate(batches)
    assert together.dtype == np.float32
    assert together.shape == (3, 1, 64, 48)
    largest = 255 if bits == 8 else 65535
    for i in range(3):
        np.testing.assert_allclose(together[i, 0], images.pixels(i) / (largest / 2) - 1, rtol=0, atol=1e-6)


def test_unit_range_holds_both_ends_and_every_gray() -> None:
    """0 is -1, the largest pixel is 1, and every 8-bit gray comes back as itself; beyond the ends is clipped."""
    grays = np.arange(256, dtype=np.uint8)
    for kind in (np.uint8, np.uint16):
        assert to_unit_range(np.array([0, np.iinfo(kind).max], kind)).tolist() == [-1, 1]
    assert np.array_equal(from_unit_range(to_unit_range(grays)), grays)
    assert from_unit_range(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]
    assert from_unit_range((grays + 0.49) / 127.5 - 1).tolist() == grays.tolist()


def chunks(content: bytes) -> Iterator[str]:
    """The names of a PNG's chunks.  [PNG specification, sec. 5.3]"""
    place = 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        yield content[place + 4 : place + 8].decode()
        place += length + 12


images_of_any_depth = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))
)


@settings(max_examples=50)
@given(pixels=images_of_any_depth)
def test_png_is_lossless(tmp_path_factory: pytest.TempPathFactory, pixels: Pixels) -> None:
    """Every pixel of 8 or 16 bits comes back, also from Pillow alone, and the SHA-256 is that of the file."""
    path = tmp_path_factory.getbasetemp() / "round-trip.png"
    sha256 = write_png(path, pixels)
    found = read_png(path)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)
    assert np.array_equal(np.asarray(Image.open(path)), pixels)
    assert sha256 == sha256_file(path)
    assert write_png(path, pixels) == sha256


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_has_no_metadata(tmp_path: Path, kind: type) -> None:
    """Header, pixels and end: no text, no time, no colour profile that could hold something of a patient."""
    noise = np.random.default_rng(0).integers(0, 255, (256, 256)).astype(kind)
    write_png(tmp_path / "noise.png", noise)
    assert set(chunks((tmp_path / "noise.png").read_bytes())) == {"IHDR", "IDAT", "IEND"}


@pytest.mark.parametrize("step", ["write_bytes", "rename"])
def test_png_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """When the disk is full at any step the old file stays, a new one does not appear, and no part is left."""
    write_png(tmp_path / "old.png", np.zeros((4, 4), np.uint8))
    before = (tmp_path / "old.png").read_bytes()
    write_bytes = Path.write_bytes

    def fill(self: Path, *args: Any) -> None:
        if step == "write_bytes":
            write_bytes(self, b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, step, fill)
    for name in ("old.png", "new.png"):
        with pytest.raises(OSError, match="No space left"):
            write_png(tmp_path / name, np.ones((4, 4), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == before


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 4), float), ((4, 4), np.int16), ((4, 4, 3), np.uint8), ((4,), np.uint8), ((4, 4), bool)]
)
def test_what_is_no_grayscale_image_is_not_written(tmp_path: Path, shape: tuple[int, ...], kind: type) -> None:
    """A caller that forgot to convert learns it, instead of finding wrong grays."""
    with pytest.raises(TypeError, match=r"expected \(H, W\) uint8 or uint16, got \(4"):
        write_png(tmp_path / "wrong.png", np.zeros(shape, kind))
    assert list(tmp_path.iterdir()) == []


NUMBERS = {"61": 61.0, "-0.5": -0.5, "1e-3": 0.001, "0": 0.0}
CATEGORIES = ("glioma", "none", "true", "1.2.840.113619", "61 y", "10_20", 'ähnlich, "so"')
CELLS = NUMBERS | {text: text for text in CATEGORIES} | dict.fromkeys(("", "nan", "inf"))


@pytest.mark.parametrize(("text", "value"), CELLS.items())
def test_an_attribute_is_a_number_a_category_or_missing(folder: Path, text: str, value: str | float | None) -> None:
    """What reads as a finite number is one, an empty cell is missing, all else is a category as it was written."""
    edit(folder, 3, diagnosis=text)
    found = ImageSet.open(folder).rows[1]["diagnosis"]
    assert found == value
    assert type(found) is type(value)


def test_metadata_has_fixed_columns_then_attributes_in_order(tmp_path: Path) -> None:
    """An attribute that only some images have gets a column, empty for the others."""
    rows = [
        Row("1.png", "a", "MR", attributes={"plane": "axial", "age_years": 61.0}),
        Row("2.png", "b", "CT", "p", "test", True, "s", 0.25, -1024.0, "HU", {"sex": "F", "age_years": 7.25}),
    ]
    write_metadata(tmp_path, rows)
    assert (tmp_path / METADATA_NAME).read_text() == (
        "file_name,sha256,modality,patient_id,split,synthetic,source,slope,intercept,unit,plane,age_years,sex\n"
        "1.png,a,MR,,,false,,1,0,a.u.,axial,61,\n"
        "2.png,b,CT,p,test,true,s,0.25,-1024,HU,,7.25,F\n"
    )
    first, second = read_metadata(tmp_path / METADATA_NAME)
    assert first == replace(rows[0], attributes={"plane": "axial", "age_years": 61.0, "sex": None})
    assert second == replace(rows[1], attributes={"plane": None, "age_years": 7.25, "sex": "F"})


def _is_category(text: str) -> bool:
    try:
        float(text.replace("_", "?"))
    except ValueError:
        return text != ""
    return False


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20).map(str.strip)
attributes = st.none() | texts.filter(_is_category) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50)
@given(st.lists(st.tuples(texts, texts, st.booleans(), attributes, attributes), max_size=5))
def test_metadata_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, bool, Any, Any]]
) -> None:
    """Commas, quotes, new lines and any language survive, and every digit of every number; blanks around do not."""
    rows = [
        Row(f"{i}.png", "0", "MR", patient, "", synthetic, source, attributes={"plane": plane, "größe, mm": size})
        for i, (patient, source, synthetic, plane, size) in enumerate(drawn)
    ]
    folder = tmp_path_factory.getbasetemp()
    write_metadata(folder, rows)
    assert read_metadata(folder / METADATA_NAME) == rows


def test_line_ends_within_a_cell_become_new_lines(tmp_path: Path) -> None:
    """Some text of a scanner has them; a lone carriage return would end the row in some readers."""
    write_metadata(tmp_path, [Row("1.png", "a", "MR", attributes={"note": "one\rtwo\r\nthree\nfour"})])
    assert read_metadata(tmp_path / METADATA_NAME)[0]["note"] == "one\ntwo\nthree\nfour"


OUTLINE = RAMP > 2000


def with_masks(folder: Path) -> Path:
    """The set of three, the first image with an outline, the second with an empty one, the third with none."""
    rows = read_metadata(make_set(folder) / METADATA_NAME)
    rows[:2] = [write_mask(folder, rows[0], OUTLINE), write_mask(folder, rows[1], np.zeros_like(OUTLINE))]
    write_metadata(folder, rows)
    return folder


def test_a_set_keeps_masks(tmp_path: Path) -> None:
    """A mask comes back as it was written; an empty one is a mask, a missing one is None; images stay as they were."""
    images, without = ImageSet.open(with_masks(tmp_path / "set")), ImageSet.open(make_set(tmp_path / "without"))
    first, second = images.mask(0), images.mask(1)
    assert first is not None
    assert second is not None
    assert first.dtype == np.bool_
    assert np.array_equal(first, OUTLINE)
    assert not second.any()
    assert images.mask(2) is None
    assert [row.mask_file_name for row in images.rows] == ["masks/1.png", "masks/2.png", ""]
    assert images.rows[0]["mask_sha256"] == sha256_file(images.folder / "masks/1.png")
    with Image.open(images.folder / "masks/1.png") as stored:
        assert (stored.mode, stored.size, stored.getcolors()) == ("L", (48, 64), [(2001, 0), (1071, 255)])
    plain = [replace(row, mask_file_name="", mask_sha256="") for row in images.rows]
    assert plain == list(without.rows)


def test_a_table_without_masks_lacks_their_columns(tmp_path: Path) -> None:
    """The columns are written where a row has a mask, behind the fixed ones; else the table's bytes are as ever."""
    masked = with_masks(tmp_path / "masked") / METADATA_NAME
    plain = make_set(tmp_path / "plain") / METADATA_NAME
    assert masked.read_text().split("\n")[0] == ",".join([*FIXED_COLUMNS, *MASK_COLUMNS, "age_years", "diagnosis"])
    assert plain.read_text().split("\n")[0] == ",".join([*FIXED_COLUMNS, "age_years", "diagnosis"])


def test_what_masks_outline_is_in_the_record(tmp_path: Path) -> None:
    """`outline` is what the stage said, and empty for a set that says nothing."""
    folder = with_masks(tmp_path / "set")
    assert ImageSet.open(folder).outline == ""
    Record("import", results={"masks": {"outline": "tumour"}}).write(folder)
    assert ImageSet.open(folder).outline == "tumour"


def _mask(image: Image.Image) -> Callable[[Path], None]:
    def put_mask(folder: Path) -> None:
        path = folder / "masks/1.png"
        path.write_bytes(encoded(image))
        edit(folder, 2, mask_sha256=sha256_file(path))

    return put_mask


damages_of_masks: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / "masks/1.png").unlink(), r"masks/1\.png is missing"),
    "other hash": (lambda folder: edit(folder, 2, mask_sha256="0" * 64), r"masks/1\.png has another SHA-256"),
    "other size": (_mask(Image.new("L", (24, 32))), r"the mask masks/1\.png is 24×32, its image 48×64"),
    "gray": (_mask(Image.new("L", (48, 64), 128)), r"the mask masks/1\.png has other values than 0 and 255"),
    "ones": (_mask(Image.new("L", (48, 64), 1)), r"the mask masks/1\.png has other values than 0 and 255"),
    "16-bit": (_mask(Image.fromarray(RAMP)), r"the mask masks/1\.png has other values than 0 and 255"),
    "colour": (_mask(Image.new("RGB", (48, 64))), r"masks/1\.png is RGB, not grayscale"),
    "outside": (lambda folder: edit(folder, 2, mask_file_name="../1.png"), r"'\.\./1\.png' does not lie inside"),
}


@pytest.mark.parametrize("name", damages_of_masks)
def test_a_damaged_mask_is_named(tmp_path: Path, name: str) -> None:
    """A mask is checked as its image is, and has its size and the values 0 and 255; the row is named."""
    folder = with_masks(tmp_path / "set")
    damage, message = damages_of_masks[name]
    damage(folder)
    with pytest.raises(ImageSetError, match=r"metadata\.csv, row 2: .*" + message):
        ImageSet.open(folder)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_huggingface_datasets_opens_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, masks: bool
) -> None:
    """`load_dataset("imagefolder", data_dir=…)` gives the same images in the same order with all columns."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder = make_set(tmp_path / "set", bits)
    if masks:
        write_metadata(folder, [write_mask(folder, row, OUTLINE) for row in ImageSet.open(folder).rows])
    Record("import").write(folder)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    images = ImageSet.open(folder)
    assert loaded["train"].num_rows == len(images)
    assert {"image", *FIXED_COLUMNS, "age_years", "diagnosis"} - {"file_name"} <= set(loaded["train"].column_names)
    for i, found in enumerate(loaded["train"]):
        assert np.array_equal(np.asarray(found["image"]), images.pixels(i))
        for name in ("sha256", "modality", "synthetic", "age_years", "diagnosis"):
            assert found[name] == images.rows[i][name]
