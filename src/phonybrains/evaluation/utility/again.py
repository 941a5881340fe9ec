"""What would other test people, and networks that begin otherwise, have scored?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...statistics.bootstrap import SHARE, Drawn, drawn_again, is_still, still_share
from ..arrays import Array

Still = Callable[[float, int, np.random.Generator], Array]
"""Draws of a value, so many, where no person changes it."""


@dataclass(frozen=True)
class Again:
    """Draws of test people and of seeds, the same for all arms, so that differences are paired.

    weights: how often each image counts, (draws + 1, n), the first row being everybody once. seeds: those of each draw,
    (draws, S). One seed alone says nothing of others. who: a number for each image's person, (n,).
    """

    weights: Array
    seeds: Array
    who: Array
    rng: np.random.Generator

    @classmethod
    def of(cls, people: Sequence[str], seeds: int, draws: int, rng: np.random.Generator) -> Again:
        weights = np.concatenate([np.ones((1, len(people))), drawn_again(people, draws, rng)])
        who = np.unique(np.asarray(people), return_inverse=True)[1]
        return cls(weights, rng.integers(seeds, size=(draws, seeds)), who, rng)

    def people(self, inside: Array | slice = slice(None)) -> int:
        """How many people these images, (n,) booleans, show."""
        return len(np.unique(self.who[inside]))

    def mean(self, each: Array, people: int | None = None, still: Still | None = None) -> Drawn:
        """The mean over seeds of what each scores, 0…1, under each row of weights, (S, draws + 1).

        people: on how many it rests, by default all. Where neither they nor seeds change it, as an AUC of 1, it is
        drawn of `still`, by default of `still_share`.
        """
        units, value = people or self.people(), float(each[:, 0].mean())
        drawn = np.take_along_axis(each[:, 1:].T, self.seeds, axis=1).mean(axis=1)
        alone = (each[:, 1:].mean(axis=0), units), (each[self.seeds, 0].mean(axis=1), len(each))
        if not is_still(drawn):
            return Drawn(value, drawn, units, SHARE, alone)
        drawn = still(value, len(drawn), self.rng) if still else still_share(value, units, len(drawn), self.rng)
        return Drawn(value, drawn, math.inf, SHARE, ((drawn, math.inf), (np.zeros(len(drawn)), len(each))))
