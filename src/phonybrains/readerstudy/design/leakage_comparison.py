"""Whether features tell phony from real beyond chance: the largest difference and small classifiers, by permutation.

Truth is shuffled within a modality between patients, not images, so that several images of a patient count once. The
features together, one by one, keep half the level by the distribution of their largest difference under shuffled truth
[Westfall & Young 1993, max T]; classifiers, learnt anew on every shuffle, the other half by that of their least p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from ...statistics.roc import auc_interval

SHUFFLES = 9999
ALL_FEATURES, CROPS = "a classifier on all of these together", "a classifier on crops of the rim"

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """One feature, real against phony: AUC above 0.5 where phony images have more of it; p over all comparisons."""

    feature: str
    modality: str
    arm: str
    auc: float
    low: float
    high: float
    p: float
    phony: int
    real: int


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features of the cases of one modality and one arm (or all) beside the controls.

    values: (features, cases). phony: truth of each case. units: whose image each case is, equal for those of a patient
    and truth. crops: (cases, pixels) without anatomy; no classifiers where there are none.
    """

    modality: str
    arm: str
    names: tuple[str, ...]
    values: Values
    phony: NDArray[np.bool_]
    units: NDArray[np.int64]
    crops: Values | None = None


@dataclass(frozen=True, slots=True)
class ByPatient:
    """A table by patient: (features, patients), centred and of length 1; truth alike; smoothers of the classifiers."""

    scores: Values
    truth: Values
    smoothers: dict[str, Values]


def compare(
    tables: Sequence[FeatureTable], rng: np.random.Generator, shuffles: int = SHUFFLES
) -> list[FeatureComparison]:
    """AUC, its interval and the adjusted p of every feature that is not the same for all, and of the classifiers."""
    found = []
    for table, name, values, p in adjusted_p(tables, rng, shuffles):
        sides = {"phony": int(table.phony.sum()), "real": int((~table.phony).sum())}
        auc = rounded_auc(values, table.phony)
        found.append(FeatureComparison(name, table.modality, table.arm, p=p, **auc, **sides))
    return found


def rounded_auc(values: Values, phony: NDArray[np.bool_]) -> dict[str, float]:
    """The AUC of values for telling phony from real, and its interval."""
    estimate = auc_interval(values, phony)
    return {name: round(getattr(estimate, of), 4) for name, of in (("auc", "value"), ("low", "low"), ("high", "high"))}


def adjusted_p(
    tables: Sequence[FeatureTable], rng: np.random.Generator, shuffles: int = SHUFFLES
) -> list[tuple[FeatureTable, str, Values, float]]:
    """The p of every feature and classifier, with its values, over all comparisons of all tables together."""
    every = [_by_unit(table) for table in tables]
    found, smallest = [], np.zeros(shuffles)
    fits: list[Values] = []  # (1 + shuffles,) of each classifier, as it is and then shuffled
    for one in every:
        drawn = rng.permuted(np.tile(one.truth, (shuffles, 1)), axis=1).T
        found.append(_log_p(np.abs(one.scores @ one.truth), len(one.truth)))
        if len(one.scores):
            smallest = np.minimum(smallest, _log_p(np.abs(one.scores @ drawn).max(axis=0), len(one.truth)))
        both = np.column_stack([one.truth, drawn])
        fits += [(both * _left_out(smoother, both)).sum(axis=0) for smoother in one.smoothers.values()]
    chances = [rankdata(-fit.round(9), method="max") / len(fit) for fit in fits]
    least = np.min(chances, axis=0) if chances else np.ones(1)
    rest = iter(chances)
    results = []
    for table, one, observed in zip(tables, every, found, strict=True):
        varied = (row for row in range(len(table.names)) if np.ptp(table.values[row]))
        for row, log_p in zip(varied, observed, strict=True):
            p = (1 + int((smallest <= log_p + 1e-9).sum())) / (1 + shuffles)
            results.append((table, table.names[row], table.values[row], min(1.0, 2 * p)))
        for name, smoother in one.smoothers.items():
            scores = _left_out(smoother, one.truth[:, None])[:, 0][table.units]
            results.append((table, name, scores, min(1.0, 2 * float((least <= next(rest)[0]).mean()))))
    return results


def _by_unit(table: FeatureTable) -> ByPatient:
    """Mean ranks of every feature that varies, by patient; what their classifiers make of truth is linear in it."""
    units = int(table.units.max()) + 1
    mean = np.zeros((len(table.units), units))
    mean[np.arange(len(table.units)), table.units] = 1
    mean /= mean.sum(axis=0)
    varied = table.values[np.ptp(table.values, axis=1) > 0]
    scores = rankdata(varied, axis=1) @ mean if len(varied) else np.zeros((0, units))
    scores = _standard(scores)
    truth = _standard((table.phony @ mean)[None])[0]
    smoothers = {}
    if table.crops is not None and len(scores) > 1:
        smoothers[ALL_FEATURES] = _smoother(scores.T @ scores)
    if table.crops is not None and np.ptp(table.crops, axis=0).any():
        crops = mean.T @ table.crops
        squares = (crops**2).sum(axis=1)
        distances = np.maximum(squares[:, None] + squares - 2 * crops @ crops.T, 0)
        smoothers[CROPS] = _smoother(np.exp(-distances / (np.median(distances) + 1e-9)))
    return ByPatient(scores, truth, smoothers)


def _standard(rows: Values) -> Values:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def _log_p(correlation: Values, n: int) -> Values:
    """Logarithm of a correlation's p by Student's t: one scale for tables of any number of patients."""
    inside = np.minimum(correlation, 1 - 1e-12)
    return t.logsf(inside * np.sqrt((n - 2) / (1 - inside**2)), n - 2) if n > 2 else np.zeros_like(correlation)


def _smoother(kernel: Values) -> Values:
    """The matrix that takes truth to the fit of kernel ridge regression, penalty the mean eigenvalue."""
    n = len(kernel)
    centre = np.eye(n) - 1 / n
    kernel = centre @ kernel @ centre
    return kernel @ np.linalg.inv(kernel + (np.trace(kernel) / n + 1e-12) * np.eye(n))


def _left_out(smoother: Values, truth: Values) -> Values:
    """What each patient's truth is predicted to be from the others', (patients, shuffles): one fit for all."""
    residual = truth - smoother @ truth
    return truth - residual / np.maximum(1 - np.diag(smoother)[:, None] - 1 / len(truth), 1e-9)
