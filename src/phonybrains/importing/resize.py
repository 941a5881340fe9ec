"""Bring a slice to the set's square size: aspect kept in millimetres, no aliasing, padded with background."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..imageset import Attribute, Pixels

BOX = {"lesion_x": "lesion_width", "lesion_y": "lesion_height"}
"""The box around a lesion, among the attributes of a slice: centre and size as fractions of width and height."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the source lies in the square, in pixels of the square: its top left corner and its size."""

    top: int
    left: int
    height: int
    width: int
    size: int


def place(shape: tuple[int, int], spacing_mm: tuple[float, float], size: int) -> Placement:
    """Fit (H, W) pixels of the given row and column distance into a square of `size`, centred, as large as it goes."""
    height_mm, width_mm = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
    scale = size / max(height_mm, width_mm)
    height, width = (max(1, round(length * scale)) for length in (height_mm, width_mm))
    return Placement((size - height) // 2, (size - width) // 2, height, width, size)


def fit(values: NDArray[np.float32], placement: Placement, background: float) -> NDArray[np.float32]:
    """Resample (H, W) values into the square (size, size), filled up with `background`.

    Smaller: Hamming window, antialiased and without negative lobes, so that no dark halo appears beside bone or fat
    as Lanczos makes one. Larger: bicubic. Each axis by its own filter, as slices can have oblong pixels.
    """
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    image = image.resize((placement.width, image.height), _filter(image.width, placement.width))
    image = image.resize((placement.width, placement.height), _filter(image.height, placement.height))
    if (placement.height, placement.width) == (placement.size, placement.size):
        return np.asarray(image)
    square = np.full((placement.size, placement.size), background, np.float32)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    square[rows, columns] = np.asarray(image)
    return square


def fit_mask(mask: NDArray[np.bool_], placement: Placement) -> NDArray[np.bool_]:
    """Bring a mask (h, w) into the square as its image is: inside is a pixel that it covers by half or more.

    What is too small for that does not vanish: inside are then the pixels that it covers most.
    """
    image = Image.fromarray(mask.astype(np.float32)).resize((placement.width, placement.height), Image.Resampling.BOX)
    share = np.asarray(image)
    enough = min(0.5, float(share.max())) if mask.any() else 0.5
    square = np.zeros((placement.size, placement.size), np.bool_)
    rows = slice(placement.top, placement.top + placement.height)
    square[rows, placement.left : placement.left + placement.width] = share >= enough
    return square


def _filter(before: int, after: int) -> Image.Resampling:
    return Image.Resampling.HAMMING if after < before else Image.Resampling.BICUBIC


def to_pixels(
    values: NDArray[np.float32], low: float, high: float, placement: Placement, bits: int
) -> tuple[Pixels, float, float]:
    """Resize values and map low…high to the whole range of uint8 or uint16; gives pixels, slope and intercept.

    Values are cut to low…high before they are resampled: a CT slice and a picture of it that was windowed before
    it came here then give the same image.
    """
    if not high > low:
        high = low + 1.0
    top = 2**bits - 1
    if values.min() < low or values.max() > high:
        values = np.clip(values, low, high)
    square = fit(values, placement, low)
    scaled = np.rint((square - np.float32(low)) * np.float32(top / (high - low)))
    kind: Any = np.uint8 if bits == 8 else np.uint16
    return np.clip(scaled, 0, top).astype(kind), (high - low) / top, low


def thumbnail(pixels: Pixels, size: int = 32) -> NDArray[np.uint8]:
    """A (size, size) uint8 thumbnail of mean values, to tell near duplicates by."""
    image = Image.fromarray(pixels.astype(np.float32)).resize((size, size), Image.Resampling.BOX)
    return (np.asarray(image) * (255 / np.iinfo(pixels.dtype).max)).round().astype(np.uint8)


def box_around(mask: NDArray[np.bool_]) -> dict[str, Attribute]:
    """The box around a mask, (H, W); None in each place where the mask is empty."""
    box: dict[str, Attribute] = dict.fromkeys(("lesion_x", "lesion_y", "lesion_width", "lesion_height"))
    for axis, (centre, size) in enumerate(BOX.items()):
        inside = np.flatnonzero(mask.any(axis=axis))
        if inside.size:
            first, end, length = int(inside[0]), int(inside[-1]) + 1, mask.shape[1 - axis]
            box |= {centre: (first + end) / 2 / length, size: (end - first) / length}
    return box


def placed(attributes: Mapping[str, Attribute], placement: Placement) -> dict[str, Attribute]:
    """Attributes with the box, given as fractions of the source, as fractions of the padded square."""
    found = dict(attributes)
    sides = ((placement.width, placement.left), (placement.height, placement.top))
    for names, (length, before) in zip(BOX.items(), sides, strict=True):
        for name, shift in zip(names, (before, 0), strict=True):
            with suppress(TypeError, ValueError):  # no box, or a text
                if length != placement.size:
                    found |= {name: (float(found.get(name)) * length + shift) / placement.size}  # type: ignore[arg-type]
    return found
