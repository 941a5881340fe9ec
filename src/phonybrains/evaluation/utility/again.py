"""What would other test people, and networks that begin otherwise, have scored?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...statistics.bootstrap import SHARE, Drawn, drawn_again
from ..arrays import Array


@dataclass(frozen=True)
class Again:
    """Draws of test people and of seeds, the same for all arms, so that differences are paired.

    weights: how often each image counts, (draws + 1, n), the first row being everybody once. seeds: those of each draw,
    (draws, S). One seed alone says nothing of others.
    """

    weights: Array
    seeds: Array
    people: int

    @classmethod
    def of(cls, people: Sequence[str], seeds: int, draws: int, rng: np.random.Generator) -> Again:
        weights = np.concatenate([np.ones((1, len(people))), drawn_again(people, draws, rng)])
        return cls(weights, rng.integers(seeds, size=(draws, seeds)), len(set(people)))

    def mean(self, each: Array) -> Drawn:
        """The mean over seeds of what each scores, 0…1, under each row of weights, (S, draws + 1)."""
        drawn = np.take_along_axis(each[:, 1:].T, self.seeds, axis=1).mean(axis=1)
        alone = (each[:, 1:].mean(axis=0), self.people), (each[self.seeds, 0].mean(axis=1), len(each))
        return Drawn(float(each[:, 0].mean()), drawn, self.people, SHARE, alone)
