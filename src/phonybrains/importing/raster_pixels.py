"""Decode PNG, JPEG, TIFF, BMP and WebP to gray values, and refuse what is not safe to take as gray.

A damaged, coloured, partly transparent or animated file is left out with its reason, never repaired in silence. Only
what was generated may be coloured: it becomes luminance, and its row says how coloured it was.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from ..errors import SourceError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
COLOUR_TOLERANCE = 8
"""Channels of a gray image may differ this much (of 255): JPEG rounds colours."""
ORIENTATION = 0x0112
TIFF = (b"II", b"MM")
Range = tuple[float, float]


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Let Pillow refuse truncated files and leave the limit of pixels to us; the caller's settings come back after."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


@contextmanager
def open_image(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image without decoding it.

    Raises SourceError, also for what happens inside, if it is no image, damaged, too large or has several frames.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise SourceError(f"{image.width}×{image.height} pixels are more than max_pixels = {max_pixels:,}")
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                what = "pages" if image.format == "TIFF" else "frames"
                raise SourceError(f"holds {frames} {what}: save each as a file of its own")
            yield image
    except SourceError:
        raise
    except Image.UnidentifiedImageError:
        what = "its content is not that of an image; the extension misleads, or it is damaged"
        raise SourceError(what) from None
    except Exception as error:  # Pillow fails in many ways on damaged files
        raise SourceError(f"damaged or truncated ({str(error) or type(error).__name__})") from None


def decode(image: Image.Image, *, colour: bool = False) -> tuple[NDArray[np.float32], Range]:
    """The gray values (H, W) of an opened image, and which of them are black and white in its format.

    colour: take a coloured image by its luminance (ITU-R BT.601, as Pillow weighs channels).
    Raises SourceError if it is CMYK, coloured, partly transparent, black-and-white, or holds NaN.
    """
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "L" and "transparency" not in image.info:
        return np.asarray(image, np.float32), (0.0, 255.0)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32), (0.0, 65535.0)
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all():
            raise SourceError("holds NaN or infinite values")
        return values, (min(0.0, float(values.min())), max(256.0, float(values.max())))
    if image.mode == "1":
        raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise SourceError(f"{image.mode} colours, not gray: convert it to gray first")
    return _gray(image, colour), (0.0, 255.0)


def how_coloured(image: Image.Image) -> dict[str, float]:
    """How coloured an opened image is.

    coloured: the share of its pixels whose channels differ by more than COLOUR_TOLERANCE (0 to 1); chroma: how much
    the channels of a pixel differ on average, of 255.
    """
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return {"coloured": 0.0, "chroma": 0.0}
    channels = np.asarray(image.convert("RGB"))
    spread = channels.max(axis=2) - channels.min(axis=2)
    share = float((spread > COLOUR_TOLERANCE).mean())
    return {"coloured": round(share, 4), "chroma": round(float(spread.mean()), 2)}


def _gray(image: Image.Image, colour: bool) -> NDArray[np.float32]:
    """The gray values of an image with a palette, three channels or transparency, if it really is gray and opaque."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise SourceError("partly transparent: what lies behind is not known; flatten it first")
    image = image.convert("RGB")
    if colour:
        return np.asarray(image.convert("L"), np.float32)
    channels = np.asarray(image)
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if spread > COLOUR_TOLERANCE:
        raise SourceError(f"is coloured, not gray (channels differ by up to {spread} of 255)")
    return np.asarray(image.convert("L"), np.float32)


def deep_range(path: Path, max_pixels: int) -> Range | None:
    """What black and white should be for a file with more than 8 bits; None for others, of which 25 bytes are read.

    16 bit: 0 and the next 2ⁿ - 1 (n of 8…16) above its largest number; 32 bit and float: the numbers that occur.
    """
    try:
        with path.open("rb") as file:
            head = file.read(25)
        if not (head.startswith(TIFF) or (head.startswith(b"\x89PNG") and head[-1] == 16)):
            return None
        with open_image(path.read_bytes(), max_pixels) as image:
            if image.mode[0] not in "IF":
                return None
            low, high = (float(number) for number in (np.min(np.asarray(image)), np.max(np.asarray(image))))
            bits = max(8, math.ceil(math.log2(high + 1))) if image.mode.startswith("I;16") else 0
    except (OSError, SourceError):  # it is reported when it is read
        return None
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return min(0.0, low), float(2**bits - 1) if bits else high
