"""ROC of each reader, and the area under it for these readers and for readers in general; arms compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...statistics.estimate import t_estimate, t_p_value
from ...statistics.mrmc import obuchowski_rockette
from ...statistics.resample import holm
from ...statistics.roc import auc_interval, delong_covariance, placements, roc_curve
from .performance import as_finding
from .pooled import in_general, on_logit_scale, p_against_half, share_covariance
from .reads import ALL, Finding, Read, Treatment, arms_of, modalities_of, readers_of, select

AUC, FIXED, RANDOM = "AUC", "AUC, these readers", "AUC, readers in general"
LEAST_READERS = 3
"""From fewer readers nothing is claimed about readers in general."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One reader's empirical ROC and the area under it."""

    reader: str
    false_positive: Floats
    true_positive: Floats
    area: Finding


def trace_curves(reads: Sequence[Read], level: float) -> list[Curve]:
    """The ROC of each reader who saw real and phony images."""
    curves = []
    for reader in readers_of(reads):
        own = select(reads, reader=reader)
        area = _area(own, level)
        if area is not None:
            points = roc_curve([read.score for read in own], [read.phony for read in own])
            curves.append(
                Curve(reader, points.false_positive_rate, points.true_positive_rate, area.where(reader=reader))
            )
    return curves


def _area(reads: Sequence[Read], level: float) -> Finding | None:
    truth = np.array([read.phony for read in reads])
    if truth.all() or not truth.any():
        return None
    estimate = auc_interval([read.score for read in reads], truth, level)
    return as_finding(AUC, estimate, "DeLong, logit scale")


def measure_auc(reads: Sequence[Read], level: float) -> list[Finding]:
    """The area under the curve of each reader, and of all, over all cases, each modality and each synthetic arm."""
    modalities, arms = modalities_of(reads), arms_of(reads)
    parts = [(modality, ALL) for modality in [ALL, *(modalities if len(modalities) > 1 else [])]]
    parts += [(ALL, arm) for arm in (arms if len(arms) > 1 else [])]
    found = []
    for modality, arm in parts:
        part = select(reads, modality=modality, arm=arm)
        for reader in readers_of(part):
            area = _area(select(part, reader=reader), level)
            found += [area.where(reader=reader, modality=modality, arm=arm)] if area else []
        found += [finding.where(modality=modality, arm=arm) for finding in _of_all_readers(part, level)]
    return found


def score_table(reads: Sequence[Read]) -> tuple[Floats, NDArray[np.bool_], list[str]]:
    """Scores (R, C) of the cases that every reader answered, their truth, and their names."""
    readers = readers_of(reads)
    scores = {(read.reader, read.case.case_id): read.score for read in reads}
    truth = {read.case.case_id: read.phony for read in reads}
    cases = [case for case in sorted(truth) if all((reader, case) in scores for reader in readers)]
    table = np.array([[scores[reader, case] for case in cases] for reader in readers])
    return table.reshape(len(readers), len(cases)), np.array([truth[case] for case in cases], dtype=bool), cases


def _of_all_readers(reads: Sequence[Read], level: float) -> list[Finding]:
    table, truth, _ = score_table(reads)
    if min(truth.sum(), (~truth).sum()) < 2 or len(table) < 2:
        return []
    return [replace(finding, note="cases that all answered") for finding in mean_auc(table, truth, level)]


def mean_auc(scores: Floats, truth: NDArray[np.bool_], level: float) -> list[Finding]:
    """The mean area of two readers or more, for these and, from three on, for readers in general: scores (R, C).

    The standard errors are Obuchowski and Rockette's with DeLong's covariances; the intervals are on the logit scale.
    """
    study = obuchowski_rockette(scores[None], truth, delong_covariance, level=level)
    fixed = study.fixed_readers.tests[0].estimate
    method = "mean over these readers, cases random (Obuchowski-Rockette, DeLong covariances, logit scale)"
    found = [as_finding(FIXED, on_logit_scale(fixed, math.inf, level), method, p=p_against_half(fixed))]
    if len(scores) >= LEAST_READERS and study.random_readers:
        general = study.random_readers.tests[0]
        method = f"readers and cases random (Obuchowski-Rockette, logit scale; df = {general.df:.1f})"
        found.append(as_finding(RANDOM, on_logit_scale(general.estimate, general.df, level), method,
                                p=p_against_half(general.estimate, general.df)))  # fmt: skip
    return found


# --- Arms ------------------------------------------------------------------------------------------------------------


def compare_arms(reads: Sequence[Read], unclear: Treatment, level: float) -> list[Finding]:
    """Each two synthetic arms: difference of sensitivity and of the AUC, first less second, p corrected by Holm.

    The same readers saw both arms; the cases differ. With three readers or more the interval is for readers in general,
    with fewer for these.
    """
    found = []
    for first, second in combinations(arms_of(reads), 2):
        for quantity, values in (("sensitivity", _said_phony(reads, unclear)), ("AUC", None)):
            finding = _compare(reads, first, second, values, level)
            if finding is not None:
                label = f"difference of {quantity}"
                found.append(replace(finding, quantity=label, arm=f"{first} less {second}",
                                     unclear=unclear if values is not None else ""))  # fmt: skip
    corrected = holm([finding.p or 0.0 for finding in found]) if found else []
    return [replace(finding, p=float(p), note=f"{finding.note}; p corrected for {len(found)} comparisons (Holm)")
            for finding, p in zip(found, corrected, strict=True)]  # fmt: skip


def _said_phony(reads: Sequence[Read], unclear: Treatment) -> dict[tuple[str, str], float]:
    """1 where a reader said phony of a case; a treatment that leaves reads out would leave holes: they are 0 here."""
    return {(read.reader, read.case.case_id): float(bool(read.said_phony(unclear))) for read in reads}


def _compare(reads: Sequence[Read], first: str, second: str, said: dict[tuple[str, str], float] | None,
             level: float) -> Finding | None:  # fmt: skip
    readers = readers_of(reads)
    sides = []
    for arm in (first, second):
        part = select(reads, arm=arm)
        scores, truth, cases = score_table(part)
        if min(truth.sum(), scores.shape[1]) < 2 or (said is None and (~truth).sum() < 2):
            return None
        if said is None:
            sides.append(placements(scores, truth))
        else:
            phony = [case for case, is_phony in zip(cases, truth, strict=True) if is_phony]
            sides.append((np.array([[said[reader, case] for case in phony] for reader in readers]), None))
    (a, a_controls), (b, b_controls) = sides
    values = a.mean(axis=1) - b.mean(axis=1)
    covariance = share_covariance(a) + share_covariance(b)
    if a_controls is not None and b_controls is not None and a_controls.shape == b_controls.shape:
        covariance = covariance + share_covariance(a_controls - b_controls)
    n = a.shape[1] + b.shape[1]
    if len(readers) >= LEAST_READERS:
        estimate, df = in_general(values, covariance, n, level, (-1, 1))
        note = f"readers in general, df = {df:.1f}"
    else:
        error = math.sqrt(max(covariance.mean(), 0.0))
        estimate, df, note = (
            t_estimate(float(values.mean()), error, n, level, bounds=(-1, 1)),
            math.inf,
            "these readers",
        )
    error = estimate.standard_error or 0.0
    p = t_p_value(estimate.value / error, df) if error > 0 else float(estimate.value == 0)
    return as_finding(
        "", estimate, "mean over readers of paired differences, cases of both arms random", p=p, note=note
    )
