"""`phonybrains study simulate`: readers of given skill, bias and fatigue read a study, for rehearsals.

A case looks so phony to a reader: ± d'/2 by its truth, plus what all readers find odd or usual about the case, what
this reader finds so, and what changes from one showing to the next; the three add up to variance 1. Above criterion the
reader says phony, below real, near it unclear; confidence grows with the distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from ..errors import ConfigError
from ..wording import count_of
from .design.order import keyed_generator, presentations
from .study import CALLS, Answer, Mark, Study

Floats = NDArray[np.float64]
SECONDS, MARKED, DESCRIBED, ATTENTIVE = 12.0, 0.5, 0.4, 0.98
REMARKS = (
    "ventricles asymmetric",
    "cortex too smooth",
    "grey-white border lost",
    "no abnormality seen",
    "texture odd near the skull",
    "looks healthy",
)


@dataclass(frozen=True)
class Skill:
    """How simulated readers see and answer."""

    d_prime: float = 1.0
    """Mean distance of phony from real, in standard deviations; 0 is guessing."""
    spread: float = 0.3
    """Standard deviation of d' over readers."""
    criterion: float = 0.0
    """Above it a reader says phony; below 0 is a leaning towards phony."""
    unclear: float = 0.05
    """Share of answers that are unclear."""
    shared: float = 0.3
    """Share of variance that all readers find in the same cases."""
    retest: float = 0.2
    """Share of variance that changes when the same reader sees a case again."""
    fatigue: float = 0.0
    """Loss of d' from the first presentation to the last."""

    def __post_init__(self) -> None:
        shares = (self.shared, self.retest, 1 - self.shared - self.retest)
        if min(shares) < -1e-12 or not 0 <= self.unclear < 1 or self.spread < 0:
            raise ConfigError(
                "shares of variance lie between 0 and 1 and add up to 1 at most; unclear lies between 0 and 1; spread "
                "is not negative."
            )


def half_width(skill: Skill, share_phony: float) -> float:
    """Half the width of the zone around the criterion in which a reader of mean d' says unclear."""
    if skill.unclear == 0:
        return 0.0

    def inside(width: float, mean: float) -> float:
        return ndtr(skill.criterion + width - mean) - ndtr(skill.criterion - width - mean)

    def excess(width: float) -> float:
        phony, real = inside(width, skill.d_prime / 2), inside(width, -skill.d_prime / 2)
        return share_phony * phony + (1 - share_phony) * real - skill.unclear

    return float(brentq(excess, 0.0, 40.0))  # pyright: ignore[reportArgumentType]


def answer_evidence(evidence: Floats, skill: Skill, width: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Calls, as places in `CALLS`, and confidences 0…100: 100 (2 Φ(distance from the criterion) - 1), rounded."""
    distance = evidence - skill.criterion
    calls = np.where(np.abs(distance) < width, 2, np.where(distance > 0, 1, 0))
    return calls, np.rint(100 * (2 * ndtr(np.abs(distance)) - 1)).astype(np.int64)


def simulate_study(
    study: str | Path,
    *,
    readers: int | Sequence[str] = 5,
    skill: Skill = Skill(),
    database: str | None = None,
    seed: int = 0,
    show: bool = True,
) -> list[str]:
    """Let simulated readers read a study to its end, in a database without other readers, which is marked for good.

    readers: how many, called `simulated 1` and so on, or their names. The report says that they are simulated. Returns
    their names. Raises StudyError if a name is taken, somebody else reads here or the database is in use; nothing is
    written then.
    """
    from .store import open_store

    opened = Study.open(study)
    names = [f"simulated {i + 1}" for i in range(readers)] if isinstance(readers, int) else list(readers)
    if not names:
        raise ConfigError("give at least one reader to simulate.")
    answers = simulate_answers(opened, names, skill, seed)
    with open_store(opened, database) as store:
        store.import_readers(answers, source="simulated")
    if show:
        following = f"Next: phonybrains study analyse {quote(str(study))}"
        print(f"{study}: {count_of(len(answers), 'answer')} of {count_of(len(names), 'simulated reader')}. {following}")
    return names


def simulate_answers(study: Study, readers: Sequence[str], skill: Skill, seed: int = 0) -> list[Answer]:
    """The answers of simulated readers to all they are to see, by reader and position; equal seed, equal answers."""
    rng = np.random.default_rng(seed)
    cases = sorted(study.cases)
    truth = np.array([study.cases[case].truth == "phony" for case in cases])
    shared = dict(zip(cases, math.sqrt(skill.shared) * rng.standard_normal(len(cases)), strict=True))
    width = half_width(skill, float(truth.mean()))
    return [
        answer
        for name in readers
        for answer in _read_through(study, name, skill, shared, width, keyed_generator(seed, f"simulate {name}"))
    ]


def _read_through(
    study: Study, name: str, skill: Skill, shared: dict[str, float], width: float, rng: np.random.Generator
) -> list[Answer]:
    d_prime = skill.d_prime + skill.spread * rng.standard_normal()
    own_share = max(0.0, 1 - skill.shared - skill.retest)
    own = {case: math.sqrt(own_share) * rng.standard_normal() for case in sorted(study.cases)}
    answers = []
    shown = presentations(study, name)
    for one in shown:
        phony = study.cases[one.case_id].truth == "phony"
        tired = d_prime - skill.fatigue * (one.position - 1) / max(1, len(shown) - 1)
        evidence = (0.5 if phony else -0.5) * tired + shared[one.case_id] + own[one.case_id]
        evidence += math.sqrt(skill.retest) * rng.standard_normal()
        if one.kind == "check":
            evidence = skill.criterion + (3.0 if rng.random() < ATTENTIVE else -1.0)
        calls, confidences = answer_evidence(np.array([evidence]), skill, width)
        call = CALLS[int(calls[0])]
        marks = tuple(_mark(one.case_id, rng) for _ in range(int(call == "phony" and rng.random() < MARKED)))
        text = f"simulated: {REMARKS[int(rng.integers(len(REMARKS)))]}" if rng.random() < DESCRIBED else ""
        seconds = SECONDS * math.exp(0.4 * rng.standard_normal()) * (1 + math.exp(-one.position / 10))
        answers.append(
            Answer(name, one.position, one.kind, one.case_id, call, int(confidences[0]), text, marks, round(seconds, 1))
        )
    return answers


def _mark(case_id: str, rng: np.random.Generator) -> Mark:
    """A spot near a place that is the case's own."""
    place = np.random.default_rng(int.from_bytes(case_id.encode()[:8], "big")).uniform(0.35, 0.65, 2)
    x, y = np.clip(place + 0.06 * rng.standard_normal(2), 0, 1)
    return Mark(round(float(x), 4), round(float(y), 4))
