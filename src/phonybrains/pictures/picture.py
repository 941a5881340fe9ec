"""One decoded picture, and how its pixels lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

ORIENTATION = 0x0112
TURNED = {5, 6, 7, 8}
FLIPPED = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
SQUARE = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """One decoded picture or page.

    samples: (H, W) or (H, W, C) as stored, C = 1 to 4, black 0; white: what is white in its format, 0 where the format
    names none (signed, 32 bit, float); alpha: the last channel is opacity; declared: a header gave white itself; lossy:
    its format changes values a little; spacing: relative distance of rows and of columns; pages: how many the file has;
    place: which one this is.
    """

    samples: NDArray[Any]
    white: float
    alpha: bool = False
    declared: bool = False
    lossy: bool = False
    spacing: tuple[float, float] = SQUARE
    pages: int = 1
    place: int = 0


def check_size(height: int, width: int, max_pixels: int) -> None:
    if not height * width:
        raise SourceError("holds no pixels")
    if height * width > max_pixels:
        raise SourceError(f"{width}×{height} pixels are more than max_pixels = {max_pixels:,}")


def spacing_of(x: float, y: float) -> tuple[float, float]:
    """Distance of rows and columns of which there are x columns and y rows to a length; square where not believable."""
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0) or not 1 / 16 <= x / y <= 16:
        return SQUARE
    return SQUARE if abs(x / y - 1) < 0.005 else (x / y, 1.0)


def upright(picture: DecodedPicture, orientation: int) -> DecodedPicture:
    """The picture with its rows and columns in the order in which they are looked at (TIFF 6.0, Orientation)."""
    samples, (rows, columns) = picture.samples, picture.spacing
    if orientation in TURNED:
        samples, rows, columns = samples.swapaxes(0, 1), columns, rows
    samples = np.flip(samples, FLIPPED.get(orientation, ()))
    return replace(picture, samples=samples, spacing=(rows, columns))
