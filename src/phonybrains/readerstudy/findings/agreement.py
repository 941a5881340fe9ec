"""Agreement: among readers, between each two of them, and of each reader with his or her own second answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...statistics.agreement import cohen_kappa, fleiss_kappa, gwet_ac1
from ...statistics.reliability import confusion_table, krippendorff_alpha, rating_counts
from ...statistics.score_agreement import AgreementMeasure, score_agreement
from ..study import CALLS
from .reads import Finding, Read, all_and_each, as_finding, modalities_of, readers_of, select, table_of
from .shares import patients_of

CODES = [float(i) for i in range(len(CALLS))]
METHOD = "score interval over patients"


def call_code(read: Read) -> float:
    """0 real, 1 phony, 2 unclear."""
    return CALLS.index(read.answer.call)


def measure_agreement(reads: Sequence[Read], level: float) -> list[Finding]:
    """Agreement among all readers and of each two, over all cases and in each modality."""
    found = []
    for modality in all_and_each(modalities_of(reads)):
        table = table_of(select(reads, modality=modality), call_code)
        readers, calls, patients = table.readers, table.values.T, table.patients
        if len(readers) < 2:
            continue
        found += [finding.where(modality=modality) for finding in among_all(calls, level, patients)]
        for i, j in combinations(range(len(readers)), 2) if len(readers) > 2 else ():
            pair = f"{readers[i]} and {readers[j]}"
            both = of_two(calls[:, [i, j]], level, patients)
            found += [finding.where(modality=modality, reader=pair) for finding in both]
    return found


def among_all(table: NDArray[np.float64], level: float, patients: NDArray[np.str_] | None = None) -> list[Finding]:
    """Per cent agreement, κ (Cohen of two readers, Fleiss of more), AC1 and α with their intervals.

    table: (cases, readers) codes, NaN where missing; patients: (cases,).
    """
    measures = of_two(table, level, patients) if table.shape[1] == 2 else _of_many(table, level, patients)
    alpha = _defined("Krippendorff's α", "Krippendorff", lambda: krippendorff_alpha(table), table, level, patients)
    return [*measures, alpha]


def of_two(table: NDArray[np.float64], level: float, patients: NDArray[np.str_] | None = None) -> list[Finding]:
    """Agreement of two readers, or of two answers of one: (cases, 2) codes, cases that lack one left out."""
    both = ~np.isnan(table).any(axis=1)
    table, patients = table[both], None if patients is None else patients[both]
    a, b = table.T
    return [
        _defined("agreement", "agreement", lambda: float((a == b).mean()), table, level, patients),
        _defined("Cohen's κ", "Cohen", lambda: cohen_kappa(confusion_table(a, b, CODES)).value, table, level, patients),
        _defined("Gwet's AC1", "AC1", lambda: gwet_ac1(table, CODES).value, table, level, patients),
    ]


def _of_many(table: NDArray[np.float64], level: float, patients: NDArray[np.str_] | None) -> list[Finding]:
    """Agreement of three readers or more: Fleiss' κ over the cases that all answered, the others over all pairs."""
    full = ~np.isnan(table).any(axis=1)
    whole, own = table[full], None if patients is None else patients[full]
    return [
        _defined("agreement", "agreement", lambda: None, table, level, patients),
        _defined("Fleiss' κ", "Fleiss", lambda: fleiss_kappa(rating_counts(whole, CODES)).value, whole, level, own),
        _defined("Gwet's AC1", "AC1", lambda: gwet_ac1(table, CODES).value, table, level, patients),
    ]


def _defined(
    name: str,
    measure: AgreementMeasure,
    value: Callable[[], float | None],
    table: NDArray[np.float64],
    level: float,
    patients: NDArray[np.str_] | None,
) -> Finding:
    """A measure with its score interval, or a finding without value that says why there is none."""
    try:
        return as_finding(name, score_agreement(table, measure, CODES, patients, level, value()), METHOD)
    except ValueError as reason:
        return Finding(name, None, len(table), METHOD, note=str(reason))


def measure_repeats(first: Sequence[Read], again: Sequence[Read], level: float) -> list[Finding]:
    """How steady each reader is: the second answer to a case beside the first."""
    found = []
    for reader in readers_of(again):
        earlier = {read.case.case_id: read for read in select(first, reader=reader)}
        later = [read for read in select(again, reader=reader) if read.case.case_id in earlier]
        if not later:
            continue
        pairs = [(earlier[read.case.case_id], read) for read in later]
        table = np.array([[call_code(read) for read in pair] for pair in pairs], dtype=float)
        steadiness = of_two(table, level, np.array(patients_of(later)))
        found += [one.where(quantity=f"repeats: {one.quantity}", reader=reader) for one in steadiness]
        change = float(np.mean([abs(two.score - one.score) for one, two in pairs]))
        method = "mean absolute change, scale 0-200"
        found.append(Finding("repeats: change of score", change, len(pairs), method, reader=reader))
    return found
