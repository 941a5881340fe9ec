"""ROC of each reader, and the area under it for these readers and for readers in general; arms compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...statistics.multireader import areas, difference, in_general, shares, these_readers
from ...statistics.roc import roc_curve
from .reads import (
    ALL,
    AnswerTable,
    Finding,
    Read,
    Treatment,
    all_and_each,
    arms_of,
    as_finding,
    modalities_of,
    readers_of,
    select,
    table_of,
    with_controls,
)
from .shares import patients_of

AUC, FIXED, RANDOM = "AUC", "AUC, these readers", "AUC, readers in general"
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
        if area := _area(own, level):
            curve = roc_curve([read.score for read in own], [read.phony for read in own])
            rates = curve.false_positive_rate, curve.true_positive_rate
            curves.append(Curve(reader, *rates, area.where(reader=reader)))
    return curves


def _area(reads: Sequence[Read], level: float) -> Finding | None:
    truth = np.array([read.phony for read in reads])
    if truth.all() or not truth.any():
        return None
    found = these_readers(areas([[read.score for read in reads]], truth, patients_of(reads)), level)
    return as_finding(AUC, found.estimate, f"DeLong over patients, logit scale; df = {found.df:.1f}")


def measure_auc(reads: Sequence[Read], level: float) -> list[Finding]:
    """The area under the curve of each reader, and of all, over all cases, each modality and each synthetic arm."""
    parts = [(modality, ALL) for modality in all_and_each(modalities_of(reads))]
    parts += [(ALL, arm) for arm in all_and_each(arms_of(reads))[1:]]
    found = []
    for modality, arm in parts:
        part = select(reads, modality=modality, arm=arm)
        for reader in readers_of(part):
            if area := _area(select(part, reader=reader), level):
                found.append(area.where(reader=reader, modality=modality, arm=arm))
        found += [finding.where(modality=modality, arm=arm) for finding in _of_all_readers(part, level)]
    return found


def _of_all_readers(reads: Sequence[Read], level: float) -> list[Finding]:
    table = table_of(reads, lambda read: read.score)
    if min(table.truth.sum(), (~table.truth).sum()) < 2 or len(table.readers) < 2:
        return []
    note = "" if not np.isnan(table.values).any() else "not every reader answered every case: all answers count"
    return [replace(one, note=note) for one in mean_auc(table.values, table.truth, level, table.patients)]


def mean_auc(
    scores: Floats, truth: NDArray[np.bool_], level: float, patients: NDArray[np.str_] | None = None
) -> list[Finding]:
    """The mean area over readers, for these and, from three on, for readers in general: scores (R, C), NaN if missing.

    The standard errors are Obuchowski and Rockette's with DeLong's covariances over patients; on the logit scale.
    """
    figures = areas(scores, truth, patients)
    fixed, general = these_readers(figures, level), in_general(figures, level)
    method = "mean over these readers, cases random by patient (Obuchowski-Rockette, logit scale; df = {:.1f})"
    found = [as_finding(FIXED, fixed.estimate, method.format(fixed.df), p=fixed.p_value)]
    if general:
        method = "readers and cases random by patient (Obuchowski-Rockette, logit scale; df = {:.1f})"
        found.append(as_finding(RANDOM, general.estimate, method.format(general.df), p=general.p_value))
    return found


# --- Arms ------------------------------------------------------------------------------------------------------------


def compare_arms(reads: Sequence[Read], unclear: Treatment, level: float) -> list[Finding]:
    """Each two synthetic arms: difference of sensitivity and of the AUC, first less second.

    The same readers saw both arms; the cases differ. With three readers or more the interval is for readers in general,
    with fewer for these.
    """
    scored, said = table_of(reads, lambda read: read.score), table_of(reads, lambda read: read.said_phony(unclear))
    caught = "sensitivity" if with_controls(reads) else "share called phony"
    found = []
    for first, second in combinations(arms_of(reads), 2):
        for quantity, table, counted in ((caught, said, unclear), ("AUC", scored, "")):
            if finding := _compare(table, first, second, level, of_area=quantity == "AUC"):
                arms = f"{first} less {second}"
                found.append(replace(finding, quantity=f"difference of {quantity}", arm=arms, unclear=counted))
    return found


def _compare(table: AnswerTable, first: str, second: str, level: float, *, of_area: bool) -> Finding | None:
    """The difference of two arms over the readers who have both; None with fewer than two cases of a kind."""
    truth, patients = table.truth, table.patients
    own = [np.array([case.arm == arm for case in table.cases]) & truth for arm in (first, second)]
    if min(own[0].sum(), own[1].sum(), (~truth).sum() if of_area else 2) < 2:
        return None
    try:
        if of_area:
            sides = [areas(np.where(arm | ~truth, table.values, np.nan), truth, patients) for arm in own]
        else:
            sides = [shares(np.where(arm, table.values, np.nan), patients) for arm in own]
        figures = difference(*sides)
    except ValueError:
        return None
    general = in_general(figures, level)
    found = general or these_readers(figures, level)
    note = f"{'readers in general' if general else 'these readers'}, df = {found.df:.1f}"
    method = "mean over readers of paired differences, cases of both arms random by patient"
    return as_finding("", found.estimate, method, p=found.p_value, note=note)
