"""Who an image shows, so that no person is on both sides of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ...imageset import Row
from ..arrays import Array

RUN_LENGTH = 30
"""At most so many neighbouring images count as one patient where patients are unknown."""


def patients(rows: Sequence[Row]) -> list[str]:
    """Who each image shows: the patient, or where that is unknown its run of neighbouring images in one split."""
    people: list[str] = []
    run = length = 0
    for i, row in enumerate(rows):
        fresh = i == 0 or row.split != rows[i - 1].split or length == RUN_LENGTH
        run, length = (run + 1, 1) if fresh else (run, length + 1)
        people.append(row.patient_id or f"run {run}")
    return people


def some_people(people: Sequence[str], among: Iterable[int], most: int, rng: np.random.Generator) -> list[int]:
    """At most so many of these numbers of images, in order: whole people at random, the last one cut short."""
    numbers = list(among)
    names = rng.permutation(sorted({people[i] for i in numbers})).tolist()
    place = {name: k for k, name in enumerate(names)}
    return sorted(sorted(numbers, key=lambda i: (place[people[i]], i))[:most])


def deal(groups: Sequence[str], folds: int, rng: np.random.Generator) -> Array:
    """The fold of each image, (n,): groups stay whole, each goes to the fold that is smallest so far, large ones first.

    There are fewer folds than asked for where there are fewer groups.
    """
    sizes = Counter(groups)
    order = sorted(rng.permutation(sorted(sizes)).tolist(), key=lambda group: -sizes[group])
    load, place = np.zeros(min(folds, len(sizes)), dtype=int), {}
    for group in order:
        place[group] = int(load.argmin())
        load[place[group]] += sizes[group]
    return np.array([place[group] for group in groups])
