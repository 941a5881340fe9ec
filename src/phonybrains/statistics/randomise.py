"""The sign test over cases, for answers that lean to neither side."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

__all__ = ["leaning_p"]


def leaning_p(deviations: ArrayLike, patients: ArrayLike, rng: Generator, draws: int = 9999) -> float:
    """Two-sided p that answers lie as far above their middle as below: signs exchanged, patient by patient; never 0.

    deviations: (R, C), NaN where not answered; patients: (C,) labels. Twice the smaller tail. [Fisher 1935, section 21]
    """
    _, member = np.unique(np.asarray(patients), return_inverse=True)
    away = np.bincount(member, np.nansum(np.atleast_2d(np.asarray(deviations, dtype=float)), axis=0))
    chance = rng.choice([-1.0, 1.0], size=(draws, len(away))) @ away
    tails = [(1 + (side * chance >= side * away.sum() - 1e-9).sum()) / (draws + 1) for side in (1, -1)]
    return float(min(2 * min(tails), 1.0))
