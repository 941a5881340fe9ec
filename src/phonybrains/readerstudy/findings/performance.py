"""How often readers were right: counts, accuracy, sensitivity, specificity, and phony images called real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from scipy.special import expit

from ...statistics.estimate import Estimate
from ...statistics.logistic import mixed_logistic
from ...statistics.proportions import clopper_pearson, wilson
from ..study import CALLS
from .reads import (
    ALL,
    TREATMENTS,
    Finding,
    Read,
    Treatment,
    all_and_each,
    answered,
    arms_of,
    as_finding,
    modalities_of,
    patient_of,
    readers_of,
    select,
    with_controls,
)
from .shares import patients_of, pooled_share

EXACT, SCORE = "Clopper-Pearson", "Wilson"
CLUSTERED = "score interval, reads of one patient kept together"
BY_PATIENT = "score interval, images of one patient kept together"
Outcome = Callable[[Read], bool | None]


def count_calls(reads: Sequence[Read]) -> list[Finding]:
    """The paper's Fig. 5: how many images each reader called real, phony and unclear, of each modality and truth."""
    found = []
    for reader, modality, truth in _cells(reads, ("real", "phony")):
        own = [read for read in select(reads, reader=reader, modality=modality) if read.case.truth == truth]
        for call in CALLS if own else ():
            count, what = sum(read.call == call for read in own), f"{truth} images called {call}"
            found.append(Finding(what, count, len(own), "count", reader=reader, modality=modality))
    return found


def skill_outcomes(unclear: Treatment) -> dict[str, Outcome]:
    """What counts in sensitivity, specificity and accuracy, and whether it is right; phony is the positive class."""
    return {
        "sensitivity": lambda read: read.correct(unclear) if read.phony else None,
        "specificity": lambda read: None if read.phony else read.correct(unclear),
        "accuracy": lambda read: read.correct(unclear),
    }


def measure_performance(reads: Sequence[Read], level: float) -> list[Finding]:
    """Accuracy, sensitivity and specificity of each reader, modality, arm and treatment of `unclear`.

    Of several readers together, the interval keeps the reads of one patient together.
    """
    found, controls = [], with_controls(reads)
    for treatment in TREATMENTS:
        outcomes = skill_outcomes(treatment)
        kept = outcomes if controls else {"sensitivity": outcomes["sensitivity"]}
        found += _in_cells(reads, kept, level, treatment)
    if controls and len(readers_of(reads)) > 1:
        found.append(second_look(reads, "left out", level))
    return found


def _in_cells(reads: Sequence[Read], outcomes: Mapping[str, Outcome], level: float, unclear: str) -> Iterator[Finding]:
    """The share of each outcome for each reader and all, each modality and all, and each arm and all."""
    for reader, modality, arm in _cells(reads, all_and_each(arms_of(reads))):
        part = select(reads, reader=reader, modality=modality, arm=arm)
        for name, outcome in outcomes.items():
            if arm != ALL and name == "specificity":
                continue  # the controls are the same whatever the arm
            if finding := share(name, part, outcome, level, each=reader != ALL):
                yield finding.where(reader=reader, modality=modality, arm=arm, unclear=unclear)


def second_look(reads: Sequence[Read], unclear: Treatment, level: float) -> Finding:
    """How often a typical reader is right on a typical case, the mean of phony and real: a mixed logistic regression.

    It takes every answer of every reader, as the registered test does, and weighs them by a model of its own.
    """
    name, method = "right, mixed logistic", "readers and patients as crossed random effects (Laplace), Wald"
    own, right = answered(reads, unclear)
    truth = [read.phony for read in own]
    try:
        found = mixed_logistic(right, [read.reader for read in own], patients_of(own), truth, level)
    except ValueError as reason:
        return Finding(name, None, len(own), method, unclear=unclear, note=str(reason))
    odds = found.log_odds
    share = Estimate(float(expit(odds.value)), float(expit(odds.low)), float(expit(odds.high)), odds.n)
    note = f"standard deviations of the log odds: readers {found.reader_sd:.2f}, patients {found.case_sd:.2f}"
    return as_finding(name, share, method, p=found.p_value, unclear=unclear, note=note)


def measure_called_real(reads: Sequence[Read], level: float) -> list[Finding]:
    """The share of phony images called real, against what a coin would do; once with `unclear` left out."""

    def called(read: Read) -> bool | None:
        return read.call == "real" if read.phony else None

    def called_clearly(read: Read) -> bool | None:
        return None if read.call == "unclear" else called(read)

    found = [*_in_cells(reads, {"called real": called}, level, "not real")]
    return [*found, *_in_cells(reads, {"called real": called_clearly}, level, "left out")]


def share(name: str, reads: Sequence[Read], outcome: Outcome, level: float, *, each: bool) -> Finding | None:
    """The share of reads with this outcome, of one reader or of several by patient; no test, as leaning moves it.

    The exact interval (Clopper-Pearson), which covers more than its level, stands in the note of one reader's.
    """
    groups = by_patient(reads, outcome)
    if not groups:
        return None
    if not each:
        return as_finding(name, pooled_share(groups, level), CLUSTERED)
    if max(map(len, groups.values())) > 1:
        return as_finding(name, pooled_share(groups, level), BY_PATIENT)
    k, n = sum(map(sum, groups.values())), len(groups)
    exact = clopper_pearson(k, n, level)
    note = f"{EXACT}: {exact.low:.4f} to {exact.high:.4f}"
    return as_finding(name, wilson(k, n, level), SCORE, note=note)


def by_patient(reads: Sequence[Read], outcome: Outcome) -> dict[str, list[bool]]:
    """The outcomes of each patient who has any; a case without a patient is its own."""
    groups: dict[str, list[bool]] = {}
    for read in reads:
        right = outcome(read)
        if right is not None:
            groups.setdefault(patient_of(read.case), []).append(right)
    return groups


def _cells(reads: Sequence[Read], last: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Every reader and all, every modality and all, crossed with what is given."""
    return product([*readers_of(reads), ALL], all_and_each(modalities_of(reads)), last)
