"""How well two outlines agree, image by image, and on average over people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...wording import count_of
from ..arrays import Array
from .auc_gain import Drawn


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Array:
    """2|A∩B| / (|A| + |B|) of each image's masks, (n, H, W): 1 where they are one, 0 where they do not meet.

    NaN where nothing is outlined in truth: any choice there, 0 or 1, would measure how many such images there are.
    [Dice 1945]
    """
    axes = (1, 2)
    both, size = (found & truth).sum(axes), found.sum(axes) + truth.sum(axes)
    return np.divide(2.0 * both, size, out=np.full(len(truth), np.nan), where=truth.any(axes))


def mean_of(each: Array, weights: Array) -> Drawn:
    """The mean over images, (n,), NaN left out, and in each draw of people: weights (draws + 1, n), the first of 1."""
    known = np.isfinite(each)
    total = weights[:, known].sum(axis=1)
    means = np.divide(weights[:, known] @ each[known], total, out=np.full(len(weights), np.nan), where=total > 0)
    return Drawn(float(means[0]), means[1:])


def of_empty(each: Array, outlines: Sequence[bool] | NDArray[np.bool_]) -> str:
    """What is said of images in which nothing is to be found; outlines: where something is."""
    empty = np.isnan(each)
    if not empty.any():
        return ""
    left = f"{count_of(int(empty.sum()), 'image')} with nothing to find left out"
    return f"{left}, something is outlined in {np.sum(outlines & empty)}"
