"""Answers beside the truth, and the one form in which every figure of the analysis is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import StudyError
from ...statistics.estimate import Estimate
from ..study import Answer, Case, Study

Treatment = Literal["not phony", "phony", "left out"]
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
ALL = "all"
ASKED_NOT = 50
"""The confidence an answer is taken to have where none was asked for."""


@dataclass(frozen=True, slots=True)
class Read:
    """One answer and the case it is about."""

    answer: Answer
    case: Case

    @property
    def reader(self) -> str:
        return self.answer.reader

    @property
    def call(self) -> str:
        return self.answer.call

    @property
    def phony(self) -> bool:
        return self.case.truth == "phony"

    @property
    def score(self) -> float:
        """How phony the image looked, 0…200: phony 100 + c, unclear 100, real 100 - c, with confidence c."""
        confidence = ASKED_NOT if self.answer.confidence is None else self.answer.confidence
        return 100.0 + {"phony": 1, "unclear": 0, "real": -1}[self.call] * confidence

    def said_phony(self, unclear: Treatment) -> bool | None:
        """Whether the answer counts as phony; None where it is left out."""
        if self.call != "unclear":
            return self.call == "phony"
        return None if unclear == "left out" else unclear == "phony"

    def correct(self, unclear: Treatment) -> bool | None:
        """Whether the answer is right; None where it is left out."""
        said = self.said_phony(unclear)
        return None if said is None else said == self.phony


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of the analysis: `value` with its interval (where it has one), and what it was reckoned from."""

    quantity: str
    value: float | None
    n: int
    method: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reader: str = ALL
    modality: str = ALL
    arm: str = ALL
    unclear: str = ""
    """How `unclear` was counted, where that makes a difference."""
    note: str = ""

    def where(self, **labels: str) -> Finding:
        """The same figure with other labels."""
        return replace(self, **labels)


def as_finding(quantity: str, estimate: Estimate, method: str, **labels) -> Finding:
    """An estimate of the statistics as a finding."""
    return Finding(quantity, estimate.value, estimate.n, method, estimate.low, estimate.high, **labels)


def patient_of(case: Case) -> str:
    """Whose image a case is: cases of one patient stay together in every interval. Without a patient it is its own."""
    return f"patient {case.patient_id}" if case.patient_id else f"case {case.case_id}"


def join(study: Study, answers: Iterable[Answer]) -> list[Read]:
    """Each answer with its case, by reader and position. Raises StudyError where an answer is about no case."""
    ordered = sorted(answers, key=lambda answer: (answer.reader, answer.position))
    for answer in ordered:
        if answer.case_id not in study.cases:
            raise StudyError(
                f"reader '{answer.reader}' answered case '{answer.case_id}', which is not in {study.folder}. Give the "
                "database that belongs to this study."
            )
    return [Read(answer, study.cases[answer.case_id]) for answer in ordered]


def answered(reads: Iterable[Read], unclear: Treatment) -> tuple[list[Read], list[bool]]:
    """The reads that are right or wrong where `unclear` counts so, and whether each is right."""
    right = [(read, correct) for read in reads if (correct := read.correct(unclear)) is not None]
    return [read for read, _ in right], [correct for _, correct in right]


def of_kind(reads: Iterable[Read], *kinds: str) -> list[Read]:
    return [read for read in reads if read.answer.kind in kinds]


def readers_of(reads: Iterable[Read]) -> list[str]:
    return sorted({read.reader for read in reads})


def modalities_of(reads: Iterable[Read]) -> list[str]:
    """The modalities, MR first, as the paper has them."""
    return sorted({read.case.modality for read in reads}, reverse=True)


def arms_of(reads: Iterable[Read]) -> list[str]:
    """The synthetic arms."""
    return sorted({read.case.arm for read in reads if read.phony})


def select(reads: Iterable[Read], *, reader: str = ALL, modality: str = ALL, arm: str = ALL) -> list[Read]:
    """The reads of one reader, modality and synthetic arm; real controls belong to every arm."""
    return [
        read
        for read in reads
        if reader in (ALL, read.reader)
        and modality in (ALL, read.case.modality)
        and (arm in (ALL, read.case.arm) or not read.phony)
    ]


def with_controls(reads: Iterable[Read]) -> bool:
    """Whether any case is real: without one, nothing can be said on how well readers know a real image."""
    return any(not read.phony for read in reads)


def all_and_each(names: Sequence[str]) -> list[str]:
    """All together, then each where there is a choice; a single one says the same as all."""
    return [ALL, *(names if len(names) > 1 else [])]


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """What readers said of cases as numbers, values (R, C), NaN where there is none."""

    readers: tuple[str, ...]
    cases: tuple[Case, ...]
    values: NDArray[np.float64]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether each case is phony, (C,)."""
        return np.array([case.truth == "phony" for case in self.cases], dtype=bool)

    @property
    def patients(self) -> NDArray[np.str_]:
        return np.array([patient_of(case) for case in self.cases])


def table_of(reads: Sequence[Read], value: Callable[[Read], float | None]) -> AnswerTable:
    """A number of each answer, for all readers and all cases, by id, that any of them answered; None is no answer."""
    cases = sorted({read.case.case_id: read.case for read in reads}.values(), key=lambda case: case.case_id)
    readers = readers_of(reads)
    row, column = ({key: i for i, key in enumerate(keys)} for keys in (readers, (case.case_id for case in cases)))
    values = np.full((len(readers), len(cases)), np.nan)
    for read in reads:
        values[row[read.reader], column[read.case.case_id]] = value(read)  # None becomes NaN
    return AnswerTable(tuple(readers), tuple(cases), values)


def find(findings: Sequence[Finding], quantity: str, **labels: str) -> Finding | None:
    """The one finding of this quantity and these labels (`all` where not given); None if there is none."""
    wanted = {"quantity": quantity, "reader": ALL, "modality": ALL, "arm": ALL} | labels
    matching = (one for one in findings if all(getattr(one, key) == value for key, value in wanted.items()))
    return next(matching, None)
