"""Agreement: among readers, between each two of them, and of each reader with his or her own second answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

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
Codes = NDArray[np.float64]
Measures = Mapping[str, tuple[AgreementMeasure, Callable[[Codes], float | None]]]
AC1: Measures = {"Gwet's AC1": ("AC1", lambda table: gwet_ac1(table, CODES).value)}
OF_TWO: Measures = {
    "agreement": ("agreement", lambda table: float((table[:, 0] == table[:, 1]).mean())),
    "Cohen's κ": ("Cohen", lambda table: cohen_kappa(confusion_table(table[:, 0], table[:, 1], CODES)).value),
    **AC1,
}
OF_MANY: Measures = {
    "agreement": ("agreement", lambda _: None),
    "Fleiss' κ": ("Fleiss", lambda table: fleiss_kappa(rating_counts(table, CODES)).value),
    **AC1,
}
ALPHA: Measures = {"Krippendorff's α": ("Krippendorff", krippendorff_alpha)}


def call_code(read: Read) -> float:
    """0 real, 1 phony, 2 unclear."""
    return CALLS.index(read.answer.call)


def measure_agreement(reads: Sequence[Read], level: float) -> list[Finding]:
    """Agreement among all readers and of each two, over all cases and in each modality."""
    found = []
    for modality in all_and_each(modalities_of(reads)):
        table = table_of(select(reads, modality=modality), call_code)
        calls, patients = table.values.T, table.patients
        if len(table.readers) < 2:
            continue
        found += [finding.where(modality=modality) for finding in among_all(calls, level, patients)]
        for (i, one), (j, other) in combinations(enumerate(table.readers), 2) if len(table.readers) > 2 else ():
            both = of_two(calls[:, [i, j]], level, patients)
            found += [finding.where(modality=modality, reader=f"{one} and {other}") for finding in both]
    return found


def among_all(table: Codes, level: float, patients: NDArray[np.str_] | None = None) -> list[Finding]:
    """Per cent agreement, κ (Cohen of two readers, Fleiss of more), AC1 and α with their intervals.

    table: (cases, readers) codes, NaN where missing; patients: (cases,). Fleiss' κ is over the cases that all answered,
    the others over all pairs.
    """
    first = of_two(table, level, patients) if table.shape[1] == 2 else _measured(OF_MANY, table, level, patients)
    return first + _measured(ALPHA, table, level, patients)


def of_two(table: Codes, level: float, patients: NDArray[np.str_] | None = None) -> list[Finding]:
    """Agreement of two readers, or of two answers of one: (cases, 2) codes, cases that lack one left out."""
    return _measured(OF_TWO, *_complete(table, level, patients))


def _complete(table: Codes, level: float, patients: NDArray[np.str_] | None) -> tuple[Codes, float, Any]:
    full = ~np.isnan(table).any(axis=1)
    return table[full], level, None if patients is None else patients[full]


def _measured(measures: Measures, table: Codes, level: float, patients: NDArray[np.str_] | None) -> list[Finding]:
    """Measures with their score intervals, or without value and with the reason why there is none."""
    found = []
    for name, (measure, value) in measures.items():
        own, _, whose = (table, level, patients) if measure != "Fleiss" else _complete(table, level, patients)
        try:
            estimate = score_agreement(own, measure, CODES, whose, level, value(own))
            found.append(as_finding(name, estimate, METHOD))
        except ValueError as reason:
            found.append(Finding(name, None, len(own), METHOD, note=str(reason)))
    return found


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
