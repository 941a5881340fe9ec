"""How often do intervals hold what is true, where slices show few people? Simulated sets whose truth is known.

    python -m bench few_people_intervals --sets 300

The AUC of two kinds of people, three images each and .7 of the variance a person's; the KID of a group, and the share
that a classifier tells right, of images that come of one source, half of the variance a person's. Beside them how often
an AUC of 1.00 is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy.stats import norm

from phonybrains.evaluation.bias.worst_group import OfPeople, measure_groups
from phonybrains.evaluation.quality.c2st import two_sample
from phonybrains.evaluation.quality.nulls import deal_like
from phonybrains.evaluation.utility.again import Again
from phonybrains.evaluation.utility.auc_gain import auc_of
from phonybrains.statistics.estimate import Estimate

from .options import measurement
from .timing import table

AREAS = (
    (3, 5, 0.97),
    (4, 4, 0.9),
    (4, 4, 0.99),
    (5, 15, 0.97),
    (10, 10, 0.97),
    (3, 38, 0.9),
    (10, 31, 0.9),
    (20, 20, 0.8),
)
"""People with a lesion and without, and the AUC in truth."""
SLICES = ((6, 10), (10, 6), (20, 5))
"""People, and images of each."""
DRAWS = 400


def area(positives: int, negatives: int, truth: float, rng: np.random.Generator) -> tuple[Estimate, float]:
    """An AUC of two learners that agree, and what it is in truth."""
    who = np.repeat(np.arange(positives + negatives), 3)
    shows = (who < positives).astype(int)
    scores = np.sqrt(0.7) * rng.normal(size=positives + negatives)[who] + np.sqrt(0.3) * rng.normal(size=len(who))
    scores += norm.ppf(truth) * np.sqrt(2) * shows
    sure = 1 / (1 + np.exp(-scores))
    again = Again.of([str(person) for person in who], 2, DRAWS, rng)
    return auc_of(np.stack([np.stack([1 - sure, sure], axis=1)] * 2), shows, again).estimate(len(who)), truth


def of_people(people: int, each: int, width: int, rng: np.random.Generator) -> OfPeople:
    """Features of images, half of their variance a person's."""
    who = np.repeat(np.arange(people), each)
    seen = (rng.normal(size=(people, width))[who] + rng.normal(size=(len(who), width))) / np.sqrt(2)
    return OfPeople(seen, [str(person) for person in who])


def distance(people: int, each: int, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The KID of a group of images of the very source, which is 0 in truth."""
    real, others = (of_people(people, each, 16, rng) for _ in range(2))
    made = rng.normal(size=(len(real), 16))
    (group,) = measure_groups({"": made}, {"": real}, {"": others}, 20, 5, rng)
    assert group.limits is not None
    return group.limits, 0.0


def told(people: int, each: int, rng: np.random.Generator) -> tuple[Estimate, float]:
    """The share that a classifier tells right where there is nothing to tell."""
    real = of_people(people, each, 8, rng)
    who = np.array(real.people)
    folds = np.unique(who, return_inverse=True)[1] % 2
    made = rng.normal(size=(len(who), 8))
    return two_sample(real.features, made, folds, deal_like(folds, len(made), rng), patients=who).accuracy, 0.5


def every(rng: np.random.Generator) -> Iterator[tuple[str, Estimate, float]]:
    """Each thing's name, its interval in one simulated set, and what it is in truth."""
    for positives, negatives, truth in AREAS:
        yield f"AUC {truth} of {positives} + {negatives} people", *area(positives, negatives, truth, rng)
    for people, each in SLICES:
        yield f"KID of a group, {people} people of {each}", *distance(people, each, rng)
        yield f"told right, {people} people of {each}", *told(people, each, rng)


app = measurement(__name__, __doc__)


@app.default
def main(*, sets: int = 300, seed: int = 0, out: Path | None = None) -> dict[str, float]:
    """Count the intervals that hold the truth, those above it, and those of a value of 1.00.

    Args:
        sets: Simulated sets.
        seed: Start of the random numbers.
        out: File for the table.
    """
    found: dict[str, list[tuple[bool, bool, bool]]] = {}
    for i in track(range(sets), "sets", transient=True):
        for name, own, truth in every(np.random.default_rng([seed, i])):
            found.setdefault(name, []).append((own.low <= truth <= own.high, own.low > truth, own.value == 1))
    shares = {name: np.mean(each, axis=0) for name, each in found.items()}
    rows = [[name, *(f"{share:.1%}" for share in each)] for name, each in shares.items()]
    text = table(["of", "holds the truth", "lies above", "1.00 seen"], rows)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    return {name: float(each[0]) for name, each in shares.items()}
