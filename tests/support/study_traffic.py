"""Whether what is known of each presentation tells real from synthetic: a permutation test that knows the design."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.study import Case, Study

DRAWS = 9999


def cases_in_order(study: Study, reader: str) -> list[Case]:
    """The cases as a reader sees them."""
    return [study.cases[shown.case_id] for shown in presentations(study, reader)]


def groups_of(cases: Sequence[Case]) -> NDArray[np.int64]:
    """A number for each presentation, equal for those of one modality: within it the order shuffles truth."""
    known = sorted({case.modality for case in cases})
    return np.array([known.index(case.modality) for case in cases])


def leak_p_value(table: ArrayLike, truth: ArrayLike, groups: ArrayLike, draws: int = DRAWS, seed: int = 0) -> float:
    """How often chance alone would tell as much of truth as this table, (presentations, features), does; exact.

    Chance is truth shuffled again within groups, as the design shuffled it. Two tests, of the single feature that
    tells most and of all features together, each of ranks and of distances from the middle rank; the lesser p counts,
    among the lesser ones of all draws.
    """
    groups, features = np.asarray(groups), _features(np.asarray(table, float), np.asarray(groups))
    if not features.shape[1]:
        return 1.0
    signs = _shuffled(np.where(np.asarray(truth, bool), 1.0, -1.0), groups, draws, np.random.default_rng(seed))
    pull = (signs @ features) ** 2  # of truth as it is, then of each draw
    tests = np.stack([pull.max(axis=1), pull.sum(axis=1)]).round(9)
    p_values = (len(signs) - rankdata(tests, method="min", axis=1) + 1) / len(signs)
    least = p_values.min(axis=0)
    return float((least <= least[0]).mean())


def _features(table: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ranks and their distances from the middle, centred within groups and of equal length; what is constant goes."""
    ranks = rankdata(table, axis=0)
    found = np.hstack([ranks, np.abs(ranks - (len(table) + 1) / 2)])
    for group in np.unique(groups):
        found[groups == group] -= found[groups == group].mean(axis=0)
    lengths = np.linalg.norm(found, axis=0)
    return found[:, lengths > 1e-9] / lengths[lengths > 1e-9]


def _shuffled(
    signs: NDArray[np.float64], groups: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The signs as they are, then shuffled within groups: (1 + draws, presentations)."""
    by_group = np.argsort(groups, kind="stable")
    places = np.argsort(groups + rng.random((draws, len(groups))), axis=1)
    shuffled = np.empty((draws, len(groups)))
    np.put_along_axis(shuffled, places, np.broadcast_to(signs[by_group], places.shape), axis=1)
    return np.vstack([signs, shuffled])
