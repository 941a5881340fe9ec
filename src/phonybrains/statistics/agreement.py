"""Agreement between readers who sort units into categories: Cohen's κ, Gwet's AC1, Fleiss' κ."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .estimate import Estimate, t_estimate, t_p_value
from .reliability import rating_counts
from .score_agreement import score_agreement

# --- Two raters ------------------------------------------------------------------------------------------------------


def cohen_kappa(table: ArrayLike, level: float = 0.95) -> Estimate:
    """Cohen's κ of a (C, C) table of counts, with the standard error for κ ≠ 0; n is the number of units.

    Where that error is 0, as without any disagreement, the interval is score_agreement's. Raises ValueError if both
    raters used one and the same category: κ is then 0/0. [Cohen 1960; Fleiss, Cohen & Everitt 1969]
    """
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any() or counts.sum() == 0:
        raise ValueError("κ needs a square table of counts with at least one unit.")
    n, same = counts.sum(), np.eye(len(counts))
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, chance = (same * p).sum(), rows @ columns
    if 1 - chance < 1e-12:
        raise ValueError("κ is not defined: both raters put every unit into the same category.")
    moment = (p * (same * (1 - chance) - (columns[:, None] + rows) * (1 - observed)) ** 2).sum()
    variance = (moment - (observed * chance - 2 * chance + observed) ** 2) / (n * (1 - chance) ** 4)
    kappa = (observed - chance) / (1 - chance)
    if variance < 1e-12:
        cells = np.repeat(np.indices(counts.shape).reshape(2, -1).T, np.rint(counts).astype(int).ravel(), axis=0)
        cautious = score_agreement(cells, "Cohen", np.arange(len(counts)), level=level, value=float(kappa))
        return replace(cautious, standard_error=0.0)
    return t_estimate(float(kappa), math.sqrt(variance), int(n), level, bounds=(-1, 1))


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
    """Fleiss' κ, its standard error were κ 0, z and two-sided p; κ, and its standard error were it 0, of each category.

    A category that was used never, or always, has a κ of NaN: it offers nothing to agree on.
    """

    value: float
    standard_error_null: float
    z: float
    p_value: float
    by_category: NDArray[np.float64]
    by_category_standard_error_null: float


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
    z = kappa / error
    return FleissKappa(kappa, error, z, t_p_value(z), each, math.sqrt(2 / pairs))
