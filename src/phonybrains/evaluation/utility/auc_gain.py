"""What an arm gains over another: AUC on the same test people, drawn again together; and can its odds be trusted?"""

from __future__ import annotations

import numpy as np

from ...statistics.bootstrap import Drawn, still_area
from ..arrays import Array
from .again import Again

BINS = 10


def weighted_auc(scores: Array, positive: Array, weights: Array) -> Array:
    """AUC under each row of image weights (B, n), (B,): ties count half; NaN where a side has no weight.

    With weights of 1 it is the usual AUC.  [Bamber 1975]
    """
    values, place = np.unique(scores, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    for_positive, for_negative = weights * positive, weights * ~positive
    high, low = (np.add.reduceat(w[:, order], starts, axis=1) for w in (for_positive, for_negative))
    below = np.cumsum(low, axis=1) - low / 2
    totals = high.sum(axis=1) * low.sum(axis=1)
    return np.divide((high * below).sum(axis=1), totals, out=np.full(len(totals), np.nan), where=totals > 0)


def macro_auc(probabilities: Array, truth: Array, weights: Array) -> Array:
    """The mean over labels of one against the rest, (B,), of probabilities (n, K); with two labels, the AUC."""
    labels = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    shown = [k for k in labels if 0 < (truth == k).sum() < len(truth)]
    found = np.array([weighted_auc(probabilities[:, k], truth == k, weights) for k in shown]).reshape(-1, len(weights))
    known, total = np.isfinite(found).sum(axis=0), np.nan_to_num(found).sum(axis=0)
    return np.divide(total, known, out=np.full(len(weights), np.nan), where=known > 0)


def auc_of(probabilities: Array, truth: Array, again: Again) -> Drawn:
    """Mean AUC over seeds, (S, n, K), drawing people and seeds again.

    It rests on as many people as show the rarest label: two with a lesion say little, however many have none.
    """
    people, rest = min((again.people(truth == label), again.people(truth != label)) for label in np.unique(truth))

    def still(value: float, draws: int, rng: np.random.Generator) -> Array:
        return still_area(value, people, rest, draws, rng)

    return again.mean(np.array([macro_auc(one, truth, again.weights) for one in probabilities]), people, still)


def brier(probabilities: Array, truth: Array) -> Array:
    """Squared error of the probabilities of each image, (n,): 0 is sure and right, 2 sure and wrong.  [Brier 1950]"""
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


def calibration_error(probabilities: Array, truth: Array) -> float:
    """Expected calibration error of the likeliest label over ten bins: mean gap of confidence and share right.

    [Naeini 2015; Guo 2017, eq. 3]
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))
