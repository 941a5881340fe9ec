"""One encoder for all images of a modality: stored pixels to int16, the same mapping for real and synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...imageset import Pixels, Row
from ..study import Case
from .history import apply_history, parse_history

TILES = 4
SHIFT = 32768  # unsigned 16 bit to signed 16 bit
HU_STEPS = 65000  # of 65,536 that int16 has


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A row of an image set and its stored pixels."""

    row: Row
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the int16 pixels of a modality mean: value = slope · pixel + intercept, in `unit`."""

    slope: float
    intercept: float
    unit: str


def encode(
    stored: Sequence[StoredImage], history: Sequence[str] = ()
) -> tuple[list[NDArray[np.int16]], Encoding, list[str]]:
    """All images of one modality as (H, W) int16, what the pixels mean, and warnings.

    Where all are in HU they stay in HU: as stored if they share slope and intercept, else on one common grid. Where any
    is in arbitrary units, so are all: stored pixels as they are, for a unit that one side alone has tells the truth.
    """
    first, units, warnings = stored[0], {one.row.unit for one in stored}, []
    calibrations = {(one.row.slope, one.row.intercept) for one in stored} if units == {"HU"} else {(1.0, 0.0)}
    if len(calibrations) == 1:
        (slope, intercept), shift = calibrations.pop(), _shift(first.pixels)
        images = [(one.pixels.astype(np.int32) - int(_shift(one.pixels))).astype(np.int16) for one in stored]
        encoding = Encoding(slope, intercept + slope * shift, "HU" if units == {"HU"} else "a.u.")
    else:
        values = [one.pixels.astype(np.float64) * one.row.slope + one.row.intercept for one in stored]
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        slope = max(min(abs(slope) for slope, _ in calibrations), (high - low) / HU_STEPS)
        encoding = Encoding(slope, float((low + high) / 2), "HU")
        images = [np.rint((v - encoding.intercept) / slope).astype(np.int16) for v in values]
    if len(units) > 1 and "HU" in units:
        warnings.append(
            f"{first.row.modality}: some images are in HU, others are not. All are shown in arbitrary units, "
            "without HU windows."
        )
    steps, (low, high) = parse_history(history), _range(images, first.pixels)
    return [apply_history(steps, image, low, high) for image in images], encoding, warnings


def _shift(pixels: Pixels) -> float:
    return 0.0 if pixels.dtype == np.uint8 else float(SHIFT)


def _range(images: Sequence[NDArray[np.int16]], pixels: Pixels) -> tuple[float, float]:
    """What a history's 0…255 stands for: 8 bit as they are; else from the darkest to the brightest of all."""
    low, high = min(int(i.min()) for i in images), max(int(i.max()) for i in images)
    return (0.0, 255.0) if pixels.dtype == np.uint8 and low >= 0 and high <= 255 else (float(low), float(high))


def shuffle_tiles(image: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Cut an image into 4 × 4 tiles and put each in another's place: what no attentive reader calls real."""
    order = np.arange(TILES * TILES)
    for i in range(len(order) - 1, 0, -1):  # one cycle through all (Sattolo), so that no tile stays
        j = int(rng.integers(0, i))
        order[[i, j]] = order[[j, i]]
    height, width = (side // TILES for side in image.shape)
    tiles = [
        (slice(y * height, (y + 1) * height), slice(x * width, (x + 1) * width)) for y, x in np.ndindex(TILES, TILES)
    ]
    out = image.copy()
    for place, tile in enumerate(order):
        out[tiles[place]] = image[tiles[tile]]
    return out


def image_bytes(image: NDArray[np.int16]) -> bytes:
    """What is stored and sent: 2 · H · W bytes, little-endian, nothing else."""
    return image.astype("<i2").tobytes()


@dataclass(frozen=True, slots=True)
class EncodedCase:
    """A case and its image."""

    case: Case
    image: NDArray[np.int16]
