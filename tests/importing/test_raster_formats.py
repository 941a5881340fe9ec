"""Picture formats beyond 8 bits of gray: right values, pages, oblong pixels, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

from phonybrains.errors import SourceError
from phonybrains.imageset import ImageSet
from phonybrains.importing import ImportConfig
from phonybrains.importing.raster.reader import read_rasters
from phonybrains.importing.resize import place, to_pixels
from phonybrains.pictures.codecs import decode_file, strict_pillow
from phonybrains.pictures.headers import jpegxl_size
from phonybrains.pictures.pixels import gray_values
from tests.support.imports import parted, reasons, run
from tests.support.pictures import head, save

DEEP = ImportConfig(modality="MR", size=64, bits=16)
GRAY = head(1)
TWELVE = GRAY.astype(np.uint16) * 16 + np.arange(64, dtype=np.uint16) % 16
TWELVE[32, 32] = 4095
SIXTEEN = GRAY.astype(np.uint16) * 256 + np.arange(64, dtype=np.uint16)
SIXTEEN[32, 32] = 65535


def tiff(*args, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, *args, **options)
    return buffer.getvalue()


def encoded(codec: str, pixels: np.ndarray, **options) -> bytes:
    return bytes(getattr(imagecodecs, f"{codec}_encode")(pixels, **options))


def rgb(gray: np.ndarray, alpha: bool = False) -> np.ndarray:
    channels = [gray] * 3 + [np.full_like(gray, np.iinfo(gray.dtype).max)] * alpha
    return np.stack(channels, axis=-1)


def pnm(kind: int, maxval: int, pixels: np.ndarray) -> bytes:
    header = f"P{kind}\n# made by hand\n{pixels.shape[1]} {pixels.shape[0]}\n{maxval}\n".encode()
    body = " ".join(map(str, pixels.ravel())).encode()
    return header + (body if kind < 4 else pixels.astype(">u2" if maxval > 255 else "u1").tobytes())


WHITE_IS_ZERO = {"photometric": "miniswhite"}
IN_PLANES = {"photometric": "rgb", "planarconfig": "separate"}
SIGNED = TWELVE.astype(np.int16) - 1000
ALPHA = np.ascontiguousarray(rgb(SIXTEEN, alpha=True)[..., 2:])
EXACT = {
    "PNG, 16-bit RGB": (encoded("png", rgb(SIXTEEN)), SIXTEEN),
    "PNG, 16-bit RGBA": (encoded("png", rgb(SIXTEEN, alpha=True)), SIXTEEN),
    "PNG, 16-bit gray and alpha": (encoded("png", ALPHA), SIXTEEN),
    "TIFF, 8-bit white is zero": (tiff(255 - GRAY, **WHITE_IS_ZERO), GRAY),
    "TIFF, 16-bit white is zero": (tiff(65535 - SIXTEEN, **WHITE_IS_ZERO), SIXTEEN),
    "TIFF, 16-bit white is zero, compressed": (
        tiff(65535 - SIXTEEN, compression="lzw", predictor=True, rowsperstrip=5, **WHITE_IS_ZERO),
        SIXTEEN,
    ),
    "TIFF, big endian": (tiff(SIXTEEN, byteorder=">"), SIXTEEN),
    "TIFF, BigTIFF": (tiff(SIXTEEN, bigtiff=True), SIXTEEN),
    "TIFF, tiles": (tiff(SIXTEEN, tile=(16, 32), compression="zlib"), SIXTEEN),
    "TIFF, 16-bit RGB": (tiff(rgb(SIXTEEN), photometric="rgb"), SIXTEEN),
    "TIFF, 16-bit RGB in planes": (tiff(np.moveaxis(rgb(SIXTEEN), -1, 0), **IN_PLANES), SIXTEEN),
    "TIFF, 8-bit RGB in planes": (tiff(np.moveaxis(rgb(GRAY), -1, 0), **IN_PLANES), GRAY),
    "TIFF, gray and alpha": (tiff(ALPHA, photometric="minisblack", extrasamples=["unassalpha"]), SIXTEEN),
    "TIFF, signed": (tiff(SIXTEEN.astype(np.int32) - 1000), SIXTEEN.astype(np.int32) - 1000),
    "TIFF, float64": (tiff(SIXTEEN.astype(np.float64)), SIXTEEN),
    "TIFF, float16": (tiff(TWELVE.astype(np.float16)), TWELVE.astype(np.float16)),
    "JPEG 2000, 8 bit": (encoded("jpeg2k", GRAY, level=0), GRAY),
    "JPEG 2000, 16 bit": (encoded("jpeg2k", SIXTEEN, level=0), SIXTEEN),
    "JPEG 2000, 16-bit RGB": (encoded("jpeg2k", rgb(SIXTEEN), level=0), SIXTEEN),
    "JPEG 2000, codestream": (encoded("jpeg2k", SIXTEEN, level=0, codecformat="j2k"), SIXTEEN),
    "JPEG 2000, signed": (encoded("jpeg2k", SIGNED, level=0), SIGNED),
    "JPEG XL, 8 bit": (encoded("jpegxl", GRAY, lossless=True, usecontainer=False), GRAY),
    "JPEG XL, 16 bit": (encoded("jpegxl", SIXTEEN, lossless=True), SIXTEEN),
    "JPEG XL, 16-bit RGB": (encoded("jpegxl", rgb(SIXTEEN), lossless=True), SIXTEEN),
    "JPEG, 12-bit lossless": (encoded("ljpeg", TWELVE, bitspersample=12), TWELVE),
    "PGM, text, maxval 4095": (pnm(2, 4095, TWELVE), TWELVE),
    "PGM, maxval 4095": (pnm(5, 4095, TWELVE), TWELVE),
    "PGM, maxval 4095, dim": (pnm(5, 4095, TWELVE // 8), TWELVE // 8),
    "PGM, maxval 65535": (pnm(5, 65535, SIXTEEN), SIXTEEN),
    "PGM, 8 bit": (pnm(5, 255, GRAY), GRAY),
    "PPM, text": (pnm(3, 255, rgb(GRAY)), GRAY),
    "PPM, maxval 65535": (pnm(6, 65535, rgb(SIXTEEN)), SIXTEEN),
}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """Write each file into a folder of its own, whose range is that of this file alone."""
    for number, (name, content) in enumerate(files.items()):
        path = folder / f"{number:02d} {name}" / "a"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def read_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, float, float]]:
    """Pixels of 16 bits, slope and intercept of each format's picture."""
    root = put(tmp_path_factory.mktemp("formats"), {name: content for name, (content, _) in EXACT.items()})
    slices, notices = parted(read_rasters(root, sorted(root.rglob("a")), DEEP))
    assert {notice.kind for notice in notices} == {"note"}
    square = place((64, 64), (1, 1), 64)
    return dict(zip(EXACT, (to_pixels(each.values, each.low, each.high, square, 16) for each in slices), strict=True))


@pytest.mark.parametrize("name", EXACT)
def test_a_format_comes_in_with_every_gray_level(read_alone, name):
    """In 16 bits, with the range of the format, values come back within half a step: nothing is cut to 8 bits."""
    expected, (pixels, slope, intercept) = EXACT[name][1], read_alone[name]
    step = 1 if expected.max() > 4095 else 4096 / 65535
    assert np.abs(pixels * slope + intercept - expected).max() <= 0.51 * step


def test_white_of_a_pgm_is_its_maxval_and_not_its_largest_number(read_alone):
    """A dim picture with maxval 4095 stays dim; in 16 bits without one it would be taken for fewer bits."""
    assert read_alone["PGM, maxval 4095, dim"][1] == pytest.approx(4095 / 65535)


def test_a_lossy_deep_jpeg_is_read(tmp_path):
    """A JPEG of 12 bits, which Pillow calls damaged, differs from its original by its compression alone."""
    run(put(tmp_path / "in", {"": encoded("jpeg8", TWELVE, level=95, bitspersample=12)}), tmp_path / "out", DEEP)
    assert np.abs(ImageSet.open(tmp_path / "out").values(0) - TWELVE).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_header_says(tmp_path, orientation):
    """All eight orientations of TIFF and PNG agree with Pillow, oblong pixels included."""
    oblong = GRAY[:, :40].astype(np.uint16) * 256
    tifffile.imwrite(tmp_path / "a.tif", oblong, extratags=[(274, 3, 1, orientation, True)], resolution=(200, 100))
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.fromarray(GRAY[:, :40])
    picture.save(tmp_path / "a.png", exif=exif, dpi=(200, 100))
    (deep,), (plain,) = decode_file(tmp_path / "a.tif", 10**6), decode_file(tmp_path / "a.png", 10**6)
    picture.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    assert_array_equal(plain.samples, expected)
    assert_array_equal(deep.samples // 256, expected)
    assert plain.spacing == pytest.approx((2, 1) if orientation < 5 else (1, 2), rel=1e-3)
    assert deep.spacing == pytest.approx(plain.spacing, rel=1e-3)


BY_DPI = partial(Image.fromarray(GRAY).save, dpi=(100, 50))
OBLONG = {
    "TIFF": ("a.tif", lambda path: tifffile.imwrite(path, GRAY, resolution=(100, 50))),
    "PNG": ("a.png", BY_DPI),
    "BMP": ("a.bmp", BY_DPI),
    "JPEG": ("a.jpg", BY_DPI),
    "JPEG, aspect alone": ("a.jpg", lambda path: path.write_bytes(jfif(0, 2, 1))),
}


def jfif(unit: int, x: int, y: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GRAY).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"JFIF\0") + 7
    content[place : place + 5] = struct.pack(">BHH", unit, x, y)
    return bytes(content)


@pytest.mark.parametrize("name", OBLONG)
def test_oblong_pixels_become_square(tmp_path, name):
    """Twice as many pixels across as down to the inch: the picture is twice as high as wide, and the report says so."""
    file, make = OBLONG[name]
    (tmp_path / "in").mkdir()
    make(tmp_path / "in" / file)
    report = run(tmp_path / "in", tmp_path / "out", ImportConfig(modality="MR", size=64))
    columns = ImageSet.open(tmp_path / "out").pixels(0).max(axis=0) > 8
    assert not columns[[*range(16), *range(48, 64)]].any()
    assert columns[20:44].all()
    assert "2 times as high as wide" in reasons(report, "note")[f"in/{file}"]


def test_a_tiff_of_pages_is_a_volume_of_one_patient(tmp_path):
    """Pages are slices in order, in one split, with one white; thumbnails among them are none."""
    stack = np.stack([head(n).astype(np.uint16) * (n + 1) for n in range(12)])
    (tmp_path / "in").mkdir()
    for number in range(6):
        with tifffile.TiffWriter(tmp_path / f"in/{number}.tif") as file:
            for page in np.roll(stack, number, axis=2):
                file.write(page, contiguous=False)
            file.write(stack[0, ::4, ::4], subfiletype=1)
    report = run(tmp_path / "in", tmp_path / "out", DEEP)
    images = ImageSet.open(tmp_path / "out")
    assert report.results["split"] == {"MR": "by volume, not patient-safe"}
    assert (len(images), report.results["skipped"]) == (72, 0)
    assert_array_equal(np.round(images.values(14)), np.roll(stack[2], 1, axis=1))
    volumes = [{row.split for row in images.rows[start : start + 12]} for start in range(0, 72, 12)]
    assert all(len(splits) == 1 for splits in volumes)
    assert set.union(*volumes) == {"train", "validation", "test"}
    assert "in/1.tif, page 3" in report.file.read_text()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """A PNG in which one bit at the very end of its pixels differs, after all rows: in zlib's own checksum."""
    place = content.index(b"IEND") - 9
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def sparse() -> bytes:
    """A TIFF in which the length of the second strip is 0, as if it had never been written."""
    content = bytearray(tiff(SIXTEEN, rowsperstrip=16, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        place = file.pages.first.tags["StripByteCounts"].valueoffset
    content[place + 4 : place + 8] = bytes(4)
    return bytes(content)


def bare_jpegxl(height: int, width: int) -> bytes:
    """The header of a JPEG XL of any size."""
    bits = 0 | (2 << 1) | ((height - 1) << 3) | (2 << 24) | ((width - 1) << 26)
    return b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(20)


def transparent_png() -> bytes:
    """16-bit gray, in which the tRNS chunk makes one level transparent."""
    content = encoded("png", SIXTEEN)
    chunk = b"tRNS" + int(SIXTEEN[20, 20]).to_bytes(2)
    place = content.index(b"IDAT") - 4
    return content[:place] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[place:]


def circle() -> bytes:
    """A TIFF of two pages, of which the second leads back to the first."""
    content = bytearray(tiff(np.stack([GRAY] * 2), metadata=None, photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        first, second = (page.offset for page in file.pages)
    place = second + 2 + 12 * int.from_bytes(content[second : second + 2], "little")
    content[place : place + 4] = first.to_bytes(4, "little")
    return bytes(content)


COLOURED = rgb(SIXTEEN)
COLOURED[20:30, 20:30, 0] = 0
THREE = np.stack([SIXTEEN] * 3)
UNNAMED = {"photometric": "minisblack", "extrasamples": ["unspecified"]}
WIDTH = struct.pack("<HHII", 256, 4, 1, 64)
REFUSED = {
    "JPEG-LS": (encoded("jpegls", TWELVE), "JPEG-LS, which is not read"),
    "complex": (tiff(SIXTEEN.astype(np.complex64)), "complex"),
    "float, white is zero": (tiff(SIXTEEN.astype(np.float32), **WHITE_IS_ZERO), "white is zero"),
    "coloured, 16 bit": (tiff(COLOURED, photometric="rgb"), "is coloured, not gray"),
    "coloured, JPEG XL": (encoded("jpegxl", COLOURED, lossless=True), "is coloured, not gray"),
    "CMYK": (tiff(np.zeros((64, 64, 4), np.uint8), photometric="separated"), "CMYK colours"),
    "channels without a name": (tiff(np.zeros((64, 64, 2), np.uint8), **UNNAMED), "2 channels"),
    "transparent in one level": (transparent_png(), "partly transparent"),
    "channels in pages": (tiff(THREE, imagej=True, metadata={"axes": "CYX"}), "3 channels, which are no slices"),
    "time points": (tiff(THREE, imagej=True, metadata={"axes": "TYX"}), "3 time points"),
    "time points of OME": (tiff(THREE, ome=True, metadata={"axes": "TYX"}), "3 time points"),
    "mask": (tiff(GRAY > 9), "black and white"),
    "TIFF whose pages lead round": (circle(), "round in a circle"),
    "TIFF with many widths": (tiff(GRAY).replace(WIDTH, struct.pack("<HHII", 256, 4, 2, 8)), "its size is no number"),
    "TIFF bomb": (tiff(GRAY).replace(WIDTH, struct.pack("<HHII", 256, 4, 1, 2**31)), "are more than max_pixels"),
    "float64 beyond single precision": (tiff(np.full((9, 9), 1e300)), "single precision"),
    "PGM above its maxval": (pnm(5, 255, GRAY).replace(b"\n255\n", b"\n100\n"), "do not fit its header"),
    "two PGM in one": (pnm(5, 255, GRAY) * 2, "more than one picture"),
    "frames": (encoded("jpegxl", np.stack([GRAY] * 5), lossless=True), "several frames"),
    "JPEG XL bomb": (bare_jpegxl(200_000, 200_000), "200000×200000 pixels are more than max_pixels"),
    "PGM without pixels": (b"P5 0 64 65535\n", "holds no pixels"),
    "PGM bomb": (b"P5 30000 30000 65535\n", "30000×30000 pixels are more than max_pixels"),
}
DAMAGED = {
    "TIFF cut short": cut(tiff(SIXTEEN, rowsperstrip=8)),
    "TIFF with a hole": sparse(),
    "PNG with a flipped bit": flipped(encoded("png", GRAY)),
    "deep PNG with a flipped bit": flipped(encoded("png", rgb(SIXTEEN))),
    "JPEG 2000 cut short": cut(encoded("jpeg2k", SIXTEEN, level=0)),
    "JPEG XL cut short": cut(encoded("jpegxl", SIXTEEN, lossless=True)),
    "deep PNG cut short": cut(encoded("png", rgb(SIXTEEN))),
    "PGM cut short": cut(pnm(5, 65535, SIXTEEN)),
}
REFUSED |= {name: (content, "damaged or truncated") for name, content in DAMAGED.items()}


def test_what_cannot_be_taken_as_gray_is_one_line(tmp_path):
    """Not repaired, not guessed at: left out with its reason, beside a good picture that comes in."""
    source = put(tmp_path / "in", {name: content for name, (content, _) in REFUSED.items()})
    save(source / "good.png", head(2))
    report = run(source, tmp_path / "out", DEEP.model_copy(update={"max_pixels": 10**8}))
    assert report.results["total"] == 1
    found = {name.split("/")[1][3:]: reason for name, reason in reasons(report).items()}
    assert report.results["skipped"] == len(found)
    assert found.keys() == REFUSED.keys()
    assert {name: found[name] for name, (_, reason) in REFUSED.items() if reason not in found[name]} == {}


def test_a_volume_that_is_damaged_keeps_the_pages_before(tmp_path):
    """From the first page that cannot be read on, pages are left out, and the line says which."""
    content = bytearray(tiff(np.stack([head(n) for n in range(5)]), compression="zlib", rowsperstrip=64, metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        place = file.pages[3].dataoffsets[0]
    content[place : place + 40] = bytes(40)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.tif").write_bytes(content)
    report = run(tmp_path / "in", tmp_path / "out", DEEP)
    assert report.results["total"] == 3
    assert list(reasons(report)) == ["in/a.tif, after page 3"]


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=15)
def test_the_size_of_a_jpegxl_is_read_before_it_is_decoded(height, width):
    """The header's height and width are those of the decoder, in all forms that the encoder chooses."""
    content = encoded("jpegxl", np.zeros((height, width), np.uint8), lossless=True, effort=1)
    assert jpegxl_size(content) == (height, width)


SEEDS = [
    tiff(np.stack([SIXTEEN[:16, :16]] * 3)),
    tiff(SIXTEEN[:16, :16], compression="lzw", tile=(16, 16)),
    encoded("png", rgb(SIXTEEN[:8, :8])),
    encoded("jpeg2k", SIXTEEN[:16, :16], level=0),
    encoded("jpegxl", SIXTEEN[:16, :16], lossless=True),
    pnm(2, 4095, TWELVE[:8, :8]),
    encoded("ljpeg", TWELVE[:16, :16], bitspersample=12),
]


@given(data=st.data())
@settings(max_examples=150)
def test_no_damage_ends_in_anything_but_a_reason(tmp_path_factory, data):
    """Any bytes changed, any part cut off: a decoder gives gray values or raises SourceError."""
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for at, value in data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255))).items():
        content[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(SourceError), strict_pillow():
        assert all(gray_values(picture, colour=True)[0].ndim == 2 for picture in decode_file(path, 10**6))
