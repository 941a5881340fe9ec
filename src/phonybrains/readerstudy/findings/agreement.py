"""Agreement: among readers, between each two of them, and of each reader with his or her own second answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...statistics.agreement import cohen_kappa, confusion_table, fleiss_kappa, gwet_ac1, rating_counts
from ...statistics.reliability import krippendorff_alpha
from ...statistics.score_agreement import AgreementMeasure, score_agreement
from ..study import CALLS
from .performance import as_finding
from .reads import ALL, Finding, Read, modalities_of, patient_of, readers_of, select
from .shares import patients_of

CODES = [float(i) for i in range(len(CALLS))]
METHOD = "score interval over patients"


@dataclass(frozen=True, slots=True)
class CallTable:
    """Calls, (cases, readers): 0 real, 1 phony, 2 unclear, NaN not answered; the cases' patients."""

    readers: list[str]
    calls: NDArray[np.float64]
    patients: NDArray[np.str_]


def call_table(reads: Sequence[Read]) -> CallTable:
    """The calls of all readers of all cases that any of them answered."""
    cases = sorted({read.case.case_id: read.case for read in reads}.values(), key=lambda case: case.case_id)
    readers = readers_of(reads)
    table = np.full((len(cases), len(readers)), np.nan)
    row, column = {case.case_id: i for i, case in enumerate(cases)}, {reader: i for i, reader in enumerate(readers)}
    for read in reads:
        table[row[read.case.case_id], column[read.reader]] = CALLS.index(read.answer.call)
    return CallTable(readers, table, np.array([patient_of(case) for case in cases]))


def measure_agreement(reads: Sequence[Read], level: float) -> list[Finding]:
    """Agreement among all readers and of each two, over all cases and in each modality."""
    modalities = modalities_of(reads)
    found = []
    for modality in [ALL, *(modalities if len(modalities) > 1 else [])]:
        table = call_table(select(reads, modality=modality))
        readers, calls = table.readers, table.calls
        if len(readers) < 2:
            continue
        found += [finding.where(modality=modality) for finding in among_all(calls, level, table.patients)]
        if len(readers) > 2:
            for i, j in combinations(range(len(readers)), 2):
                pair = of_two(calls[:, [i, j]], level, table.patients)
                found += [finding.where(modality=modality, reader=f"{readers[i]} and {readers[j]}") for finding in pair]
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
        earlier = {read.case.case_id: read for read in first if read.reader == reader}
        pairs = [
            (earlier[read.case.case_id], read)
            for read in again
            if read.reader == reader and read.case.case_id in earlier
        ]
        if not pairs:
            continue
        table = np.array([[CALLS.index(read.answer.call) for read in pair] for pair in pairs], dtype=float)
        patients = np.array(patients_of([earlier for earlier, _ in pairs]))
        found += [
            finding.where(quantity=f"repeats: {finding.quantity}", reader=reader)
            for finding in of_two(table, level, patients)
        ]
        found.append(_score_change(pairs, reader))
    return found


def _score_change(pairs: Sequence[tuple[Read, Read]], reader: str) -> Finding:
    changes = [abs(later.score - earlier.score) for earlier, later in pairs]
    return Finding(
        "repeats: change of score",
        float(np.mean(changes)),
        len(pairs),
        "mean absolute change, scale 0-200",
        reader=reader,
    )
