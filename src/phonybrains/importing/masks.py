"""What a mask is to a slice: whether it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .slices import Notice, Slice


def same_aspect(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask of another size, (h, w), covers what the image (H, W) does, within a pixel."""
    return abs(mask[0] * image[1] / image[0] - mask[1]) <= 1


def outlined(found: Slice, mask: NDArray[np.bool_], name: str) -> Iterable[Slice | Notice]:
    """A slice with its mask, or the slice without one and why."""
    if same_aspect((mask.shape[0], mask.shape[1]), (found.values.shape[0], found.values.shape[1])):
        return [replace(found, mask=mask)]
    sizes = "{1}×{0}, and its image {3}×{2}".format(*mask.shape, *found.values.shape)
    return [found, Notice(name, "warning", f"a mask of another shape ({sizes}): left out")]
