"""Agreement: among readers, between each two of them, and of each reader with his or her own second answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...statistics.agreement import (
    cohen_kappa,
    confusion_table,
    fleiss_kappa,
    gwet_ac1,
    percent_agreement,
    rating_counts,
)
from ...statistics.estimate import Estimate, t_estimate
from ...statistics.reliability import krippendorff_interval
from ...statistics.resample import bootstrap_cases
from ..study import CALLS
from .performance import as_finding
from .reads import ALL, Finding, Read, modalities_of, readers_of, select

CODES = [float(i) for i in range(len(CALLS))]
DRAWS = 2000


def call_table(reads: Sequence[Read]) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """The cases, the readers and the calls as (cases, readers): 0 real, 1 phony, 2 unclear, NaN not answered."""
    cases, readers = sorted({read.case.case_id for read in reads}), readers_of(reads)
    table = np.full((len(cases), len(readers)), np.nan)
    row, column = {case: i for i, case in enumerate(cases)}, {reader: i for i, reader in enumerate(readers)}
    for read in reads:
        table[row[read.case.case_id], column[read.reader]] = CALLS.index(read.answer.call)
    return cases, readers, table


def measure_agreement(reads: Sequence[Read], level: float, seed: int) -> list[Finding]:
    """Agreement among all readers and of each two, over all cases and in each modality."""
    modalities = modalities_of(reads)
    found = []
    for modality in [ALL, *(modalities if len(modalities) > 1 else [])]:
        _, readers, table = call_table(select(reads, modality=modality))
        if len(readers) < 2:
            continue
        found += [finding.where(modality=modality) for finding in among_all(table, level, seed)]
        if len(readers) > 2:
            for i, j in combinations(range(len(readers)), 2):
                pair = of_two(table[:, [i, j]], level)
                found += [finding.where(modality=modality, reader=f"{readers[i]} and {readers[j]}") for finding in pair]
    return found


def among_all(table: NDArray[np.float64], level: float, seed: int) -> list[Finding]:
    """Per cent agreement, κ (Cohen of two readers, Fleiss of more), AC1 and α with their intervals."""
    measures = of_two(table, level) if table.shape[1] == 2 else _of_many(table, level, seed)
    rng = np.random.default_rng(seed)
    alpha = _defined("Krippendorff's α", "nominal; percentile bootstrap over cases", table,
                     lambda: krippendorff_interval(table, "nominal", rng, DRAWS, level))  # fmt: skip
    return [*measures, alpha]


def of_two(table: NDArray[np.float64], level: float) -> list[Finding]:
    """Agreement of two readers, or of two answers of one: (cases, 2) codes, cases that lack one left out."""
    both = table[~np.isnan(table).any(axis=1)]
    a, b = both[:, 0], both[:, 1]
    return [
        _defined("agreement", "share of equal calls, Wilson", both, lambda: percent_agreement(a, b, level)),
        _defined("Cohen's κ", "asymptotic standard error, Student's t over cases", both, lambda: _kappa(a, b, level)),
        _defined("Gwet's AC1", "Student's t over cases", both, lambda: gwet_ac1(both, CODES, level)),
    ]  # fmt: skip


def _kappa(a: NDArray[np.float64], b: NDArray[np.float64], level: float) -> Estimate:
    """Cohen's κ with Student's t; with the normal distribution it covers too little where cases are few."""
    kappa = cohen_kappa(confusion_table(a, b, CODES), level=level)
    return t_estimate(kappa.value, kappa.standard_error or 0.0, kappa.n, level, max(1, kappa.n - 1), (-1, 1))


def _of_many(table: NDArray[np.float64], level: float, seed: int) -> list[Finding]:
    full = table[~np.isnan(table).any(axis=1)]
    counts = rating_counts(full, CODES)

    def drawn(statistic: Callable[[NDArray[np.float64]], float]) -> Estimate:
        rng = np.random.default_rng(seed)
        return bootstrap_cases(lambda cases: statistic(counts[cases]), len(counts), rng, draws=DRAWS, level=level)

    def fleiss(sample: NDArray[np.float64]) -> float:
        try:
            return fleiss_kappa(sample).value
        except ValueError:
            return float("nan")

    def equal_pairs(sample: NDArray[np.float64]) -> float:
        raters = sample[0].sum()
        return float((sample * (sample - 1)).sum() / (len(sample) * raters * (raters - 1)))

    return [
        _defined("agreement", "share of equal pairs of calls, bootstrap over cases", full, lambda: drawn(equal_pairs)),
        _defined("Fleiss' κ", "bootstrap over cases", full, lambda: drawn(fleiss)),
        _defined("Gwet's AC1", "Student's t over cases", table, lambda: gwet_ac1(table, CODES, level)),
    ]


def _defined(name: str, method: str, table: NDArray[np.float64], measure: Callable[[], Estimate]) -> Finding:
    """A measure, or a finding without value that says why there is none."""
    try:
        return as_finding(name, measure(), method)
    except ValueError as reason:
        return Finding(name, None, len(table), method, note=str(reason))


def measure_repeats(first: Sequence[Read], again: Sequence[Read], level: float) -> list[Finding]:
    """How steady each reader is: the second answer to a case beside the first."""
    found = []
    for reader in readers_of(again):
        earlier = {read.case.case_id: read for read in first if read.reader == reader}
        pairs = [(earlier[read.case.case_id], read) for read in again
                 if read.reader == reader and read.case.case_id in earlier]  # fmt: skip
        if not pairs:
            continue
        table = np.array([[CALLS.index(read.answer.call) for read in pair] for pair in pairs], dtype=float)
        found += [finding.where(quantity=f"repeats: {finding.quantity}", reader=reader)
                  for finding in of_two(table, level)]  # fmt: skip
        found.append(_score_change(pairs, reader))
    return found


def _score_change(pairs: Sequence[tuple[Read, Read]], reader: str) -> Finding:
    changes = [abs(later.score - earlier.score) for earlier, later in pairs]
    return Finding("repeats: change of score", float(np.mean(changes)), len(pairs), "mean absolute change, scale 0-200",
                   reader=reader)  # fmt: skip
