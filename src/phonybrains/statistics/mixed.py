"""Mixed logistic regression with crossed random effects of readers and cases: a second look at right answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from .estimate import Estimate, t_estimate, t_p_value

Array = NDArray[np.float64]


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
