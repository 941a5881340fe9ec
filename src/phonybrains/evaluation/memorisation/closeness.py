"""How close generated and real images lie to each real person, in the features of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ..inputs.patients import patients
from .search import Search

Array = NDArray[Any]
ROWS, MOST = 512, 2000
"""Images at a time, and real images whose closeness to others is measured, at the most."""


@dataclass(frozen=True)
class Closeness:
    """The highest cosine, -1…1, of an image's features with those of any image of a person, mirrored or not.

    made (n, P): of generated images, with P people; real (N, P): of real ones, whose own person is `owner` (N,) and
    whose number in the corpus is `numbers`. authentic (n, P): whether a generated image lies farther from that person's
    nearest image than this image lies from its own nearest one. trained (P,): who is in the training split.
    """

    made: Array
    authentic: Array
    real: Array
    owner: Array
    numbers: Sequence[int]
    names: Sequence[str]
    trained: Array
    features: str

    @property
    def held_out(self) -> int:
        """How many people are not in the training split."""
        return int((~self.trained).sum())


def closeness_of(
    search: Search, samples: ImageSet, corpus: ImageSet, others: Sequence[int], seed: int = 0
) -> Closeness:
    """Measure it for the generated images of a modality and its corpus; others: numbers of the held-out images."""
    training = [i for i, row in enumerate(corpus.rows) if row.split == "train"]
    numbers, everyone = [*training, *others], patients(corpus.rows)
    names, owner = np.unique([everyone[i] for i in numbers], return_inverse=True)
    stock, mirrored = search.views(corpus, numbers)
    best, which = _nearest_of_each(search.views(samples, range(len(samples))), stock, owner)
    some = np.sort(np.random.default_rng([seed, 13]).permutation(len(numbers))[:MOST])
    real, _ = _nearest_of_each([stock[some], mirrored[some]], stock, owner)
    trained = np.zeros(len(names), dtype=bool)
    trained[owner[: len(training)]] = True
    return Closeness(
        best,
        best < _own(stock)[which],
        real,
        owner[some],
        [numbers[i] for i in some],
        names.tolist(),
        trained,
        search.features_name,
    )


def _nearest_of_each(views: Sequence[Array], stock: Array, owner: Array) -> tuple[Array, Array]:
    """For images seen in some views, each (n, d) of unit length: the highest cosine with each person, and its image."""
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(owner.max() + 2))
    best = np.full((len(views[0]), len(bounds) - 1), -2.0, np.float32)
    which = np.zeros(best.shape, dtype=int)
    for view in views:
        for start in range(0, len(view), ROWS):
            alike = view[start : start + ROWS] @ stock[order].T
            for person, (first, stop) in enumerate(pairwise(bounds)):
                place = alike[:, first:stop].argmax(axis=1)
                found = alike[np.arange(len(alike)), first + place]
                rows = start + np.flatnonzero(found > best[start : start + ROWS, person])
                best[rows, person], which[rows, person] = found[rows - start], order[first + place[rows - start]]
    return best, which


def _own(stock: Array) -> Array:
    """The cosine of each image with the nearest other one, (n,)."""
    found = np.empty(len(stock), np.float32)
    for start in range(0, len(stock), ROWS):
        alike = stock[start : start + ROWS] @ stock.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -2
        found[start : start + ROWS] = alike.max(axis=1)
    return found
