"""Receiver operating characteristic: the empirical curve, its area and interval; signal detection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

from .estimate import Estimate, Interval, normal_quantile, t_estimate

Array = NDArray[np.float64]
Number = TypeVar("Number", float, Array)


@dataclass(frozen=True)
class RocCurve:
    """Points from (0, 0) to (1, 1), one for each threshold: a case is called positive if its score reaches it.

    thresholds fall from ∞; no two are equal, so that tied scores make one slanted step.
    """

    false_positive_rate: Array
    true_positive_rate: Array
    thresholds: Array


def roc_curve(scores: ArrayLike, truth: ArrayLike) -> RocCurve:
    """The empirical ROC curve of (cases,) scores, higher for positive; truth is True for positive cases.

    Raises ValueError without a positive and a negative case, or at a score that is not a number.
    """
    values, positive = _checked(scores, truth)
    if values.ndim != 1:
        raise ValueError("A ROC curve is drawn for one list of scores.")
    thresholds = np.unique(values)[::-1]

    def rate(group: Array) -> Array:
        return np.concatenate([[0], 1 - np.searchsorted(np.sort(group), thresholds) / len(group)])

    return RocCurve(rate(values[~positive]), rate(values[positive]), np.concatenate([[np.inf], thresholds]))


def auc(scores: ArrayLike, truth: ArrayLike) -> float:
    """P(a positive case scores above a negative one), ties counting half: the area under roc_curve.

    Arguments and errors as for roc_curve. [Bamber 1975; Hanley & McNeil 1982]
    """
    return float(placements(scores, truth)[0].mean())


def placements(scores: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """For each positive case the share of negatives it outscores, for each negative that of positives above it.

    scores: (..., cases); returns (..., positives) and (..., negatives), V₁₀ and V₀₁, whose means are both the AUC.
    By sorting, O(cases · log cases). [DeLong, DeLong & Clarke-Pearson 1988; as differences of mid-ranks, Sun & Xu 2014]
    """
    values, positive = _checked(scores, truth)
    rows, shape = values.reshape(-1, values.shape[-1]), values.shape[:-1]
    above_negatives = np.array([_share_below(row[positive], row[~positive]) for row in rows])
    below_positives = np.array([_share_below(-row[~positive], -row[positive]) for row in rows])
    return above_negatives.reshape(*shape, -1), below_positives.reshape(*shape, -1)


def _share_below(values: Array, others: Array) -> Array:
    """For each value the share of others below it, ties counting half."""
    others = np.sort(others)
    ranks = np.searchsorted(others, values, side="left") + np.searchsorted(others, values, side="right")
    return ranks / (2 * len(others))


def delong_covariance(scores: ArrayLike, truth: ArrayLike) -> Array:
    """Covariance, (k, k), of the AUCs of k lists of scores of the same cases, (k, cases).

    Raises ValueError with fewer than two positive or two negative cases. [DeLong, DeLong & Clarke-Pearson 1988]
    """
    v10, v01 = placements_of_two(scores, truth)
    return np.atleast_2d(np.cov(v10)) / v10.shape[1] + np.atleast_2d(np.cov(v01)) / v01.shape[1]


def placements_of_two(scores: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """The placements of (k, cases) scores, where there are two cases of either kind, which a variance needs."""
    found = placements(np.atleast_2d(np.asarray(scores, dtype=float)), truth)
    if min(v.shape[1] for v in found) < 2:
        raise ValueError("The variance of an AUC needs at least two positive and two negative cases.")
    return found


# --- One AUC ---------------------------------------------------------------------------------------------------------


def auc_interval(scores: ArrayLike, truth: ArrayLike, level: float = 0.95) -> Estimate:
    """The AUC with DeLong's interval on the logit scale; n is the number of cases.

    Where DeLong's variance is 0 (all positives above all negatives, all scores tied) or needs a second case of a kind,
    the interval is score_interval's, which keeps its width there. Arguments and errors as for roc_curve.
    [DeLong, DeLong & Clarke-Pearson 1988; logit: Pepe 2003, ch. 5]
    """
    values, positive = _checked(scores, truth)
    value, m, n = auc(values, positive), int(positive.sum()), int((~positive).sum())
    variance = float(delong_covariance(values, positive)[0, 0]) if min(m, n) > 1 else 0.0
    if variance < 1e-12 or value in (0, 1):
        return score_interval(value, m, n, level).about(value, m + n)
    error = math.sqrt(variance)
    half = normal_quantile(level) * error / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    return Estimate(value, float(low), float(high), m + n, error)


def hanley_mcneil_variance(area: Number, positives: int, negatives: int) -> Number:
    """The variance of an AUC of this true size, from its size alone.  [Newcombe 2006, method 5]

    It is Hanley & McNeil's for exponential scores with the two sample sizes evened out.
    """
    spread = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + ((positives + negatives) / 2 - 1) * spread) / (positives * negatives)


def score_interval(area: float, positives: int, negatives: int, level: float = 0.95) -> Interval:
    """All true areas from which the found one is no further than z standard errors; never without width.

    Raises ValueError unless 0 ≤ area ≤ 1 and there is a positive and a negative case. [Newcombe 2006, Statistics in
    Medicine 25:559, method 5: Hanley & McNeil's variance at the true area, as in Wilson's interval]
    """
    z = normal_quantile(level)
    if not 0 <= area <= 1 or min(positives, negatives) < 1:
        raise ValueError("An area between 0 and 1, a positive and a negative case are needed.")

    def limit(inside: float, outside: float) -> float:
        for _ in range(80):  # halves the distance each time, to below the last bit
            middle = (inside + outside) / 2
            error = math.sqrt(hanley_mcneil_variance(middle, positives, negatives))
            inside, outside = (middle, outside) if abs(area - middle) <= z * error else (inside, middle)
        return inside

    return Interval(limit(area, 0.0) if area > 0 else 0.0, limit(area, 1.0) if area < 1 else 1.0)


# --- Signal detection ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignalDetection:
    """Sensitivity d′ and criterion c; c > 0 is a reader slow to say positive."""

    d_prime: Estimate
    criterion: Estimate


def d_prime(
    hits: int,
    positives: int,
    false_alarms: int,
    negatives: int,
    level: float = 0.95,
    effective: tuple[float, float] | None = None,
) -> SignalDetection:
    """d′ = z(H) - z(F) and c = -(z(H) + z(F))/2, half an answer added to each kind so that both are finite.

    hits of positives, false_alarms of negatives were called positive; n counts both. effective: how many independent
    positives and negatives would tell as much, where cases share patients; by default all. Raises ValueError if there
    is no case of a kind. [Hautus 1995, log-linear rule; standard errors: Gourevitch & Galanter 1967]
    """
    if min(positives, negatives) < 1 or not 0 <= hits <= positives or not 0 <= false_alarms <= negatives:
        raise ValueError("d′ needs positive and negative cases, and no more answers than cases of each kind.")
    n, rates = positives + negatives, ((hits + 0.5) / (positives + 1), (false_alarms + 0.5) / (negatives + 1))
    hit, false_alarm = (float(ndtri(rate)) for rate in rates)
    sizes = [size + 1 for size in effective or (positives, negatives)]
    variance = sum(
        rate * (1 - rate) / size * 2 * math.pi * math.exp(z**2)
        for rate, z, size in zip(rates, (hit, false_alarm), sizes, strict=True)
    )
    error = math.sqrt(variance)
    return SignalDetection(
        t_estimate(hit - false_alarm, error, n, level), t_estimate(-(hit + false_alarm) / 2, error / 2, n, level)
    )


def _checked(scores: ArrayLike, truth: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    values, positive = np.asarray(scores, dtype=float), np.asarray(truth).astype(bool)
    if positive.ndim != 1 or values.shape[-1:] != positive.shape:
        raise ValueError("Every case needs a score and a truth.")
    if positive.all() or not positive.any():
        raise ValueError("ROC analysis needs at least one positive and one negative case.")
    if np.isnan(values).any():
        raise ValueError("A score is missing: ROC analysis needs one for every case.")
    return values, positive
