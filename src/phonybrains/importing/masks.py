"""What a mask is to a slice: what in it counts as inside, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .slices import Notice, Slice

MOST_LEVELS = 64
"""More gray levels are a photograph of a mask, or a lossy copy."""


def inside(values: NDArray[np.generic], label: int | None, *, lossy: bool = False) -> NDArray[np.bool_]:
    """Where a label map is `label`, or anything but 0 if that is None. Raises SourceError for what is no label map.

    lossy: from a format that changes values, where more than two are no labels.
    """
    if (levels := len(np.unique(values))) > (2 if lossy else MOST_LEVELS):
        raise SourceError(f"has {levels} gray levels, and a mask has few: save it without smoothing, and not as JPEG")
    return values != 0 if label is None else values == label


def same_aspect(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask of another size, (h, w), covers what the image (H, W) does, within a pixel."""
    return abs(mask[0] * image[1] / image[0] - mask[1]) <= 1


def outlined(found: Slice, mask: NDArray[np.bool_], name: str) -> Iterable[Slice | Notice]:
    """A slice with its mask, or the slice without one and why."""
    if same_aspect((mask.shape[0], mask.shape[1]), (found.values.shape[0], found.values.shape[1])):
        return [replace(found, mask=mask)]
    sizes = "{1}×{0}, and its image {3}×{2}".format(*mask.shape, *found.values.shape)
    return [found, Notice(name, "warning", f"a mask of another shape ({sizes}): left out")]
