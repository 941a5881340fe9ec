"""Change in the course of a reading: learning or fatigue over positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from .estimate import Estimate, t_estimate, t_p_value

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


def _separated(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> bool:
    if not len(right) or not len(wrong):
        return True
    return bool(right.min() >= wrong.max() or right.max() <= wrong.min())


def _fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Newton's method for the logistic likelihood, steps halved where it would fall: information and coefficients."""

    def likelihood(b: NDArray[np.float64]) -> float:
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
