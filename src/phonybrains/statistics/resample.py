"""The bootstrap, over cases and over readers and cases, for any statistic; Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from .estimate import Estimate, Interval, normal_quantile

__all__ = ["bca_interval", "bootstrap_cases", "bootstrap_readers_and_cases", "holm", "percentile_interval"]

Indices = NDArray[np.intp]


def bootstrap_cases(
    statistic: Callable[[Indices], float],
    cases: int,
    rng: Generator,
    *,
    strata: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    draws: int = 2000,
    level: float = 0.95,
    bca: bool = True,
) -> Estimate:
    """statistic with an interval from drawing the cases again with replacement; n is the number of cases.

    statistic(indices): called with (cases,) indices into whatever it looks at, so that all that belongs to a case
    stays paired. strata: (cases,) labels, such as the truth; each stratum keeps its size. patients: (cases,) labels;
    patients are drawn, with all their cases of a stratum. A draw in which statistic is
    NaN is left out. Raises ValueError without cases, or if statistic is NaN for the data or for one draw in twenty.
    [Efron & Tibshirani 1993, ch. 13 and 14]
    """
    if cases < 1 or draws < 1:
        raise ValueError("The bootstrap needs at least one case and one draw.")
    groups = _patients_by_stratum(cases, strata, patients)
    value = _defined(statistic(np.arange(cases)))
    found = [statistic(_draw(groups, rng)) for _ in range(draws)]
    drawn = _kept(found)
    if bca and cases > 1:
        each = [patient for group in groups for patient in group]
        without_one = np.array([statistic(np.delete(np.arange(cases), patient)) for patient in each])
        limits = bca_interval(value, drawn, without_one[~np.isnan(without_one)], level)
    else:
        limits = percentile_interval(drawn, level)
    return Estimate(value, limits.low, limits.high, cases, _spread(drawn))


def bootstrap_readers_and_cases(
    statistic: Callable[[Indices, Indices], float],
    readers: int,
    cases: int,
    rng: Generator,
    *,
    strata: ArrayLike | None = None,
    patients: ArrayLike | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """statistic(reader_indices, case_indices) with a percentile interval from drawing both again, independently.

    As bootstrap_cases otherwise. With few readers (below about five) the interval is too narrow: so few draws differ.
    """
    if readers < 1 or cases < 1 or draws < 1:
        raise ValueError("The bootstrap needs at least one reader, one case and one draw.")
    groups = _patients_by_stratum(cases, strata, patients)
    value = _defined(statistic(np.arange(readers), np.arange(cases)))
    found = [statistic(rng.integers(readers, size=readers), _draw(groups, rng)) for _ in range(draws)]
    drawn = _kept(found)
    limits = percentile_interval(drawn, level)
    return Estimate(value, limits.low, limits.high, cases, _spread(drawn))


def _patients_by_stratum(cases: int, strata: ArrayLike | None, patients: ArrayLike | None) -> list[list[Indices]]:
    """The cases of each patient, for each stratum; without patients each case is its own."""
    labels = np.zeros(cases) if strata is None else np.asarray(strata)
    names = np.arange(cases) if patients is None else np.asarray(patients)
    if labels.shape != (cases,) or names.shape != (cases,):
        raise ValueError(f"{cases} cases need as many strata and patients.")
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [[group[names[group] == name] for name in np.unique(names[group])] for group in groups]


def _draw(groups: list[list[Indices]], rng: Generator) -> Indices:
    drawn = [[group[i] for i in rng.integers(len(group), size=len(group))] for group in groups]
    return np.concatenate([cases for group in drawn for cases in group])


def percentile_interval(drawn: ArrayLike, level: float = 0.95) -> Interval:
    """The middle of the bootstrap distribution.  [Efron & Tibshirani 1993, eq. 13.5]"""
    normal_quantile(level)
    low, high = np.quantile(np.asarray(drawn, dtype=float), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bca_interval(value: float, drawn: ArrayLike, without_one: ArrayLike, level: float = 0.95) -> Interval:
    """The bootstrap interval corrected for bias and skewness.  [Efron 1987; Efron & Tibshirani 1993, eq. 14.9-14.15]

    without_one: the statistic without each case in turn. Draws equal to value count half. Where value lies outside all
    draws the correction is not finite, and the percentile interval is given.
    """
    draws, jackknife = np.asarray(drawn, dtype=float), np.asarray(without_one, dtype=float)
    bias = float(ndtri(((draws < value).mean() + (draws <= value).mean()) / 2))
    if not math.isfinite(bias):
        return percentile_interval(draws, level)
    deviation = jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)
    squares = (deviation**2).sum()
    acceleration = (deviation**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    z = bias + np.array([-1, 1]) * normal_quantile(level)
    low, high = np.quantile(draws, ndtr(bias + z / (1 - acceleration * z)))
    return Interval(float(low), float(high))


def _defined(value: float) -> float:
    if math.isnan(value):
        raise ValueError("The statistic is not defined for these data, so there is nothing to draw again.")
    return float(value)


def _kept(found: list[float]) -> NDArray[np.float64]:
    values = np.array(found, dtype=float)
    kept = values[~np.isnan(values)]
    if len(kept) <= 0.95 * len(values):
        raise ValueError(f"The statistic is not defined in {len(values) - len(kept)} of {len(values)} bootstrap draws.")
    return kept


def _spread(drawn: NDArray[np.float64]) -> float:
    return float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p values adjusted for their number: those at most alpha keep the chance of any false rejection below alpha.

    p_values: (k,) in any order, 0 to 1. Raises ValueError outside. [Holm 1979]
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("Holm's correction takes a list of p values between 0 and 1.")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
