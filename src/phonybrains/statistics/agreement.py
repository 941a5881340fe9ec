"""Agreement between readers who sort units into categories: per cent, Cohen's κ, Gwet's AC1, Fleiss' κ."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .estimate import Estimate, t_estimate, t_p_value
from .proportions import wilson

__all__ = [
    "FleissKappa",
    "cohen_kappa",
    "confusion_table",
    "fleiss_kappa",
    "gwet_ac1",
    "percent_agreement",
    "rating_counts",
]


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


def percent_agreement(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Estimate:
    """The share of units, 0 to 1, to which two readers gave the same answer, with Wilson's interval.

    Raises ValueError if there is no unit or the lengths differ.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError("Two readers are compared on the same units: both lists of answers need the same length.")
    return wilson(int((first == second).sum()), len(first), level)


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


# --- Two raters ------------------------------------------------------------------------------------------------------


def cohen_kappa(
    table: ArrayLike, weights: Literal["linear", "quadratic"] | ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Cohen's κ of a (C, C) table of counts, with the standard error for κ ≠ 0; n is the number of units.

    weights: None counts exact agreement only; linear and quadratic give credit by distance, or a (C, C) table of
    agreement weights in 0..1. Where that error is 0, as without any disagreement, the interval is score_agreement's of
    unweighted κ. Raises ValueError if both raters used one and the same category: κ is then 0/0.
    [Cohen 1960, 1968; Fleiss, Cohen & Everitt 1969]
    """
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or counts.sum() == 0:
        raise ValueError("κ needs a square table of counts with at least one unit.")
    n, w = counts.sum(), _agreement_weights(weights, len(counts))
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, chance = (w * p).sum(), rows @ w @ columns
    if 1 - chance < 1e-12:
        raise ValueError("κ is not defined: both raters put every unit into the same category.")
    credit = (w @ columns)[:, None] + rows @ w
    moment = (p * (w * (1 - chance) - credit * (1 - observed)) ** 2).sum()
    variance = (moment - (observed * chance - 2 * chance + observed) ** 2) / (n * (1 - chance) ** 4)
    kappa = (observed - chance) / (1 - chance)
    if variance < 1e-12:
        from .score_agreement import score_agreement

        cells = np.repeat(np.indices(counts.shape).reshape(2, -1).T, np.rint(counts).astype(int).ravel(), axis=0)
        cautious = score_agreement(cells, "Cohen", np.arange(len(counts)), level=level, value=float(kappa))
        return replace(cautious, standard_error=0.0)
    return t_estimate(float(kappa), math.sqrt(variance), int(n), level, bounds=(-1, 1))


def _agreement_weights(weights: Any, size: int) -> NDArray[np.float64]:
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) / max(size - 1, 1)
    if weights is None:
        return np.eye(size)
    if isinstance(weights, str):
        if weights not in ("linear", "quadratic"):
            raise ValueError(f"Weights are linear, quadratic or a table, not {weights}.")
        return 1 - distance ** (1 if weights == "linear" else 2)
    table = np.asarray(weights, dtype=float)
    if table.shape != (size, size):
        raise ValueError(f"Weights for {size} categories form a {size} × {size} table.")
    return table


# --- Any number of raters --------------------------------------------------------------------------------------------


def gwet_ac1(ratings: ArrayLike, categories: ArrayLike | None = None, level: float = 0.95) -> Estimate:
    """Gwet's AC1, which stays near the observed agreement where one category is common; n is the number of units.

    ratings, categories: as for rating_counts; every category on offer counts, used or not. Units that nobody saw are
    left out; those seen once count towards chance only. The variance is divided by n for two raters without missing
    ratings and by n - 1 otherwise, as published; the interval is Student's with n - 1 degrees of freedom,
    or where that has no width, as without any disagreement, score_agreement's.
    Raises ValueError with fewer than two units or categories, or if no unit was seen twice.
    [Gwet 2008; with missing ratings Gwet 2014, Handbook of Inter-Rater Reliability]
    """
    counts = rating_counts(ratings, categories)
    counts = counts[counts.sum(axis=1) > 0]
    (n, size), raters = counts.shape, counts.sum(axis=1)
    twice = raters >= 2
    if n < 2 or size < 2 or not twice.any():
        raise ValueError("AC1 needs two categories and two units, one of which at least two raters saw.")
    pairs = np.where(twice, raters * (raters - 1), 1)
    agreement = np.where(twice, (counts * (counts - 1)).sum(axis=1) / pairs, 0)
    share = counts / raters[:, None]
    prevalence = share.mean(axis=0)
    observed, chance = agreement.sum() / twice.sum(), (prevalence * (1 - prevalence)).sum() / (size - 1)
    ac1 = (observed - chance) / (1 - chance)
    unit = np.where(twice, n / twice.sum() * (agreement - chance) / (1 - chance), 0)
    unit_chance = (share * (1 - prevalence)).sum(axis=1) / (size - 1)
    unit = unit - 2 * (1 - ac1) * (unit_chance - chance) / (1 - chance)
    complete_pairs = np.shape(ratings)[1] == 2 and bool(twice.all())
    error = math.sqrt(((unit - ac1) ** 2).sum() / (n * (n if complete_pairs else n - 1)))
    if error < 1e-9:
        from .score_agreement import score_agreement

        codes = np.arange(size) if categories is None else categories
        cautious = score_agreement(_as_ratings(counts, codes), "AC1", codes, level=level, value=float(ac1))
        return replace(cautious, standard_error=0.0)
    return t_estimate(float(ac1), error, n, level, df=n - 1, bounds=(-1, 1))


def _as_ratings(counts: NDArray[np.float64], codes: ArrayLike) -> NDArray[np.float64]:
    """Ratings, (units, raters), with these counts: NaN where a unit has fewer raters than another."""
    table = np.full((len(counts), int(counts.sum(axis=1).max())), np.nan)
    for row, count in zip(table, counts.astype(int), strict=True):
        row[: count.sum()] = np.repeat(np.asarray(codes, dtype=float), count)
    return table


@dataclass(frozen=True)
class FleissKappa:
    """Fleiss' κ, its standard error were κ 0, z and two-sided p; κ, standard error and z of each category.

    A category that was used never, or always, has κ and z of NaN: it offers nothing to agree on.
    """

    value: float
    standard_error_null: float
    z: float
    p_value: float
    by_category: NDArray[np.float64]
    by_category_standard_error_null: float
    by_category_z: NDArray[np.float64]


def fleiss_kappa(counts: ArrayLike) -> FleissKappa:
    """Agreement of r raters, the same number for each of n units but not necessarily the same persons.

    counts: (units, C), as rating_counts gives. Raises ValueError if the number of raters varies or is below two, or
    if all ratings are one category. [Fleiss 1971; standard errors: Fleiss, Nee & Landis 1979]
    """
    x = np.asarray(counts, dtype=float)
    if x.ndim != 2 or x.size == 0 or len(set(x.sum(axis=1))) > 1 or x[0].sum() < 2:
        raise ValueError("Fleiss' κ needs the same number of raters, at least two, for every unit.")
    units, raters = len(x), x[0].sum()
    p = x.mean(axis=0) / raters
    q = 1 - p
    spread = (p * q).sum()
    if spread < 1e-12:
        raise ValueError("Fleiss' κ is not defined: every rating is the same category.")
    disagreement, pairs = (x * (raters - x)).sum(axis=0), units * raters * (raters - 1)
    kappa = float(1 - disagreement.sum() / (pairs * spread))
    error = float(math.sqrt(2 / pairs * (spread**2 - (p * q * (q - p)).sum())) / spread)
    each = 1 - np.divide(disagreement, pairs * p * q, out=np.full(len(p), np.nan), where=p * q > 1e-12)
    each_error = math.sqrt(2 / pairs)
    z = kappa / error
    return FleissKappa(kappa, error, z, t_p_value(z), each, each_error, each / each_error)
