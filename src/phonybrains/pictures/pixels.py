"""From the samples of a picture to gray values, refusing what is not safe to take as gray.

A coloured or partly transparent picture is left out with its reason. Only what was generated may be coloured: it
becomes luminance, and its row says how coloured it was.
"""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import SourceError
from .codecs import decode_file
from .headers import JPEG_2000, JPEG_XL, TIFF
from .picture import DecodedPicture

COLOUR_TOLERANCE = 8
"""Channels of a gray image may differ this much (of 255): JPEG rounds colours."""
LUMA = np.array([19595, 38470, 7471])
"""Weights of red, green and blue (ITU-R BT.601) of 65536, as Pillow has them."""
Range = tuple[float, float]


def gray_values(picture: DecodedPicture, *, colour: bool = False) -> tuple[NDArray[np.float32], Range]:
    """The gray values (H, W) of a picture, and which of them are black and white in its format.

    colour: take a coloured picture by its luminance (ITU-R BT.601).
    Raises SourceError if it is coloured, partly transparent, or holds NaN or infinite values.
    """
    channels = _opaque(picture)
    with np.errstate(over="ignore", invalid="ignore"):
        values = _luminance(channels)
    if channels.dtype.kind == "f" and not np.isfinite(values).all():
        raise SourceError("holds NaN or infinite values, or some that single precision cannot hold")
    if channels.shape[2] == 3 and not colour:
        spread = math.ceil(float(_spread(channels).max()) * 255 / _white(picture, channels))
        if spread > COLOUR_TOLERANCE:
            raise SourceError(f"is coloured, not gray (channels differ by up to {spread} of 255)")
    if picture.white:
        return values, (0.0, picture.white)
    return values, (min(0.0, float(values.min())), max(256.0, float(values.max())))


def how_coloured(picture: DecodedPicture) -> dict[str, float]:
    """How coloured a picture is.

    coloured: the share of its pixels whose channels differ by more than COLOUR_TOLERANCE (0 to 1); chroma: how much
    the channels of a pixel differ on average, of 255.
    """
    channels = _opaque(picture)
    spread = _spread(channels) * (255 / _white(picture, channels))
    share = float((spread > COLOUR_TOLERANCE).mean())
    return {"coloured": round(share, 4), "chroma": round(float(spread.mean()), 2)}


def _opaque(picture: DecodedPicture) -> NDArray[Any]:
    """The channels (H, W, 1 or 3) without opacity. Raises SourceError where something shines through."""
    channels = picture.samples if picture.samples.ndim == 3 else picture.samples[:, :, None]
    if channels.shape[2] - picture.alpha not in (1, 3):
        raise SourceError("damaged or truncated (its channels do not fit its header)")
    if not picture.alpha:
        return channels
    if (channels[:, :, -1] != (picture.white or channels[:, :, -1].max())).any():
        raise SourceError("partly transparent: what lies behind is not known; flatten it first")
    return channels[:, :, :-1]


def _white(picture: DecodedPicture, channels: NDArray[Any]) -> float:
    return picture.white or max(float(np.abs(channels).max(initial=0)), 1e-30)


def _spread(channels: NDArray[Any]) -> NDArray[Any]:
    """How much the channels of each pixel differ, (H, W)."""
    return channels.max(axis=2) - channels.min(axis=2)


def _luminance(channels: NDArray[Any]) -> NDArray[np.float32]:
    if channels.shape[2] == 1:
        return channels[:, :, 0].astype(np.float32)
    if channels.dtype == np.uint8:
        return np.asarray(Image.fromarray(channels).convert("L"), np.float32)
    if channels.dtype == np.uint16:
        return ((channels.astype(np.int64) @ LUMA + 0x8000) >> 16).astype(np.float32)
    return (channels @ (LUMA / 65536)).astype(np.float32)


def deep_range(path: Path, max_pixels: int) -> Range | None:
    """What black and white should be for a file with more than 8 bits; None for others, of which the head is read.

    Up to 16 bit: 0 and what a header declares, else the next 2ⁿ - 1 (n of 8…16) above its largest number; signed, 32
    bit and float: the numbers that occur. All pages of a file count.
    """
    try:
        if not _may_be_deep(path):
            return None
        spans = [span_of(picture) for picture in decode_file(path, max_pixels) if not 0 < picture.white <= 255]
    except (OSError, SourceError):  # it is reported when it is read
        return None
    finite = [span for span in spans if all(map(math.isfinite, span))]
    return (min(low for low, _ in finite), max(high for _, high in finite)) if finite else None


def _may_be_deep(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(25)
    if head.startswith(b"\x89PNG"):
        return head[-1] == 16
    if head.startswith(b"\xff\xd8"):
        with suppress(OSError, SyntaxError, ValueError), Image.open(path, formats=["JPEG"]):
            return False  # Pillow knows 8 bits alone
        return True
    return head.startswith((*TIFF, *JPEG_2000, *JPEG_XL)) or head[:1] == b"P"


def span_of(picture: DecodedPicture) -> Range:
    """What black and white should be for a picture of more than 8 bits, as `deep_range` says."""
    channels = picture.samples[..., :-1] if picture.alpha else picture.samples
    low, high = float(channels.min()), float(channels.max())
    if picture.declared:
        return 0.0, picture.white
    if picture.white:
        return 0.0, float(2 ** max(8, math.ceil(math.log2(high + 1))) - 1)
    return min(0.0, low), high
