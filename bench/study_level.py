"""How often the registered test says something where nothing is, and how often it finds what is there.

    python bench/study_level.py level --studies 1000 --out level.csv
    python bench/study_level.py power --studies 2000 --out power.csv

Level: readers guess, each with a criterion and a share of unclear answers; what a case looks like to all of them is
unrelated to its truth. Counted is each study whose registered sentence says that readers told phony from real; for the
all-phony design, that phony images were called real more or less often than half, with readers who lean to neither side.
Power: studies drawn as `phonybrains study power` assumes, beside the power that it plans. The tests are those of the
reports: `findings.registered.run_test`, with fewer draws of the randomisation.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from phonybrains.readerstudy.config import PlanConfig, StudyConfig
from phonybrains.readerstudy.findings.primary import AUC, BALANCED, CALLED_REAL, SAID_PHONY, Table
from phonybrains.readerstudy.findings.registered import population_of, run_test
from phonybrains.readerstudy.power import Assumed, study_power
from phonybrains.readerstudy.simulate import Skill, answer_evidence, draw_evidence, half_width, scores_of
from phonybrains.readerstudy.study import CALLS

Floats = NDArray[np.float64]
DRAWS = 999
MIXES = {"40:40": (40, 40), "80:40": (80, 40), "20:20": (20, 20), "all phony": (40, 0)}
CRITERIA, UNCLEAR, READERS = (0.0, 0.7, -1.5, 2.2), (0.0, 0.1, 0.2, 0.5), (1, 2, 3, 5)


@dataclass(frozen=True)
class Cell:
    """One kind of study of guessers: how many of which cases, who reads, how they lean."""

    primary: str
    mix: str
    readers: int
    criterion: float
    unclear: float
    shared: float = 0.3
    spread: float = 0.0
    confidence: bool = True
    patients: int = 0
    """Real images of one patient; 0: each its own."""


def cells() -> Iterator[Cell]:
    """Every criterion, share of unclear, mix and number of readers; then what else a guesser may have."""
    for mix, readers, criterion, unclear in product(MIXES, READERS, CRITERIA, UNCLEAR):
        if mix == "all phony":
            if criterion == 0:
                yield Cell(CALLED_REAL, mix, readers, criterion, unclear)
        else:
            primary = (AUC, BALANCED)[(READERS.index(readers) + CRITERIA.index(criterion) + UNCLEAR.index(unclear)) % 2]
            yield Cell(primary, mix, readers, criterion, unclear)
    for readers, mix in product(READERS, ("80:40", "40:40")):
        yield Cell(AUC, mix, readers, 1.5, 0.1, confidence=False)
        yield Cell(BALANCED, mix, readers, 0.7, 0.1, shared=0.8)
        yield Cell(AUC, mix, readers, 0.7, 0.1, shared=0.8, spread=0.3)
        yield Cell(BALANCED, mix, readers, 0.7, 0.1, shared=0.5, patients=4)


def draw_table(cell: Cell, rng: np.random.Generator) -> Table:
    """The answers of one study."""
    phony, real = MIXES[cell.mix]
    truth = np.arange(phony + real) < phony
    skill = Skill(0.0, cell.spread, cell.criterion, cell.unclear, cell.shared, retest=0.0)
    patients = np.arange(phony + real)
    if cell.patients:
        patients[phony:] = phony + np.arange(real) // cell.patients
    seen = draw_evidence(truth, cell.spread * rng.standard_normal(cell.readers), skill, rng)
    if cell.patients:
        share = np.sqrt(cell.shared)
        seen += share * (rng.standard_normal(len(truth))[patients] - rng.standard_normal(len(truth)))
    calls, confidences = answer_evidence(seen, skill, half_width(skill, 0.5))
    return as_table(cell.primary, calls, confidences if cell.confidence else np.full_like(calls, 50), truth, patients)


def as_table(primary: str, calls: NDArray, confidences: NDArray, truth: NDArray, patients: NDArray) -> Table:
    said = np.array([SAID_PHONY[call] for call in CALLS])[calls]
    values = {AUC: scores_of(calls, confidences), BALANCED: said, CALLED_REAL: 1 - said}[primary]
    names = tuple(f"R{i}" for i in range(len(values)))
    whole = None if primary == CALLED_REAL else truth
    return Table(primary, names, values, whole, np.full(len(truth), "MR"), patients.astype(str))


def measure_level(cell: Cell, studies: int, seed: int) -> Mapping[str, object]:
    """How many studies are said to have found what is not there."""
    plan = PlanConfig(primary=cell.primary, hypothesis="difference")  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng([seed, abs(hash(str(cell))) if False else _number(cell)])
    found = 0
    for _ in range(studies):
        tested = run_test(draw_table(cell, rng), plan, population_of(["R"] * cell.readers), seed, DRAWS)
        found += tested is not None and tested.p is not None and tested.p < 1 - plan.level
    return vars(cell) | {"studies": studies, "found": found, "share": found / studies}
