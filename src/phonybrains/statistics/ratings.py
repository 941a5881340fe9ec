"""What raters said, as counts: two raters' table, and how many chose each category."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion_table(a: ArrayLike, b: ArrayLike, categories: ArrayLike) -> NDArray[np.int64]:
    """How often reader a chose category i where reader b chose j: (C, C) counts, in the order of categories.

    a, b: (units,) of the same kind as categories. Raises ValueError at an answer that is not among categories.
    """
    first, second, names = np.asarray(a), np.asarray(b), np.asarray(categories)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError("Two readers are compared on the same units: both lists of answers need the same length.")
    hits = [answers[:, None] == names for answers in (first, second)]
    for answers, hit in zip((first, second), hits, strict=True):
        if not hit.any(axis=1).all():
            raise ValueError(f"{answers[~hit.any(axis=1)][0]!r} is not one of the categories {names.tolist()}.")
    return hits[0].astype(np.int64).T @ hits[1].astype(np.int64)


def rating_counts(ratings: ArrayLike, categories: ArrayLike | None = None) -> NDArray[np.float64]:
    """How many raters put each unit into each category: (units, C).

    ratings: (units, raters) numbers, NaN where a rater did not see a unit. categories: the codes that were on offer,
    by default those in use. Raises ValueError at a code that is not among them.
    """
    values = np.asarray(ratings, dtype=float)
    if values.ndim != 2:
        raise ValueError("Ratings form a table of units × raters.")
    seen = np.unique(values[~np.isnan(values)])
    codes = seen if categories is None else np.asarray(categories, dtype=float)
    if not np.isin(seen, codes).all():
        raise ValueError(f"Ratings {np.setdiff1d(seen, codes).tolist()} are not among the categories.")
    return (values[:, :, None] == codes).sum(axis=1).astype(float)
