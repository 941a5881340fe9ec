"""One corpus and one set of new heads for all audits; what is searched for in it is searched for once, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.memorisation.audit import memorisation_audit
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import draw_patient, draw_phantom, draw_slice
from tests.conftest import one_at_a_time
from tests.support.image_files import written

VALUES = {"one": 1, "two": 2, "five": 5, "ten": 10, "forty": 40}
TRAINED, PEOPLE, SIDE = sum(VALUES.values()), 74, 128

Audit = Callable[..., Findings]


def slice_of(person: int, up_mm: float) -> np.ndarray:
    """A slice of a head of the corpus, so far above its middle; the noise is each slice's own."""
    patient = draw_patient(default_rng([1, person]), "CT")
    rng = default_rng([2, person, round(up_mm)])
    return draw_slice(rng, patient, "axial", patient.centre[2] + up_mm, size=SIDE, noise=0.5)[0]


@pytest.fixture(scope="session")
def corpus(shared_folder: Path) -> ImageSet:
    """58 training people, of whom 1, 2, 5, 10 and 40 show a value each, and 16 held-out ones; two slices of each."""
    with one_at_a_time(shared_folder, "people") as folder:
        if folder.exists():
            return ImageSet.open(folder)
        people = [number for number in range(PEOPLE) for _ in range(2)]
        value_of = [name for name, n in VALUES.items() for _ in range(n)] + ["forty"] * (PEOPLE - TRAINED)
        return written(
            folder,
            (slice_of(person, 9.0 * (i % 2)) for i, person in enumerate(people)),
            patient_id=[f"person-{person}" for person in people],
            split=["train" if person < TRAINED else "test" for person in people],
            attributes=[{"value": value_of[person]} for person in people],
        )


@pytest.fixture(scope="session")
def training(corpus: ImageSet) -> ImageSet:
    return corpus.where(split="train")


@pytest.fixture(scope="session")
def new_heads(shared_folder: Path) -> ImageSet:
    """30 heads of nobody in the corpus, six under each of its values."""
    with one_at_a_time(shared_folder, "new-heads") as folder:
        if folder.exists():
            return ImageSet.open(folder)
        heads = (draw_phantom(default_rng([9, i]), "CT", size=SIDE, noise=0.5)[0] for i in range(30))
        return written(folder, heads, attributes=[{"value": value} for value in list(VALUES) * 6])


@pytest.fixture(scope="session")
def kept(shared_folder: Path) -> Path:
    """Where what was found is kept for the next audit."""
    return shared_folder / "found"


@pytest.fixture(autouse=True)
def few_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few training images calibrate beside the held-out ones, to be fast."""
    monkeypatch.setattr("phonybrains.evaluation.memorisation.threshold.MOST_TURNS", 24)


@pytest.fixture
def audit(corpus: ImageSet, kept: Path) -> Audit:
    """The audit of a set beside the corpus, or another one, with some settings changed."""

    def run(samples: ImageSet, against: ImageSet = corpus, **settings: object) -> Findings:
        return memorisation_audit(samples, against, EvaluateConfig.model_validate(settings), folder=kept)

    return run
