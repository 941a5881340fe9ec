"""Picture formats beyond 8 bits of gray: right values, pages, oblong pixels, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
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
from phonybrains.importing import ImportConfig, import_images
from phonybrains.importing.raster.codecs import decode_file, strict_pillow
from phonybrains.importing.raster.headers import jpegxl_size
from phonybrains.importing.raster.pixels import gray_values
from tests.support.pictures import head, reasons, save

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


@pytest.fixture
def values(tmp_path: Path) -> Callable[..., list[np.ndarray]]:
    """Import one file and give back the values of its images."""

    def imported(content: bytes, config: ImportConfig = DEEP) -> list[np.ndarray]:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in/a").write_bytes(content)
        import_images([tmp_path / "in"], tmp_path / "out", config, progress=False)
        images = ImageSet.open(tmp_path / "out")
        return [images.values(number) for number in range(len(images))]

    return imported


EXACT = {
    "PNG, 16-bit RGB": (encoded("png", rgb(SIXTEEN)), SIXTEEN),
    "PNG, 16-bit RGBA": (encoded("png", rgb(SIXTEEN, alpha=True)), SIXTEEN),
    "PNG, 16-bit gray and alpha": (encoded("png", np.ascontiguousarray(rgb(SIXTEEN, alpha=True)[..., 2:])), SIXTEEN),
    "TIFF, 8-bit white is zero": (tiff(255 - GRAY, photometric="miniswhite"), GRAY),
    "TIFF, 16-bit white is zero": (tiff(65535 - SIXTEEN, photometric="miniswhite"), SIXTEEN),
    "TIFF, 16-bit white is zero, compressed": (
        tiff(65535 - SIXTEEN, photometric="miniswhite", compression="lzw", predictor=True, rowsperstrip=5),
        SIXTEEN,
    ),
    "TIFF, big endian": (tiff(SIXTEEN, byteorder=">"), SIXTEEN),
    "TIFF, BigTIFF": (tiff(SIXTEEN, bigtiff=True), SIXTEEN),
    "TIFF, tiles": (tiff(SIXTEEN, tile=(16, 32), compression="zlib"), SIXTEEN),
    "TIFF, 16-bit RGB": (tiff(rgb(SIXTEEN), photometric="rgb"), SIXTEEN),
    "TIFF, 16-bit RGB in planes": (
        tiff(np.moveaxis(rgb(SIXTEEN), -1, 0), photometric="rgb", planarconfig="separate"),
        SIXTEEN,
    ),
    "TIFF, 8-bit RGB in planes": (
        tiff(np.moveaxis(rgb(GRAY), -1, 0), photometric="rgb", planarconfig="separate"),
        GRAY,
    ),
    "TIFF, gray and alpha": (
        tiff(rgb(SIXTEEN, alpha=True)[..., 2:], photometric="minisblack", extrasamples=["unassalpha"]),
        SIXTEEN,
    ),
    "TIFF, signed": (tiff(SIXTEEN.astype(np.int32) - 1000), SIXTEEN.astype(np.int32) - 1000),
    "TIFF, float64": (tiff(SIXTEEN.astype(np.float64)), SIXTEEN),
    "TIFF, float16": (tiff(TWELVE.astype(np.float16)), TWELVE.astype(np.float16)),
    "JPEG 2000, 8 bit": (encoded("jpeg2k", GRAY, level=0), GRAY),
    "JPEG 2000, 16 bit": (encoded("jpeg2k", SIXTEEN, level=0), SIXTEEN),
    "JPEG 2000, 16-bit RGB": (encoded("jpeg2k", rgb(SIXTEEN), level=0), SIXTEEN),
    "JPEG 2000, codestream": (encoded("jpeg2k", SIXTEEN, level=0, codecformat="j2k"), SIXTEEN),
    "JPEG 2000, signed": (encoded("jpeg2k", TWELVE.astype(np.int16) - 1000, level=0), TWELVE.astype(np.int16) - 1000),
    "JPEG XL, 8 bit": (encoded("jpegxl", GRAY, lossless=True, usecontainer=False), GRAY),
    "JPEG XL, 16 bit": (encoded("jpegxl", SIXTEEN, lossless=True), SIXTEEN),
    "JPEG XL, 16-bit RGB": (encoded("jpegxl", rgb(SIXTEEN), lossless=True), SIXTEEN),
    "JPEG, 12-bit lossless": (encoded("ljpeg", TWELVE, bitspersample=12), TWELVE),
    "PGM, text, maxval 4095": (pnm(2, 4095, TWELVE), TWELVE),
    "PGM, maxval 4095": (pnm(5, 4095, TWELVE), TWELVE),
    "PGM, maxval 65535": (pnm(5, 65535, SIXTEEN), SIXTEEN),
    "PGM, 8 bit": (pnm(5, 255, GRAY), GRAY),
    "PPM, text": (pnm(3, 255, rgb(GRAY)), GRAY),
    "PPM, maxval 65535": (pnm(6, 65535, rgb(SIXTEEN)), SIXTEEN),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_format_comes_in_with_every_gray_level(values, name):
    """In 16 bits, with the range of the format, values come back within half a step: nothing is cut to 8 bits."""
    content, expected = EXACT[name]
    (found,) = values(content)
    step = 65535 / 65535 if expected.max() > 4095 else 4096 / 65535
    assert np.abs(found - expected).max() <= 0.51 * step


def test_white_of_a_pgm_is_its_maxval_and_not_its_largest_number(tmp_path):
    """A dim picture with maxval 4095 stays dim; in 16 bits without one it would be taken for fewer bits."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pgm").write_bytes(pnm(5, 4095, TWELVE // 8))
    import_images([tmp_path / "in"], tmp_path / "out", DEEP, progress=False)
    assert ImageSet.open(tmp_path / "out").rows[0].slope == pytest.approx(4095 / 65535)


def test_a_lossy_deep_jpeg_is_read(values):
    """A JPEG of 12 bits, which Pillow calls damaged, differs from its original by its compression alone."""
    (found,) = values(encoded("jpeg8", TWELVE, level=95, bitspersample=12))
    assert np.abs(found - TWELVE).mean() < 8


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


OBLONG = {
    "TIFF": ("a.tif", lambda path: tifffile.imwrite(path, GRAY, resolution=(100, 50))),
    "PNG": ("a.png", lambda path: Image.fromarray(GRAY).save(path, dpi=(100, 50))),
    "BMP": ("a.bmp", lambda path: Image.fromarray(GRAY).save(path, dpi=(100, 50))),
    "JPEG": ("a.jpg", lambda path: Image.fromarray(GRAY).save(path, dpi=(100, 50))),
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
    report = import_images([tmp_path / "in"], tmp_path / "out", ImportConfig(modality="MR", size=64), progress=False)
    columns = ImageSet.open(tmp_path / "out").pixels(0).max(axis=0) > 8
    assert not columns[:16].any()
    assert not columns[48:].any()
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
    report = import_images([tmp_path / "in"], tmp_path / "out", DEEP, progress=False)
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


def many_widths() -> bytes:
    """A TIFF that gives two numbers for its width, as a flipped bit of the count of such numbers does."""
    return tiff(GRAY).replace(struct.pack("<HHII", 256, 4, 1, 64), struct.pack("<HHII", 256, 4, 2, 8))


COLOURED = rgb(SIXTEEN)
COLOURED[20:30, 20:30, 0] = 0
REFUSED = {
    "JPEG-LS": (encoded("jpegls", TWELVE), "JPEG-LS, which is not read"),
    "complex": (tiff(SIXTEEN.astype(np.complex64)), "complex"),
    "float, white is zero": (tiff(SIXTEEN.astype(np.float32), photometric="miniswhite"), "white is zero"),
    "coloured, 16 bit": (tiff(COLOURED, photometric="rgb"), "is coloured, not gray"),
    "coloured, JPEG XL": (encoded("jpegxl", COLOURED, lossless=True), "is coloured, not gray"),
    "CMYK": (tiff(np.zeros((64, 64, 4), np.uint8), photometric="separated"), "CMYK colours"),
    "channels without a name": (
        tiff(np.zeros((64, 64, 2), np.uint8), photometric="minisblack", extrasamples=["unspecified"]),
        "2 channels",
    ),
    "transparent in one level": (transparent_png(), "partly transparent"),
    "channels in pages": (
        tiff(np.stack([SIXTEEN] * 3), imagej=True, metadata={"axes": "CYX"}),
        "3 channels, which are no slices",
    ),
    "time points": (tiff(np.stack([SIXTEEN] * 3), imagej=True, metadata={"axes": "TYX"}), "3 time points"),
    "time points of OME": (tiff(np.stack([SIXTEEN] * 3), ome=True, metadata={"axes": "TYX"}), "3 time points"),
    "mask": (tiff(GRAY > 9), "black and white"),
    "TIFF cut short": (cut(tiff(SIXTEEN, rowsperstrip=8)), "damaged or truncated"),
    "TIFF whose pages lead round": (circle(), "round in a circle"),
    "TIFF with many widths": (many_widths(), "its size is no number"),
    "TIFF with a hole": (sparse(), "damaged or truncated"),
    "PNG with a flipped bit": (flipped(encoded("png", GRAY)), "damaged or truncated"),
    "deep PNG with a flipped bit": (flipped(encoded("png", rgb(SIXTEEN))), "damaged or truncated"),
    "float64 beyond single precision": (tiff(np.full((9, 9), 1e300)), "single precision"),
    "JPEG 2000 cut short": (cut(encoded("jpeg2k", SIXTEEN, level=0)), "damaged or truncated"),
    "JPEG XL cut short": (cut(encoded("jpegxl", SIXTEEN, lossless=True)), "damaged or truncated"),
    "deep PNG cut short": (cut(encoded("png", rgb(SIXTEEN))), "damaged or truncated"),
    "PGM cut short": (cut(pnm(5, 65535, SIXTEEN)), "damaged or truncated"),
    "PGM above its maxval": (pnm(5, 255, GRAY).replace(b"\n255\n", b"\n100\n"), "do not fit its header"),
    "two PGM in one": (pnm(5, 255, GRAY) * 2, "more than one picture"),
    "frames": (encoded("jpegxl", np.stack([GRAY] * 5), lossless=True), "several frames"),
    "JPEG XL bomb": (bare_jpegxl(200_000, 200_000), "200000×200000 pixels are more than max_pixels"),
    "PGM without pixels": (b"P5 0 64 65535\n", "holds no pixels"),
    "PGM bomb": (b"P5 30000 30000 65535\n", "30000×30000 pixels are more than max_pixels"),
    "TIFF bomb": (
        tiff(GRAY).replace(struct.pack("<HHII", 256, 4, 1, 64), struct.pack("<HHII", 256, 4, 1, 2**31)),
        "pixels are more than max_pixels",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_as_gray_is_one_line(tmp_path, name):
    """Not repaired, not guessed at: left out with its reason, beside a good picture that comes in."""
    content, reason = REFUSED[name]
    save(tmp_path / "in/good.png", head(2))
    (tmp_path / "in/a").write_bytes(content)
    config = DEEP.model_copy(update={"max_pixels": 10**8})
    report = import_images([tmp_path / "in"], tmp_path / "out", config, progress=False)
    assert list(reasons(report)) == ["in/a"]
    assert reason in reasons(report)["in/a"]
    assert report.results["total"] == 1


def test_a_volume_that_is_damaged_keeps_the_pages_before(tmp_path):
    """From the first page that cannot be read on, pages are left out, and the line says which."""
    content = bytearray(tiff(np.stack([head(n) for n in range(5)]), compression="zlib", rowsperstrip=64, metadata=None))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        place = file.pages[3].dataoffsets[0]
    content[place : place + 40] = bytes(40)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.tif").write_bytes(content)
    report = import_images([tmp_path / "in"], tmp_path / "out", DEEP, progress=False)
    assert report.results["total"] == 3
    assert list(reasons(report)) == ["in/a.tif, after page 3"]


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=15, deadline=None)
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
@settings(max_examples=300, deadline=None)
def test_no_damage_ends_in_anything_but_a_reason(tmp_path_factory, data):
    """Any bytes changed, any part cut off: a decoder gives gray values or raises SourceError."""
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for place, value in data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255))).items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(SourceError), strict_pillow():
        assert all(gray_values(picture, colour=True)[0].ndim == 2 for picture in decode_file(path, 10**6))
