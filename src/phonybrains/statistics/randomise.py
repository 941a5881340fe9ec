"""Randomisation tests of several readers: that answers depend on the truth, and that they lean to a side.

They hold their level for any leaning, share of ties and mix of cases, where tests from a variance do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from .mrmc import NOTHING
from .multireader import areas, patient_numbers


def leaning_p(deviations: ArrayLike, patients: ArrayLike, rng: Generator, draws: int = 9999) -> float:
    """Two-sided p that answers lie as far above their middle as below: signs exchanged, patient by patient; never 0.

    deviations: (R, C), NaN where not answered; patients: (C,) labels. Twice the smaller tail. [Fisher 1935, section 21]
    """
    _, member = np.unique(np.asarray(patients), return_inverse=True)
    of_cases = np.nansum(np.atleast_2d(np.asarray(deviations, dtype=float)), axis=0)
    away = np.asarray(np.bincount(member, of_cases), dtype=float)
    chance = rng.choice([-1.0, 1.0], size=(draws, len(away))) @ away
    return _two_sided(away.sum(), chance)


def guessing_p(
    scores: ArrayLike,
    truth: ArrayLike,
    patients: ArrayLike | None,
    rng: Generator,
    draws: int = 9999,
    strata: ArrayLike | None = None,
) -> float:
    """Two-sided p that answers do not depend on the truth: the area under the curve if patients' truths are dealt anew.

    Arguments as for areas; strata: (C,), the truth is dealt within each, as within a modality of which readers may
    think as they like. Exact for readers who guess, whatever their criterion, share of unclear answers and mix of
    cases, where patients have as many images each; where not, the statistic is studentised over patients, which holds
    the level for many of them. A patient with cases of both kinds counts as two. Twice the smaller tail, so that either
    direction has half of it. [Chung & Romano 2013, Annals of Statistics 41:484]
    """
    table, positive = np.atleast_2d(np.asarray(scores, dtype=float)), np.asarray(truth).astype(bool)
    areas(table, positive, patients)
    centred = np.zeros_like(table)
    for reader, own in enumerate(~np.isnan(table)):
        centred[reader, own] = rankdata(table[reader, own]) - (own.sum() + 1) / 2
    strata_of = patient_numbers(np.zeros(len(positive)) if strata is None else strata, len(positive))
    keys = np.column_stack([strata_of, patient_numbers(patients, len(positive)), positive])
    units, member = np.unique(keys, axis=0, return_inverse=True)
    moved = np.asarray(np.bincount(member.ravel(), centred.sum(axis=0)), dtype=float)
    labels = units[:, 2].astype(float)
    dealt = np.empty((draws, len(units)))
    for stratum in np.unique(units[:, 0]):
        inside = units[:, 0] == stratum
        moved[inside] -= moved[inside].mean()
        dealt[:, inside] = rng.permuted(np.broadcast_to(labels[inside], (draws, int(inside.sum()))), axis=1)
        dealt[:, inside] -= labels[inside].mean()
        labels[inside] -= labels[inside].mean()
    return _two_sided(_studentised(labels[None], moved), _studentised(dealt, moved))


def _two_sided(found: NDArray[Any], chance: NDArray[Any]) -> float:
    """Twice the smaller tail of what chance gives, (draws,), beyond what was found."""
    tails = [(1 + (side * chance >= side * found - 1e-9).sum()) / (len(chance) + 1) for side in (1, -1)]
    return float(min(2 * min(tails), 1.0))


def _studentised(labels: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    away = labels * moved
    error = np.sqrt((away**2).sum(axis=1))
    return np.divide(away.sum(axis=1), error, out=np.zeros(len(labels)), where=error > NOTHING)
