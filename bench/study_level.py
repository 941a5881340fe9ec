"""How often the registered test says something where nothing is, and how often it finds what is there.

    python -m bench study_level level --studies 1000 --out level.csv
    python -m bench study_level power --studies 1000 --out power.csv

Level: readers guess, each with a criterion and a share of unclear answers; what a case looks like to all of them is
unrelated to its truth. Counted is each study whose registered sentence says that readers told phony from real; for the
all-phony design, that phony images were called real more or less often than half, where readers lean to neither side.
Power: studies drawn as `phonybrains study power` assumes, beside the power that it plans. The tests are those of the
reports: `findings.registered.run_test`, with fewer draws of the randomisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from phonybrains.readerstudy.config import PlanConfig, StudyConfig
from phonybrains.readerstudy.design.plan import LEAST_READERS
from phonybrains.readerstudy.design.power import Assumed, study_power
from phonybrains.readerstudy.findings import primary as primaries
from phonybrains.readerstudy.findings.primary import AUC, BALANCED, CALLED_REAL, PrimaryTable
from phonybrains.readerstudy.findings.registered import population_of, run_test
from phonybrains.readerstudy.simulate import Skill, answer_evidence, half_width
from phonybrains.readerstudy.study import CALLS

from .options import measurement, write_rows
from .study_coverage import draw_evidence, scores_of

Floats = NDArray[np.float64]
DRAWS = 999
MIXES = {"40:40": (40, 40), "80:40": (80, 40), "all phony": (40, 0)}
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
        if mix == "80:40" and unclear in (0.1, 0.5):
            continue
        if mix == "all phony":
            if criterion == 0:
                yield Cell(CALLED_REAL, mix, readers, criterion, unclear)
        else:
            primary = (AUC, BALANCED)[(READERS.index(readers) + CRITERIA.index(criterion) + UNCLEAR.index(unclear)) % 2]
            yield Cell(primary, mix, readers, criterion, unclear)
    for readers in READERS:
        yield Cell(AUC, "80:40", readers, 1.5, 0.1, confidence=False)
        yield Cell(BALANCED, "80:40", readers, 0.7, 0.1, shared=0.8)
        if readers >= LEAST_READERS:  # the readers who came differ from 0; readers in general do not
            yield Cell(AUC, "80:40", readers, 0.7, 0.1, shared=0.8, spread=0.3)
        yield Cell(BALANCED, "80:40", readers, 0.7, 0.1, shared=0.5, patients=4)


def draw_table(cell: Cell, rng: np.random.Generator) -> PrimaryTable:
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


def as_table(primary: str, calls: NDArray, confidences: NDArray, truth: NDArray, patients: NDArray) -> PrimaryTable:
    said = np.array([primaries.SAID_PHONY[call] for call in CALLS])[calls]
    values = {AUC: scores_of(calls, confidences), BALANCED: said, CALLED_REAL: 1 - said}[primary]
    names = tuple(f"R{i}" for i in range(len(values)))
    whole = None if primary == CALLED_REAL else truth
    return PrimaryTable(primary, names, values, whole, np.full(len(truth), "MR"), patients.astype(str))


def measure_level(cell: Cell, studies: int, seed: int) -> dict[str, object]:
    """How many studies are said to have found what is not there, in either direction, and that readers can tell."""
    plan = PlanConfig.model_validate({"primary": cell.primary, "hypothesis": "difference"})
    population = population_of(["R"] * cell.readers)
    rng = np.random.default_rng([seed, *str(cell).encode()])
    found = told = 0
    for _ in range(studies):
        table = draw_table(cell, rng)
        by_model = primaries.infer(table, plan.level, population == "readers in general")
        if by_model is None or by_model.half.p_value >= 1 - plan.level:
            continue  # p is the larger of two, and this one is large already
        tested = run_test(table, plan, population, seed, DRAWS)
        found += tested is not None and tested.p is not None and tested.p < 1 - plan.level
        told += tested is not None and "better than chance" in tested.sentence
    return vars(cell) | {"studies": studies, "found": found, "told": told, "share": found / studies}


# --- Power -----------------------------------------------------------------------------------------------------------

PLANS = ((2, 40, 40, 0.1), (2, 80, 80, 0.1), (3, 80, 80, 0.15), (5, 80, 40, 0.15), (8, 100, 100, 0.1))
SD, SHARED = 0.05, 0.42


def measure_power(plan: tuple[int, int, int, float], primary: str, studies: int, seed: int) -> dict[str, object]:
    """Studies drawn as `study power` assumes: how many find the effect, beside the power planned."""
    readers, phony, real, effect = plan
    names = tuple(f"R{i}" for i in range(readers))
    truth = np.arange(phony + real) < phony
    config = PlanConfig.model_validate({"primary": primary, "hypothesis": "difference"})
    population, rng = population_of(names), np.random.default_rng([seed, readers, phony, real])
    found, correlations, general = 0, [], population == "readers in general"
    for _ in range(studies):
        true = np.clip(0.5 + effect + (SD * rng.standard_normal(readers) if general else np.zeros(readers)), 0.02, 0.98)
        d_prime = (math.sqrt(2) if primary == AUC else 2) * ndtri(true)
        seen = draw_evidence(truth, d_prime, Skill(0.0, shared=SHARED, retest=0.0), rng)
        calls, confidences = answer_evidence(seen, Skill(), 0.0)
        table = as_table(primary, calls, confidences, truth, np.arange(phony + real))
        covariance = primaries.figures_of(table).covariance
        between = (covariance.sum() - covariance.trace()) / (readers * (readers - 1))
        correlations.append(between / (covariance.trace() / readers))
        tested = run_test(table, config, population, seed, DRAWS)
        found += tested is not None and tested.shown is True
    assumed = Assumed(effect, float(np.mean(correlations)), SD if general else 0.0)
    counts = {"synthetic": {"MR": phony}, "real": {"MR": real}, "readers": names}
    planned = study_power(StudyConfig.model_validate(counts | {"plan": config.model_dump()}), assumed=assumed)
    power = planned.in_general if general else planned.these
    kind = {"primary": primary, "readers": readers, "phony": phony, "real": real, "effect": effect}
    return kind | {"population": population, "planned": power, "simulated": found / studies, "studies": studies}


app = measurement(__name__, __doc__)


@app.default
def main(what: Literal["level", "power"], /, *, studies: int = 1000, seed: int = 0, out: Path) -> None:
    """Simulate studies of every kind and write a row for each.

    Args:
        what: Guessers, or studies as they are planned.
        studies: Of each kind.
        seed: Start of the random numbers.
        out: CSV file.
    """
    if what == "level":
        rows = (measure_level(cell, studies, seed) for cell in cells())
    else:
        rows = (measure_power(plan, primary, studies, seed) for plan in PLANS for primary in (AUC, BALANCED))
    write_rows(out, rows)
