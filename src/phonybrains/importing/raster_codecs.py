"""Decode pictures to their stored samples, at full depth: Pillow for 8 bits, tifffile and imagecodecs for more.

Nothing is repaired in silence: what is damaged, cut short, animated or larger than allowed is refused with a reason.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ..errors import SourceError
from .raster_headers import JPEG_2000, JPEG_XL, TIFF, check_png, jpeg_size, jpegxl_size, pnm

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
ORIENTATION = 0x0112
TURNED = {5, 6, 7, 8}
FLIPPED = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
SQUARE = (1.0, 1.0)
REDUCED, MASK = 1, 4


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture or page.

    samples: (H, W) or (H, W, C) as stored, C = 1 to 4, black 0; white: what is white in its format, 0 where the format
    names none (signed, 32 bit, float); alpha: the last channel is opacity; declared: a header gave white itself;
    spacing: relative distance of rows and of columns; pages: how many the file has; place: which one this is.
    """

    samples: NDArray[Any]
    white: float
    alpha: bool = False
    declared: bool = False
    spacing: tuple[float, float] = SQUARE
    pages: int = 1
    place: int = 0


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Let Pillow refuse truncated files and leave the limit of pixels to us; the caller's settings come back after."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    log = logging.getLogger("tifffile")
    was_disabled = log.disabled
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before
        log.disabled = was_disabled


def decode_file(path: Path, max_pixels: int) -> Iterator[Picture]:
    """Decode a file's only picture, or the pages of a multi-page TIFF one after another.

    Raises SourceError if it is no image, damaged, too large, animated, or holds what cannot be taken as one picture;
    OSError if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
        if head.startswith(TIFF):
            yield from _tiff(path, max_pixels)
        else:
            yield _single(path.read_bytes(), max_pixels)
    except (SourceError, GeneratorExit):
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise _damaged(error) from None
    except Exception as error:  # decoders fail in many ways on damaged files
        raise _damaged(error) from None


def _damaged(error: Exception) -> SourceError:
    return SourceError(f"damaged or truncated ({' '.join(str(error).split())[:200] or type(error).__name__})")


def _single(content: bytes, max_pixels: int) -> Picture:
    if content.startswith(JPEG_XL):
        return _by_imagecodecs("jpegxl", content, jpegxl_size(content), max_pixels)
    if content.startswith(JPEG_2000):
        with Image.open(io.BytesIO(content), formats=["JPEG2000"]) as image:
            size, spacing = (image.height, image.width), _spacing(image)
        return _by_imagecodecs("jpeg2k", content, size, max_pixels, spacing)
    if found := pnm(content, lambda height, width: _check_size(height, width, max_pixels)):
        samples, maxval = found
        return Picture(samples, maxval, declared=maxval not in (255, 65535))
    try:
        return _by_pillow(content, max_pixels)
    except Image.UnidentifiedImageError:
        if size := jpeg_size(content):  # 12 and 16 bit, lossless, or JPEG-LS
            codec = "jpegls" if b"\xff\xf7" in content[:4096] else "jpeg"
            return _by_imagecodecs(codec, content, size, max_pixels)
        what = "its content is not that of an image; the extension misleads, or it is damaged"
        raise SourceError(what) from None


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if not height * width:
        raise SourceError("holds no pixels")
    if height * width > max_pixels:
        raise SourceError(f"{width}×{height} pixels are more than max_pixels = {max_pixels:,}")


def _by_pillow(content: bytes, max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_size(image.height, image.width, max_pixels)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise SourceError(f"holds {frames} frames: save each as a file of its own")
        if image.mode == "1":
            raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
        if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            raise SourceError(f"{image.mode} colours, not gray: convert it to gray first")
        if image.format == "PNG":
            check_png(content)
        spacing, orientation = _spacing(image), image.getexif().get(ORIENTATION, 1)
        deep = image.format == "PNG" and content[24] == 16
        if deep:
            samples, alpha = _deep_png(image, content)
        else:
            samples, alpha = _plain(image)
    return _upright(Picture(samples, 65535 if deep else 255, alpha, spacing=spacing), orientation)


def _plain(image: Image.Image) -> tuple[NDArray[Any], bool]:
    """Samples of at most 8 bits (float for PFM), and whether the last channel is opacity."""
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa", "RGBA"):
        return np.asarray(image.convert("RGBA")), True
    if image.mode in ("L", "I", "F"):
        return np.asarray(image), False
    return np.asarray(image.convert("RGB")), False


def _deep_png(image: Image.Image, content: bytes) -> tuple[NDArray[Any], bool]:
    """Samples of 16 bits, which Pillow keeps for gray only."""
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if transparent is None:
            return samples, False
        return np.stack([samples, np.where(samples == transparent, 0, 65535)], axis=2).astype(np.uint16), True
    import imagecodecs

    samples = imagecodecs.png_decode(content)
    return samples, samples.ndim == 3 and samples.shape[2] in (2, 4)


def _by_imagecodecs(
    codec: str, content: bytes, size: tuple[int, int], max_pixels: int, spacing: tuple[float, float] = SQUARE
) -> Picture:
    import imagecodecs

    _check_size(*size, max_pixels)
    samples = getattr(imagecodecs, f"{codec}_decode")(content)
    if sorted(samples.shape[:2]) != sorted(size) or samples.ndim > 3:
        raise SourceError("holds several frames: save each as a file of its own")
    alpha = samples.ndim == 3 and samples.shape[2] in (2, 4)
    white = np.iinfo(samples.dtype).max if samples.dtype in (np.uint8, np.uint16) else 0
    return Picture(samples, float(white), alpha, spacing=spacing)


def _spacing(image: Image.Image) -> tuple[float, float]:
    """Distance of rows and of columns, from the resolution along x and y or the pixel aspect in a header."""
    resolution = image.info.get("dpi") or image.info.get("aspect")
    if not resolution and image.info.get("jfif_unit") == 0:
        resolution = image.info.get("jfif_density")
    return spacing_of(*resolution) if resolution else SQUARE


def spacing_of(x: float, y: float) -> tuple[float, float]:
    """Distance of rows and columns of which there are x columns and y rows to a length; square where not believable."""
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0) or not 1 / 16 <= x / y <= 16:
        return SQUARE
    return SQUARE if abs(x / y - 1) < 0.005 else (x / y, 1.0)


def _upright(picture: Picture, orientation: int) -> Picture:
    """The picture with its rows and columns in the order in which they are looked at (TIFF 6.0, Orientation)."""
    samples, (rows, columns) = picture.samples, picture.spacing
    if orientation in TURNED:
        samples, rows, columns = samples.swapaxes(0, 1), columns, rows
    samples = np.flip(samples, FLIPPED.get(orientation, ()))
    return replace(picture, samples=samples, spacing=(rows, columns))


def _tiff(path: Path, max_pixels: int) -> Iterator[Picture]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        pages = _slices(file)
        for place, page in enumerate(pages):
            _check_size(page.imagelength, page.imagewidth, max_pixels)
            _check_whole(page, file.filehandle.size)
            yield _tiff_page(page, len(pages), place)


def _slices(file: TiffFile) -> list[TiffPage]:
    """The pages that are pictures, without thumbnails, the smaller levels of a pyramid, and masks."""
    pages: list[Any] = [page.aspage() for page in file.pages]
    pages = [page for page in pages if not int(page.subfiletype) & (REDUCED | MASK)] or pages
    if not pages:
        raise SourceError("damaged or truncated (no page can be read)")
    if len({(page.imagelength, page.imagewidth, page.dtype) for page in pages}) > 1:
        raise SourceError(f"holds {len(pages)} pages that differ in size or depth: save each as a file of its own")
    described = file.imagej_metadata or {}
    axes = file.series[0].sizes if file.is_ome and file.series else {}
    more = {"channels": max(described.get("channels", 1), axes.get("channel", 1)),
            "time points": max(described.get("frames", 1), axes.get("time", 1))}  # fmt: skip
    for what, count in more.items():
        if count > 1:
            raise SourceError(f"holds {count} {what}, which are no slices: save each as a file of its own")
    if described.get("images", 1) > len(pages):
        raise SourceError(f"ImageJ says that it holds {described['images']} images, but it has {len(pages)} pages")
    return pages


def _check_whole(page: TiffPage, size: int) -> None:
    """Refuse a page of which a part is missing: tifffile would fill that with zeros."""
    offsets, counts = page.dataoffsets, page.databytecounts
    inside = all(count > 0 and offset + count <= size for offset, count in zip(offsets, counts, strict=True))
    short = page.compression == 1 and sum(counts) * 8 < page.imagelength * page.imagewidth * page.bitspersample
    if not inside or short or len(offsets) < math.prod(page.chunked):
        raise SourceError("damaged or truncated (a part of its pixels lies outside the file)")


def _tiff_page(page: Any, pages: int, place: int) -> Picture:
    bits, kind, samples_per_pixel = page.bitspersample, page.photometric.name, page.samplesperpixel
    if bits == 1:
        raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
    if page.dtype is None or page.dtype.kind not in "uif" or isinstance(bits, tuple):
        raise SourceError("its numbers are complex, or of a kind that is not known: save it as real numbers")
    known = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "PALETTE": 1}.get(kind)
    jpeg = page.compression in (6, 7, 33007)
    if known is None or (kind == "YCBCR" and not jpeg):
        raise SourceError(f"{'CMYK' if kind == 'SEPARATED' else kind} colours, not gray: convert it to gray first")
    alpha = samples_per_pixel == known + 1 and page.extrasamples and int(page.extrasamples[0]) in (1, 2)
    if samples_per_pixel != known and not alpha:
        raise SourceError(f"holds {samples_per_pixel} channels, and does not say which is the picture")
    if samples_per_pixel * page.imagedepth > 4:
        raise SourceError("holds a volume in one page: save each slice as a page or a file of its own")
    samples = np.asarray(page.asarray(maxworkers=1))
    if samples_per_pixel > 1 and page.planarconfig == 2:
        samples = np.moveaxis(samples, 0, -1)
    white = float(2**bits - 1) if page.dtype.kind == "u" and bits <= 16 else 0.0
    if kind == "PALETTE":
        samples, white = np.moveaxis(np.asarray(page.colormap)[:, samples], 0, -1), 65535.0
    elif kind == "MINISWHITE" and not white:
        raise SourceError("white is zero in it, in numbers that have no largest one: save it with black as zero")
    elif kind == "MINISWHITE":
        samples = np.concatenate([white - samples[..., :1], samples[..., 1:]], axis=2) if alpha else white - samples
    across, down = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    picture = Picture(samples, white, bool(alpha), spacing=spacing_of(across, down), pages=pages, place=place)
    return _upright(picture, page.tags.valueof(ORIENTATION, 1))


def _ratio(page: TiffPage, name: str) -> float:
    numerator, denominator = page.tags.valueof(name, (1, 1))
    return numerator / denominator if denominator else math.nan
