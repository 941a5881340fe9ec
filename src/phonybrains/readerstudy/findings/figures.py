"""What readers said of each image: what all called phony or real, their notes, and where they pointed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..study import Answer, Case, Study
from .reads import Read, modalities_of, readers_of, select

NOTES, BLUR = 12, 0.04


@dataclass(frozen=True, slots=True)
class CaseAnswers:
    """One test case and each reader's first answer to it."""

    case: Case
    answers: tuple[Answer, ...]

    def count(self, call: str) -> int:
        return sum(answer.call == call for answer in self.answers)

    @property
    def described(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.description.strip()]


def gather_cases(reads: Sequence[Read]) -> list[CaseAnswers]:
    """The answers to each test case, MR first."""
    cases = {read.case.case_id: read.case for read in reads}
    ordered = sorted(cases.values(), key=lambda case: (modalities_of(reads).index(case.modality), case.case_id))
    return [CaseAnswers(case, tuple(r.answer for r in reads if r.case.case_id == case.case_id)) for case in ordered]


def unanimous(cases: Sequence[CaseAnswers], call: str, readers: int) -> list[CaseAnswers]:
    """The cases that all of so many readers called this."""
    return [case for case in cases if case.count(call) == readers]


def pick_notes(cases: Sequence[CaseAnswers], most: int = NOTES) -> list[CaseAnswers]:
    """Cases for a table like the paper's: in each modality those most readers described, the longest notes first."""
    described = [case for case in cases if case.described]

    def rank(case: CaseAnswers) -> tuple[int, int, str]:
        return -len(case.described), -sum(len(a.description) for a in case.described), case.case.case_id

    described.sort(key=rank)
    modalities = dict.fromkeys(case.case.modality for case in cases)
    groups = [[case for case in described if case.case.modality == modality] for modality in modalities]
    share = max(1, most // max(1, sum(map(bool, groups))))
    return [case for group in groups for case in group[:share]]


@dataclass(frozen=True, slots=True)
class Heat:
    """Where readers pointed in the images of one modality: marks per image area, over the mean image."""

    modality: str
    mean: NDArray[np.float64]
    density: NDArray[np.float64]
    marks: int
    images: int
    readers: int


def map_marks(study: Study, reads: Sequence[Read]) -> list[Heat]:
    """A map of the marks on phony images, for each modality that has any."""
    maps = []
    for modality in modalities_of(reads):
        phony = [read for read in select(reads, modality=modality) if read.phony]
        marked = [read for read in phony if read.answer.marks]
        if not marked:
            continue
        shape = (study.height, study.width)
        heat, spots = np.zeros(shape), [mark for read in marked for mark in read.answer.marks]
        for mark in spots:
            row, column = np.clip((int(mark.y * study.height), int(mark.x * study.width)), 0, np.subtract(shape, 1))
            heat[row, column] += 1
        heat = gaussian_filter(heat, BLUR * study.width)
        mean = np.mean([to_grey(study, case_id) for case_id in sorted({read.case.case_id for read in phony})], axis=0)
        images = len({read.case.case_id for read in marked})
        maps.append(Heat(modality, mean, heat / heat.max(), len(spots), images, len(readers_of(marked))))
    return maps


def to_grey(study: Study, case_id: str) -> NDArray[np.float64]:
    """An image as a reader first sees it, 0…1: brain window 80/40 in HU, else 1st to 99th percentile."""
    case, pixels = study.cases[case_id], study.pixels(case_id).astype(float)
    values = case.slope * pixels + case.intercept
    low, high = (0.0, 80.0) if case.unit == "HU" else (float(q) for q in np.percentile(values, (1, 99)))
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1)
