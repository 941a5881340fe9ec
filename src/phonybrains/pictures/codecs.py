"""Decode pictures to their stored samples, at full depth: Pillow for 8 bits, tifffile and imagecodecs for more.

Nothing is repaired in silence: what is damaged, cut short, animated or larger than allowed is refused with a reason.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ..errors import SourceError
from ..process_wide import process_wide
from .headers import JPEG_2000, JPEG_XL, TIFF, check_png, jpeg_size, jpegxl_size, pnm
from .picture import ORIENTATION, SQUARE, DecodedPicture, check_size, spacing_of, upright
from .tiff import tiff_pages

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")


@process_wide
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


def decode_file(path: Path, max_pixels: int, *, mask: bool = False) -> Iterator[DecodedPicture]:
    """Decode a file's only picture, or the pages of a multi-page TIFF one after another; a mask may be of 1 bit.

    Raises SourceError if it is no image, damaged, too large, animated, or holds what cannot be taken as one picture;
    OSError if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
        if head.startswith(TIFF):
            yield from tiff_pages(path, max_pixels, mask=mask)
        else:
            yield decode_content(path.read_bytes(), max_pixels, mask=mask)
    except (SourceError, GeneratorExit):
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        raise _damaged(error) from None
    except Exception as error:  # decoders fail in many ways on damaged files
        raise _damaged(error) from None


def decode_content(content: bytes, max_pixels: int, *, mask: bool = False) -> DecodedPicture:
    """Decode the only picture in the bytes of a file that is no TIFF. Raises SourceError as `decode_file` does."""
    try:
        return _single(content, max_pixels, mask)
    except SourceError:
        raise
    except Exception as error:  # decoders fail in many ways on damaged files
        raise _damaged(error) from None


def _damaged(error: Exception) -> SourceError:
    return SourceError(f"damaged or truncated ({' '.join(str(error).split())[:200] or type(error).__name__})")


def _single(content: bytes, max_pixels: int, mask: bool) -> DecodedPicture:
    if content.startswith(JPEG_XL):
        return _by_imagecodecs("jpegxl", content, jpegxl_size(content), max_pixels)
    if content.startswith(JPEG_2000):
        with Image.open(io.BytesIO(content), formats=["JPEG2000"]) as image:
            size, spacing = (image.height, image.width), _spacing(image)
        return _by_imagecodecs("jpeg2k", content, size, max_pixels, spacing)
    if found := pnm(content, lambda height, width: check_size(height, width, max_pixels)):
        samples, maxval = found
        return DecodedPicture(samples, maxval, declared=maxval not in (255, 65535))
    try:
        return _by_pillow(content, max_pixels, mask)
    except Image.UnidentifiedImageError:
        if size := jpeg_size(content):  # 12 and 16 bit, lossless
            return _by_imagecodecs("jpeg8", content, size, max_pixels)
        if b"\xff\xf7" in content[:1024]:
            raise SourceError("JPEG-LS, which is not read: save it as PNG, or as JPEG 2000") from None
        what = "its content is not that of an image; the extension misleads, or it is damaged"
        raise SourceError(what) from None


def _by_pillow(content: bytes, max_pixels: int, mask: bool) -> DecodedPicture:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        check_size(image.height, image.width, max_pixels)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise SourceError(f"holds {frames} frames: save each as a file of its own")
        if image.mode == "1" and not mask:
            raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
        if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            raise SourceError(f"{image.mode} colours, not gray: convert it to gray first")
        if image.format == "PNG":
            check_png(content)
        spacing, orientation = _spacing(image), image.getexif().get(ORIENTATION, 1)
        deep = image.format == "PNG" and content[24] == 16
        lossy = image.format == "JPEG" or content[8:16] == b"WEBPVP8 "
        if deep:
            samples, alpha = _deep_png(image, content)
        else:
            samples, alpha = _plain(image)
    picture = DecodedPicture(samples, 65535 if deep else 255, alpha, lossy=lossy, spacing=spacing)
    return upright(picture, orientation)


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
) -> DecodedPicture:
    import imagecodecs

    check_size(*size, max_pixels)
    samples = getattr(imagecodecs, f"{codec}_decode")(content)
    if sorted(samples.shape[:2]) != sorted(size) or samples.ndim > 3:
        raise SourceError("holds several frames: save each as a file of its own")
    alpha = samples.ndim == 3 and samples.shape[2] in (2, 4)
    white = np.iinfo(samples.dtype).max if samples.dtype in (np.uint8, np.uint16) else 0
    return DecodedPicture(samples, float(white), alpha, spacing=spacing)


def _spacing(image: Image.Image) -> tuple[float, float]:
    """Distance of rows and of columns, from the resolution along x and y or the pixel aspect in a header."""
    resolution = image.info.get("dpi") or image.info.get("aspect")
    if not resolution and image.info.get("jfif_unit") == 0:
        resolution = image.info.get("jfif_density")
    return spacing_of(*resolution) if resolution else SQUARE
