"""How well two outlines agree, image by image, and on average over people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...statistics.bootstrap import Drawn
from ...wording import count_of
from ..arrays import Array
from .again import Again


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Array:
    """2|A∩B| / (|A| + |B|) of each image's masks, (n, H, W): 1 where they are one, 0 where they do not meet.

    NaN where nothing is outlined in truth: any choice there, 0 or 1, would measure how many such images there are.
    [Dice 1945]
    """
    axes = (1, 2)
    both, size = (found & truth).sum(axes), found.sum(axes) + truth.sum(axes)
    return np.divide(2.0 * both, size, out=np.full(len(truth), np.nan), where=truth.any(axes))


def mean_of(each: Array, again: Again) -> Drawn:
    """The mean over images and networks, (S, n), drawing people and networks again; NaN, alike in all, is left out."""
    known = np.isfinite(each[0])
    total = again.weights[:, known].sum(axis=1)
    sums = each[:, known] @ again.weights[:, known].T
    return again.mean(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))


def of_empty(each: Array, outlines: NDArray[np.bool_]) -> str:
    """What is said of images, (n,), in which nothing is to be found; outlines: where each network finds something."""
    empty = np.isnan(each)
    if not empty.any():
        return ""
    left = f"{count_of(int(empty.sum()), 'image')} with nothing to find left out"
    return f"{left}, something is outlined in {np.mean((outlines & empty).sum(axis=-1)):.3g}"
