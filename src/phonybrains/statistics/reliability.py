"""What raters said, as counts; their agreement on numbers, and on anything with ratings missing: α, ICC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri

from .estimate import Estimate, normal_quantile

Metric = Literal["nominal", "ordinal", "interval", "ratio"]
Array = NDArray[np.float64]


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


# --- Krippendorff's α ------------------------------------------------------------------------------------------------


def krippendorff_alpha(ratings: ArrayLike, metric: Metric = "nominal") -> float:
    """Krippendorff's α: 1 is agreement, 0 what chance gives; any number of raters, missing ratings allowed.

    ratings: (units, raters) numbers, NaN where missing; units rated fewer than twice are left out. Raises ValueError
    if nothing is left or all ratings are equal (α is then 0/0), or at a negative rating with the ratio metric.
    [Krippendorff 2011, Computing Krippendorff's alpha-reliability]
    """
    values = np.asarray(ratings, dtype=float)
    counts, codes = rating_counts(values), np.unique(values[~np.isnan(values)])
    raters = counts.sum(axis=1)
    counts, raters = counts[raters >= 2], raters[raters >= 2]
    per_pair = counts / (raters - 1)[:, None]
    coincidence = per_pair.T @ counts - np.diag(per_pair.sum(axis=0))
    margins = coincidence.sum(axis=1)
    distance = _distance(codes, margins, metric)
    expected = margins @ distance @ margins
    if expected <= 0:
        raise ValueError("α is not defined: it needs units that were rated twice, with two different ratings.")
    return float(1 - (coincidence * distance).sum() * (margins.sum() - 1) / expected)


def _distance(codes: Array, margins: Array, metric: Metric) -> Array:
    """δ²(c, k) of every two codes."""
    if metric == "nominal":
        return 1 - np.eye(len(codes))
    if metric == "ordinal":  # the ratings between two codes, of the codes themselves half: a distance of mid-ranks
        ranks = np.cumsum(margins) - margins / 2
        return np.subtract.outer(ranks, ranks) ** 2
    difference = np.subtract.outer(codes, codes) ** 2
    if metric == "interval":
        return difference
    if metric != "ratio":
        raise ValueError(f"The metric is nominal, ordinal, interval or ratio, not {metric}.")
    if (codes < 0).any():
        raise ValueError("The ratio metric needs ratings of zero or more.")
    total = np.add.outer(codes, codes) ** 2
    return np.divide(difference, total, out=np.zeros_like(total), where=total > 0)


# --- Intraclass correlation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IntraclassCorrelation:
    """The six forms of Shrout & Fleiss: ICC(model, 1) of one rater, ICC(model, k) of the mean of all k.

    Model 1: each unit has its own raters. 2: a sample of raters rates all units. 3: these raters are all there are.
    """

    icc_1_1: Estimate
    icc_2_1: Estimate
    icc_3_1: Estimate
    icc_1_k: Estimate
    icc_2_k: Estimate
    icc_3_k: Estimate


def icc(ratings: ArrayLike, level: float = 0.95) -> IntraclassCorrelation:
    """Intraclass correlations of (units, raters) numbers, none missing, with intervals from F; n is the units.

    Raises ValueError with fewer than two units or raters, with missing ratings, if nothing varies within units, or if
    the units have one and the same mean: the ratio of variances is then 0/0 or without bound.
    [Shrout & Fleiss 1979]
    """
    x = np.asarray(ratings, dtype=float)
    if x.ndim != 2 or min(x.shape) < 2 or np.isnan(x).any():
        raise ValueError("Intraclass correlation needs two units, two raters and no missing rating.")
    (n, k), mean, tail = x.shape, x.mean(), (1 - level) / 2
    normal_quantile(level)
    between = float(k * ((x.mean(axis=1) - mean) ** 2).sum() / (n - 1))
    raters = float(n * ((x.mean(axis=0) - mean) ** 2).sum() / (k - 1))
    residual_sum = float(((x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + mean) ** 2).sum())
    residual, df = residual_sum / ((n - 1) * (k - 1)), (n - 1) * (k - 1)
    within = (residual_sum + raters * (k - 1)) / (n * (k - 1))
    if between <= 1e-12 * max(residual, raters):
        raise ValueError("Intraclass correlation needs units that differ: here all have the same mean.")
    if residual <= 1e-12 * max(between, raters):
        raise ValueError("Intraclass correlation needs raters who differ: here nothing varies beyond unit and rater.")

    def from_f(f: float) -> float:
        return (f - 1) / (f + k - 1)

    def one_way(ms: float, df_ms: float) -> Estimate:
        f = between / ms
        low, high = f / fdtri(n - 1, df_ms, 1 - tail), f * fdtri(df_ms, n - 1, 1 - tail)
        return Estimate(from_f(f), float(from_f(low)), float(from_f(high)), n)

    def stepped_up(r: float) -> float:  # Spearman-Brown
        return k * r / (1 + (k - 1) * r)

    singles = (one_way(within, n * (k - 1)), _icc_2_1(n, k, between, raters, residual, tail), one_way(residual, df))
    return IntraclassCorrelation(*singles, *(one.mapped(stepped_up) for one in singles))


def _icc_2_1(n: int, k: int, between: float, raters: float, residual: float, tail: float) -> Estimate:
    """ICC(2, 1), whose interval needs Satterthwaite's degrees of freedom.  [Shrout & Fleiss 1979]"""
    value = (between - residual) / (between + (k - 1) * residual + k * (raters - residual) / n)
    f = raters / residual
    rest = n * (1 + (k - 1) * value) - k * value
    df = (k - 1) * (n - 1) * (k * value * f + rest) ** 2 / ((n - 1) * (k * value * f) ** 2 + rest**2)
    above, below = float(fdtri(n - 1, df, 1 - tail)), float(fdtri(df, n - 1, 1 - tail))
    spread = k * raters + (k * n - k - n) * residual
    low = n * (between - above * residual) / (above * spread + n * between)
    high = n * (below * between - residual) / (spread + n * below * between)
    return Estimate(value, low, high, n)
