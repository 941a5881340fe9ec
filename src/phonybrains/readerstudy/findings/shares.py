"""Shares over reads that belong together: of one patient's images, and of several readers who saw the same image.

An interval that took all reads for independent would be too narrow wherever some patients are harder than others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy.special import stdtrit

from ...statistics.estimate import Estimate, normal_quantile
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
