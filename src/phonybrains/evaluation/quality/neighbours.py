"""Precision, recall, density and coverage: do two sets lie in each other's neighbourhoods?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .distances import squared_distances

ROWS = 1024
"""Rows of a matrix of distances at a time."""


@dataclass(frozen=True)
class Neighbourhoods:
    """Shares 0…1, density from 0 up; near 1 for a set like the real one, and see `expected_coverage`.

    precision: of the made images, those inside a real image's ball (radius: its k-th neighbour among the real).
    recall: of the real images, those inside a made image's ball. density: the number of real balls around a made image,
    over k. coverage: of the real images, those whose ball holds a made image.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(made: Array, real: Array, k: int = 5) -> Neighbourhoods:
    """The four measures of made (m, d) against real (n, d) features, in blocks: O((m + n)²) time, O(m + n) memory.

    Raises ValueError unless both sides have more than k images.  [Kynkäänniemi 2019; Naeem 2020]
    """
    if min(len(made), len(real)) <= k:
        raise ValueError(f"The {k} nearest neighbours need more than {k} images a side.")
    around_real, around_made = _radii(real, k), _radii(made, k)
    inside, recalled = np.zeros(len(made)), np.zeros(len(real), dtype=bool)
    nearest = np.full(len(real), np.inf)
    for start in range(0, len(made), ROWS):
        rows = slice(start, start + ROWS)
        apart = squared_distances(made[rows], real)
        inside[rows] = (apart <= around_real).sum(axis=1)
        recalled |= (apart <= around_made[rows, None]).any(axis=0)
        nearest = np.minimum(nearest, apart.min(axis=0))
    shares = (inside > 0).mean(), recalled.mean(), inside.mean() / k, (nearest <= around_real).mean()
    return Neighbourhoods(*map(float, shares))


def covered(made: Array, real: Array, k: int = 5) -> Array:
    """Which real images, (n,) booleans, have a made one within their ball: their share is the coverage."""
    return squared_distances(made, real).min(axis=0) <= _radii(real, k)


def share_inside(made: Array, real: Array, k: int = 5) -> float:
    """Precision alone, which only the real images' balls decide: of any number of made images, a block at a time."""
    around, inside = _radii(real, k), 0
    for start in range(0, len(made), ROWS):
        inside += int((squared_distances(made[start : start + ROWS], real) <= around).any(axis=1).sum())
    return inside / len(made)


def _radii(x: Array, k: int) -> Array:
    """The squared distance of each image to its k-th neighbour, itself not counted."""
    found = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        apart = squared_distances(x[start : start + ROWS], x)
        apart[np.arange(len(apart)), start + np.arange(len(apart))] = -1  # itself, exactly the nearest
        found[start : start + ROWS] = np.partition(apart, k, axis=1)[:, k]
    return found


def expected_coverage(made: int, real: int, k: int = 5) -> float:
    """The coverage of a set drawn from the same distribution: 1 - P(the k nearest of all others are all real).

    [Naeem 2020, eq. 8]
    """
    others, total = real - 1 - np.arange(k), real - 1 + made - np.arange(k)
    return float(1 - np.prod(others / total))
