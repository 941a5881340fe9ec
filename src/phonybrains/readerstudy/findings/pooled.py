"""Shares over reads that belong together: of one patient's images, and of several readers who saw the same image.

An interval that took all reads for independent would be too narrow wherever some patients are harder than others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from ...statistics.estimate import Estimate, normal_quantile, t_estimate, t_p_value
from ...statistics.proportions import score_limits
from .reads import Read, patient_of


def pooled_share(reads: Mapping[str, Sequence[bool]], level: float = 0.95) -> Estimate:
    """The share of true among the reads of each patient, with a score interval for these readers and cases like these.

    The variance is that of a ratio over patients (each patient's reads stay together); the score interval is Wilson's
    with the number of independent reads that has this variance, shortened for being estimated from so many patients.
    [Rao & Scott 1992, Biometrics 48:577; Korn & Graubard 1998, Survey Methodology 24:193, with a score interval]
    """
    groups = [group for group in reads.values() if group]
    total = sum(map(len, groups))
    if not total:
        raise ValueError("A share needs at least one read.")
    p = sum(map(sum, groups)) / total
    effective = independent_reads(groups, level)
    limits = score_limits(p, effective, level)
    return Estimate(p, max(limits.low, 0.0), min(limits.high, 1.0), total)


def independent_reads(groups: Sequence[Sequence[bool]], level: float) -> float:
    """How many independent reads would tell as much; at most all of them, and as many as patients where p is 0 or 1."""
    cases, total = len(groups), sum(map(len, groups))
    p = sum(map(sum, groups)) / total
    variance = ratio_variance(groups, p)
    if cases < 2 or p in (0, 1) or variance == 0:
        return float(cases)
    quantile = float(stdtrit(cases - 1, (1 + level) / 2))
    return max(1.0, min(total, p * (1 - p) / variance) * (normal_quantile(level) / quantile) ** 2)


def patients_of(reads: Sequence[Read]) -> list[str]:
    """The patient of each read."""
    return [patient_of(read.case) for read in reads]


def ratio_variance(groups: Sequence[Sequence[bool]], p: float) -> float:
    """The variance of a share whose reads come in groups.  [Cochran 1977, Sampling Techniques, eq. 6.13]"""
    cases, total = len(groups), sum(map(len, groups))
    if cases < 2:
        return math.inf
    return cases / (cases - 1) * sum((sum(group) - p * len(group)) ** 2 for group in groups) / total**2


def in_general(
    values: NDArray[np.float64],
    covariance: NDArray[np.float64],
    n: int,
    level: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[Estimate, float]:
    """The mean of a figure over readers like these and cases like these, and its degrees of freedom.

    values: (R,) the figure of each reader; covariance: (R, R) of these figures through the cases. Within bounds of 0
    and 1 the interval is on the logit scale.
    [Obuchowski & Rockette 1995, one test; degrees of freedom: Hillis 2014, section 4]
    """
    readers = len(values)
    between = float(values.var(ddof=1))
    shared = max(float(covariance[~np.eye(readers, dtype=bool)].mean()), 0.0)
    total = between + readers * shared
    df = (readers - 1) * (total / between) ** 2 if between > 1e-12 else math.inf
    estimate = t_estimate(float(values.mean()), math.sqrt(total / readers), n, level, df, bounds)
    return (on_logit_scale(estimate, df, level) if bounds == (0.0, 1.0) else estimate), df


def on_logit_scale(estimate: Estimate, df: float, level: float) -> Estimate:
    """A share's or an area's interval reckoned on the logit scale, which near 1 covers where the plain one does not."""
    value, error = estimate.value, estimate.standard_error
    if not error or not 0 < value < 1:
        return estimate
    limits = t_estimate(math.log(value / (1 - value)), error / (value * (1 - value)), estimate.n, level, df)
    return replace(estimate, low=float(expit(limits.low)), high=float(expit(limits.high)))


def p_against_half(estimate: Estimate, df: float = math.inf) -> float | None:
    """Two-sided p that the true value is 1/2, on the logit scale, so that it agrees with the interval."""
    value, error = estimate.value, estimate.standard_error
    if not error or not 0 < value < 1:
        return None
    return t_p_value(math.log(value / (1 - value)) * value * (1 - value) / error, df)


def share_covariance(outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance, (R, R), of the readers' shares: outcomes is (R, cases) of 0 and 1, none missing."""
    return np.atleast_2d(np.cov(outcomes)) / outcomes.shape[1]
