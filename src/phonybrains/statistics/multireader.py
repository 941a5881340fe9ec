"""A figure of several readers, for these readers and for readers in general, where not every reader read every case.

Tables are (R, C), readers × cases, NaN where a reader did not answer. Cases of one patient are kept together: patients,
not images, are what was drawn at random. Where every reader answered all, and each case is its own patient, values,
standard errors and degrees of freedom are those of Obuchowski & Rockette's analysis with DeLong's covariances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from .estimate import Estimate, Interval, normal_quantile, square_and_add, t_estimate, t_p_value, t_quantile
from .mrmc import NOTHING, Contrast
from .proportions import score_limits
from .roc import placements, score_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """A figure of each reader, its weight in the mean, and how far each patient moves it.

    values, weights: (R,); a reader who has no figure has weight 0. parts: for each kind of case (phony, real) the
    influence of its patients, (R, P), scaled so that influence @ influence.T is the covariance of the figures.
    seen: (C,), the cases that count for anyone. scale: how an interval is reckoned: score (a share), logit (an area),
    plain (a difference). cautious: the interval at a level where no variance is seen.
    """

    values: Array
    weights: Array
    parts: tuple[Array, ...]
    seen: NDArray[np.bool_]
    scale: str
    cautious: Callable[[float], Interval]

    @property
    def n(self) -> int:
        """How many cases count."""
        return int(self.seen.sum())

    @property
    def mean(self) -> float:
        """The weighted mean over the readers."""
        return float(self.weights @ self.values)

    @property
    def covariance(self) -> Array:
        """Covariance (R, R) of the readers' figures through the patients."""
        influence = np.sum(self.parts, axis=0)
        return influence @ influence.T

    @property
    def readers(self) -> int:
        """How many readers have a figure."""
        return int((self.weights > 0).sum())


def patient_numbers(patients: ArrayLike | None, cases: int) -> NDArray[np.intp]:
    """A number for each case's patient, from 0; without patients each case is its own."""
    if patients is None:
        return np.arange(cases)
    names = np.asarray(patients)
    if names.shape != (cases,):
        raise ValueError(f"{cases} cases need as many patients, not {names.shape}.")
    return np.unique(names, return_inverse=True)[1]


# --- Figures ---------------------------------------------------------------------------------------------------------


def shares(outcomes: ArrayLike, patients: ArrayLike | None = None) -> Figures:
    """The share of outcomes that are 1, of each reader; a reader weighs as many as his or her answers.

    outcomes: (R, C) of 0, 1 and NaN; patients: (C,). Raises ValueError if there is no answer.
    [a ratio over patients: Cochran 1977, Sampling Techniques, eq. 6.13]
    """
    table = np.atleast_2d(np.asarray(outcomes, dtype=float))
    answered = ~np.isnan(table)
    if not answered.any():
        raise ValueError("A share needs at least one answer.")
    numbers = patient_numbers(patients, table.shape[1])
    counts = answered.sum(axis=1)
    values = np.nansum(table, axis=1) / np.maximum(counts, 1)
    deviation = np.where(answered, table - values[:, None], 0.0) / np.maximum(counts, 1)[:, None]
    weights = counts / counts.sum()
    seen = np.asarray(answered.any(axis=0))
    groups = len(np.unique(numbers[seen]))

    def cautious(level: float) -> Interval:
        return score_limits(float(weights @ values), groups, level)

    influence = _by_patient(deviation, answered, numbers)
    return Figures(values, weights, (influence,), seen, "score", cautious)


def areas(scores: ArrayLike, truth: ArrayLike, patients: ArrayLike | None = None) -> Figures:
    """The area under the ROC curve of each reader; a reader weighs as many as the pairs he or she compared.

    scores: (R, C), NaN where missing; truth: (C,), True for positive; patients: (C,). With calls (0 real, 1 phony, ½
    unclear) for scores it is balanced accuracy. The mean is the U-statistic over all pairs that a reader compared.
    Raises ValueError if no reader answered a case of either kind.
    [pairs as weights: Gallas & Brown 2008, Neural Networks 21:387; patients: Obuchowski 1997, Biometrics 53:567]
    """
    table, positive = np.atleast_2d(np.asarray(scores, dtype=float)), np.asarray(truth).astype(bool)
    if positive.shape != table.shape[1:]:
        raise ValueError("Every case needs a truth.")
    numbers, answered = patient_numbers(patients, table.shape[1]), ~np.isnan(table)
    kinds = (answered & positive, answered & ~positive)
    pairs = np.prod([kind.sum(axis=1) for kind in kinds], axis=0).astype(float)
    if not pairs.any():
        raise ValueError("No reader answered a positive and a negative case: there is no area under a curve.")
    values, deviation = np.zeros(len(table)), np.zeros_like(table)
    for reader in np.flatnonzero(pairs):
        own = answered[reader]
        above, below = placements(table[reader, own], positive[own])
        values[reader] = above.mean()
        deviation[reader, kinds[0][reader]] = (above - above.mean()) / len(above)
        deviation[reader, kinds[1][reader]] = (below - below.mean()) / len(below)
    weights, used = pairs / pairs.sum(), np.asarray(answered[pairs > 0].any(axis=0))
    groups = [len(np.unique(numbers[used & kind])) for kind in (positive, ~positive)]

    def cautious(level: float) -> Interval:
        return score_interval(min(float(weights @ values), 1.0), groups[0], groups[1], level)

    known = min(groups) > 1  # of one patient no variance is seen
    parts = tuple(_by_patient(np.where(kind & known, deviation, 0.0), kind, numbers) for kind in kinds)
    return Figures(values, weights, parts, used, "logit", cautious)


def difference(first: Figures, second: Figures) -> Figures:
    """The first figure less the second, reader by reader, from tables with the same readers, cases and patients.

    What is not of an arm is NaN in its table. Raises ValueError if no reader has both.
    """
    both = first.weights * second.weights
    if not both.any():
        raise ValueError("No reader has both figures, so that there is no difference.")
    weights = np.divide(both, first.weights + second.weights, out=np.zeros_like(both), where=both > 0)
    own = (first.parts[0], -second.parts[0])
    common = tuple(a - b for a, b in zip(first.parts[1:], second.parts[1:], strict=True))

    def cautious(level: float) -> Interval:
        one, other = (side.cautious(level).about(side.mean, side.n) for side in (first, second))
        return square_and_add(one, other)

    values = first.values - second.values
    return Figures(values, weights / weights.sum(), own + common, first.seen | second.seen, "plain", cautious)


def _by_patient(deviation: Array, answered: NDArray[np.bool_], numbers: NDArray[np.intp]) -> Array:
    """Sum deviations over each patient's cases: (R, P), times √(k/(k-1)) for the k patients a reader saw."""
    patients = int(numbers.max()) + 1
    member = np.eye(patients)[numbers]
    seen = ((answered @ member) > 0).sum(axis=1)
    return deviation @ member * np.sqrt(seen / np.maximum(seen - 1, 1))[:, None]


# --- Inference -------------------------------------------------------------------------------------------------------


def these_readers(figures: Figures, level: float = 0.95, chance: float | None = None) -> Contrast:
    """The mean over these readers, for cases like these; t has as many degrees of freedom as patients allow.

    chance: what is tested; None is 0 for a difference, else ½.
    [degrees of freedom: Satterthwaite 1946, over kinds of cases]
    """
    each = [figures.weights @ part for part in figures.parts]
    seen = [max(int((part != 0).any(axis=0).sum()), 2) for part in figures.parts]
    variance = float((np.sum(each, axis=0) ** 2).sum())
    spread = sum(float((one**2).sum()) ** 2 / (k - 1) for one, k in zip(each, seen, strict=True))
    df = sum(float((one**2).sum()) for one in each) ** 2 / spread if spread > 0 else math.inf
    return _contrast(figures, variance, df, level, chance)


def in_general(figures: Figures, level: float = 0.95, chance: float | None = None) -> Contrast | None:
    """The mean over readers like these and cases like these; None with fewer than three readers who have a figure.

    Weighted means of readers who differ: the variance between them by moments, what they share through the patients
    not below 0. [Obuchowski & Rockette 1995; degrees of freedom: Hillis 2014; unequal weights: Cochran 1954 for the
    moments, Satterthwaite 1946 for their degrees of freedom]
    """
    if figures.readers < 3:
        return None
    w, covariance = figures.weights, figures.covariance
    square = float((w**2).sum())
    scatter = float(w @ (figures.values - figures.mean) ** 2)
    between = square / (1 - square) * scatter
    whole = float(w @ covariance @ w)
    shared = max(whole - square / (1 - square) * (float(w @ np.diag(covariance)) - whole), 0.0)
    free = (1 - square) ** 2 / (square - 2 * float((w**3).sum()) + square**2)
    df = free * ((between + shared) / between) ** 2 if between > NOTHING else math.inf
    return _contrast(figures, between + shared, df, level, chance)


def _contrast(figures: Figures, variance: float, df: float, level: float, chance: float | None) -> Contrast:
    value, error = figures.mean, math.sqrt(variance)
    null = (0.0 if figures.scale == "plain" else 0.5) if chance is None else chance
    if variance <= NOTHING or (figures.scale != "plain" and not 1e-12 < value < 1 - 1e-12):
        return _without_variance(figures, level, null)
    if figures.scale == "plain":
        estimate, t = t_estimate(value, error, figures.n, level, df, (-1, 1)), (value - null) / error
    elif figures.scale == "score":
        effective = value * (1 - value) / variance
        shorter = (normal_quantile(level) / t_quantile(level, df)) ** 2
        estimate = score_limits(value, effective * shorter, level).about(value, figures.n, error)
        t = (value - null) / math.sqrt(null * (1 - null) / effective)
    else:
        on_logit = error / (value * (1 - value))
        limits = t_estimate(float(logit(value)), on_logit, figures.n, level, df)
        estimate = Estimate(value, float(expit(limits.low)), float(expit(limits.high)), figures.n, error)
        t = float(logit(value) - logit(null)) / on_logit
    return Contrast(estimate, t, df, t_p_value(t, df))


def _without_variance(figures: Figures, level: float, null: float) -> Contrast:
    """No patient moves the mean: the cautious interval; p by the error that its half nearer to the null tells."""
    value, limits = figures.mean, figures.cautious(level)
    reach = value - limits.low if value > null else limits.high - value
    t = (value - null) / reach * normal_quantile(level) if value != null else 0.0
    return Contrast(limits.about(value, figures.n), t, math.inf, t_p_value(t))
