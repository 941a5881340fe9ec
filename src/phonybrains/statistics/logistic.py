"""Logistic regressions of right answers: on the position in the reading, and with effects of readers and of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from .estimate import Estimate, t_estimate, t_p_value

Array = NDArray[np.float64]
ROUNDING = 1e-10
"""A fall of the log likelihood that may be rounding: halving steps for it would end the search short of its goal."""


@dataclass(frozen=True)
class Trend:
    """Change of the log odds of a correct answer over ten cases (above 0: learning), and its two-sided p."""

    slope_per_10: Estimate
    p_value: float


def trend(correct: ArrayLike, position: ArrayLike, level: float = 0.95, patients: ArrayLike | None = None) -> Trend:
    """Logistic regression of correct answers on the position in the reading, with Wald's interval; n is the reads.

    correct: (reads,) booleans; position: (reads,) numbers, 1 for the first case; patients: (reads,) labels. Where a
    patient has several reads the error is summed over patients, and t has a degree of freedom less than patients
    [Liang & Zeger 1986]. Raises ValueError with fewer than
    three reads, with one position only, or where a position parts all right from all wrong answers, all right among
    them: the slope is then not finite. [McCullagh & Nelder 1989, ch. 2 and 4]
    """
    right, x = np.asarray(correct, dtype=float), np.asarray(position, dtype=float) / 10
    if right.ndim != 1 or right.shape != x.shape or len(x) < 3 or np.ptp(x) == 0:
        raise ValueError("A trend needs three reads at more than one position.")
    if _separated(x[right == 1], x[right == 0]):
        raise ValueError("The trend has no finite slope: the position alone tells right from wrong answers.")
    centre = x.mean()
    design = np.stack([np.ones_like(x), (x - centre) / x.std()], axis=1)
    information, coefficients = _fit(design, right)
    covariance, df = np.linalg.inv(information), math.inf
    names, numbers = np.unique(np.arange(len(x)) if patients is None else np.asarray(patients), return_inverse=True)
    if 1 < len(names) < len(x):
        scores = design * (right - expit(design @ coefficients))[:, None]
        by_patient = np.stack([np.bincount(numbers, column) for column in scores.T])
        df = len(names) - 1
        covariance = covariance @ (len(names) / df * by_patient @ by_patient.T) @ covariance
    error = float(np.sqrt(covariance[1, 1]) / x.std())
    slope = float(coefficients[1] / x.std())
    return Trend(t_estimate(slope, error, len(x), level, df), t_p_value(slope / error, df))


def _separated(right: Array, wrong: Array) -> bool:
    if not len(right) or not len(wrong):
        return True
    return bool(right.min() >= wrong.max() or right.max() <= wrong.min())


def _fit(x: Array, y: Array) -> tuple[Array, Array]:
    """Newton's method for the logistic likelihood, steps halved where it would fall: information and coefficients."""

    def likelihood(b: Array) -> float:
        return float(y @ (x @ b) - np.logaddexp(0, x @ b).sum())

    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = expit(x @ beta)
        information = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.solve(information, x.T @ (y - p))
        while likelihood(beta + step) < likelihood(beta) - ROUNDING and np.abs(step).max() > 1e-10:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() <= 1e-10:
            return information, beta
    raise ValueError("The trend has no finite slope: the position all but tells right from wrong answers.")


# --- Crossed random effects of readers and cases ---------------------------------------------------------------------


@dataclass(frozen=True)
class MixedLogistic:
    """The log odds of a right answer of a typical reader to a typical case, the mean of both kinds of cases, with
    Wald's interval and two-sided p that they are even; standard deviations of the log odds over readers and cases."""

    log_odds: Estimate
    p_value: float
    reader_sd: float
    case_sd: float


def mixed_logistic(
    correct: ArrayLike, readers: ArrayLike, cases: ArrayLike, truth: ArrayLike, level: float = 0.95
) -> MixedLogistic:
    """Fit logit P(right) = mean ± half the difference of both kinds of cases + reader + case, by Laplace's method.

    correct, readers, cases, truth: (reads,), of any answers that were given. Cases, or patients in their place, and
    readers count as drawn at random. n is the reads. Raises ValueError if the answers to cases of a kind are all right
    or all wrong, or with one kind of case only. [Breslow & Clayton 1993; Bates et al. 2015, lme4]
    """
    right, kind = np.asarray(correct, dtype=float), np.asarray(truth).astype(bool)
    if {0.0, 1.0} - set(right[kind]) or {0.0, 1.0} - set(right[~kind]):
        raise ValueError("A mixed logistic regression needs right and wrong answers to both kinds of cases.")
    reader, case = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (readers, cases))
    design = np.stack([np.ones(len(right)), kind - 0.5], axis=1)
    effects = np.zeros(reader.max() + case.max() + 2)

    def loss(parameters: Array) -> float:
        nonlocal effects
        value, effects, _ = laplace_likelihood(right, design, reader, case, parameters, effects)
        return -value

    start = np.array([0.0, 0.0, 0.5, 0.5])
    bounds = [(-15, 15), (-15, 15), (0, 8), (0, 8)]
    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-10})
    _, _, information = laplace_likelihood(right, design, reader, case, best.x, effects)
    error = math.sqrt(np.linalg.inv(information)[0, 0])
    estimate = t_estimate(float(best.x[0]), error, len(right), level)
    return MixedLogistic(estimate, t_p_value(estimate.value / error), float(best.x[2]), float(best.x[3]))


def laplace_likelihood(
    right: Array, design: Array, reader: NDArray[np.intp], case: NDArray[np.intp], parameters: Array, start: Array
) -> tuple[float, Array, Array]:
    """Laplace's approximation of the log likelihood; the effects' mode, and the information of the fixed effects.

    design: (reads, k); reader, case: (reads,) numbers; parameters: k coefficients, then the standard deviations of
    readers and of cases; start: the standardised effects of readers and cases to begin Newton's method from.
    """
    fixed, (reader_sd, case_sd) = parameters[:-2], parameters[-2:]
    readers, cases = int(reader.max()) + 1, int(case.max()) + 1
    pair = reader * cases + case

    def fitted(effects: Array) -> Array:
        return design @ fixed + reader_sd * effects[reader] + case_sd * effects[readers + case]

    def joint(effects: Array) -> float:
        eta = fitted(effects)
        return float(right @ eta - np.logaddexp(0, eta).sum() - effects @ effects / 2)

    def gather(values: Array) -> Array:
        """Sums over each reader's and each case's reads, as the standardised effects see them."""
        of_readers, of_cases = np.bincount(reader, values, readers), np.bincount(case, values, cases)
        return np.concatenate([reader_sd * of_readers, case_sd * of_cases])

    def hessian(weight: Array) -> _Hessian:
        own = 1 + gather(weight) * np.repeat([reader_sd, case_sd], [readers, cases])
        both = reader_sd * case_sd * np.bincount(pair, weight, readers * cases).reshape(readers, cases)
        return _Hessian(own[readers:], both, np.diag(own[:readers]) - both / own[readers:] @ both.T)

    effects = start
    for _ in range(100):
        p = expit(fitted(effects))
        step = hessian(p * (1 - p)).solve(gather(right - p) - effects)
        while joint(effects + step) < joint(effects) - 1e-10 and np.abs(step).max() > 1e-9:
            step = step / 2
        effects = effects + step
        if np.abs(step).max() < 1e-9:
            break
    p = expit(fitted(effects))
    weighted, curved = design * (p * (1 - p))[:, None], hessian(p * (1 - p))
    across = np.stack([gather(column) for column in weighted.T], axis=1)
    solved = np.stack([curved.solve(column) for column in across.T], axis=1)
    return joint(effects) - curved.log_determinant / 2, effects, design.T @ weighted - across.T @ solved


@dataclass(frozen=True)
class _Hessian:
    """[[A, B], [B', D]] of readers and cases, A and D diagonal, kept as D, B and A - B D⁻¹ B'."""

    cases: Array
    both: Array
    readers: Array

    def solve(self, values: Array) -> Array:
        """Its inverse times values, readers first."""
        of_readers, of_cases = np.split(values, [len(self.readers)])
        found = np.linalg.solve(self.readers, of_readers - self.both @ (of_cases / self.cases))
        return np.concatenate([found, (of_cases - self.both.T @ found) / self.cases]).astype(np.float64)

    @property
    def log_determinant(self) -> float:
        return float(np.log(self.cases).sum() + np.linalg.slogdet(self.readers)[1])
