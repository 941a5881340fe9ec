"""The primary figure: a table of answers as numbers, and what follows for these readers and for readers in general.

An answer `unclear` is half way between the other two in each figure, so that leaning and doubt do not move it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...statistics.estimate import Interval
from ...statistics.mrmc import Contrast
from ...statistics.multireader import Figures, areas, in_general, shares, these_readers
from ...statistics.roc import score_interval
from .reads import Finding, Read, as_finding, table_of

AUC, BALANCED, CALLED_REAL = "auc", "balanced_accuracy", "called_real"
CHANCE = 0.5
SAID_PHONY: Mapping[str, float] = {"phony": 1.0, "unclear": 0.5, "real": 0.0}
METHODS: Mapping[bool, str] = {
    False: "mean over these readers, cases random by patient (Obuchowski-Rockette; df = {:.1f})",
    True: "readers and cases random by patient (Obuchowski-Rockette, Hillis; df = {:.1f})",
}


@dataclass(frozen=True)
class PrimaryTable:
    """Answers as numbers, readers × cases: scores for AUC, phony said for balanced accuracy, real said for the share.

    values: (R, C), NaN where not answered; truth: (C,), True for phony, or None where phony images alone count;
    strata and clusters: (C,), modality and patient.
    """

    kind: str
    readers: tuple[str, ...]
    values: NDArray[np.float64]
    truth: NDArray[np.bool_] | None
    strata: NDArray[np.str_]
    clusters: NDArray[np.str_]


def primary_table(reads: Sequence[Read], kind: str) -> PrimaryTable | None:
    """The answers that the primary figure counts; None where there are not two cases of each truth it needs."""
    number: dict[str, Callable[[Read], float]] = {
        AUC: lambda read: read.score,
        BALANCED: lambda read: SAID_PHONY[read.call],
        CALLED_REAL: lambda read: 1 - SAID_PHONY[read.call],
    }
    found = table_of([read for read in reads if read.phony or kind != CALLED_REAL], number[kind])
    truth = found.truth
    if min(truth.sum(), len(truth) if kind == CALLED_REAL else (~truth).sum()) < 2:
        return None
    strata = np.array([case.modality for case in found.cases])
    counted = None if kind == CALLED_REAL else truth
    return PrimaryTable(kind, found.readers, found.values, counted, strata, found.patients)


@dataclass(frozen=True)
class Inferred:
    """What the model says of the primary figure: of a population, at a level."""

    figures: Figures
    level: float
    general: bool
    half: Contrast

    def p_of_outside(self, low: float, high: float) -> float:
        """p that the true figure lies outside low to high, the larger of two one-sided tests.  [Schuirmann 1987]"""
        one_sided = []
        for limit, sign in ((low, 1), (high, -1)):
            found = (in_general if self.general else these_readers)(self.figures, self.level, limit)
            assert found is not None
            one_sided.append(found.p_value / 2 if sign * found.t > 0 else 1 - found.p_value / 2)
        return max(one_sided)

    def finding(self, name: str, population: str) -> Finding:
        """The figure with its interval."""
        method = METHODS[self.general].format(self.half.df)
        return as_finding(f"{name}, {population}", self.half.estimate, method)


def infer(table: PrimaryTable, level: float, general: bool) -> Inferred | None:
    """The figure over the readers of a table; None where no reader has it, or too few for readers in general."""
    try:
        figures = figures_of(table)
    except ValueError:
        return None
    half = (in_general if general else these_readers)(figures, level, CHANCE)
    return None if half is None else Inferred(figures, level, general, half)


def figures_of(table: PrimaryTable) -> Figures:
    """The primary figure of each reader and how patients move it. Raises ValueError where no reader has it."""
    if table.truth is None:
        return replace(shares(table.values, table.clusters), scale="logit")
    if table.kind == AUC:
        return areas(table.values, table.truth, table.clusters)
    return balanced(table.values, table.truth, table.clusters)


def balanced(said: NDArray[np.float64], truth: NDArray[np.bool_], patients: NDArray[np.str_]) -> Figures:
    """Balanced accuracy of each reader: half the mean of phony said of phony cases, and of real said of real ones.

    said: (R, C), 1 phony, 0 real, 1/2 unclear, NaN not answered. Weights are those of
    `areas`, which it equals where nothing is unclear. Raises ValueError if no reader answered cases of both kinds.
    """
    frame = areas(said, truth, patients)
    phony = shares(np.where(truth, said, np.nan), patients)
    real = shares(np.where(truth, np.nan, 1 - said), patients)
    values = (phony.values + real.values) / 2
    groups = [len(np.unique(patients[frame.seen & kind])) for kind in (truth, ~truth)]

    def cautious(level: float) -> Interval:
        return score_interval(min(float(frame.weights @ values), 1.0), groups[0], groups[1], level)

    return replace(frame, values=values, parts=(phony.parts[0] / 2, real.parts[0] / 2), cautious=cautious)
