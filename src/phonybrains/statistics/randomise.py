"""Randomisation tests: what a figure would be, were the answers unrelated to the truth, or as often one as the other.

They hold their level for any leaning, any share of ties and any two sample sizes, where tests from a variance do not.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

__all__ = ["exchange_labels", "flip_signs", "label_test", "mean_auc", "mean_difference", "sign_test"]

Array = NDArray[np.float64]
SAME = 1e-9  # two figures that differ by less are equal but for rounding


def exchange_labels(truth: ArrayLike, strata: ArrayLike, draws: int, rng: Generator) -> Array:
    """The truth of the cases, exchanged at random within each stratum: (draws, C) of 0 and 1.

    truth: (C,), True for positive; strata: (C,) labels, such as the modality.
    """
    positive, labels = np.asarray(truth, dtype=float), np.asarray(strata)
    drawn = np.empty((draws, len(positive)))
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        drawn[:, inside] = rng.permuted(np.broadcast_to(positive[inside], (draws, len(inside))), axis=1)
    return drawn


def flip_signs(clusters: ArrayLike, draws: int, rng: Generator) -> Array:
    """A random sign for each cluster of cases: (draws, C) of -1 and 1; clusters: (C,) labels, such as the patient."""
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    signs = rng.choice([-1.0, 1.0], size=(draws, int(cluster.max()) + 1))
    return signs[:, cluster]


def mean_auc(scores: Array, labels: Array) -> Array:
    """The AUC, mean over readers, for each row of labels (draws, C): scores (R, C), NaN where not answered.

    A reader weighs as many as the pairs of cases he or she compared, as in `multireader.areas`.
    """
    answered = ~np.isnan(scores)
    ranks = np.zeros_like(scores)
    for row, own, inside in zip(ranks, scores, answered, strict=True):
        row[inside] = rankdata(own[inside])
    positives, pairs = _pairs(answered, labels)
    above = labels @ ranks.T - positives * (positives + 1) / 2
    return above.sum(axis=1) / pairs.sum(axis=1)


def mean_difference(values: Array, labels: Array) -> Array:
    """1/2 + half the mean of the positive cases less that of the negative ones, mean over readers, for each row of
    labels: balanced accuracy where values are 1 for positive said, 0 for negative, 1/2 for neither.

    values: (R, C), NaN where not answered; labels: (draws, C). Readers weigh as in `mean_auc`.
    """
    answered = ~np.isnan(values)
    said = np.where(answered, values, 0.0)
    positives, pairs = _pairs(answered, labels)
    negatives = answered.sum(axis=1) - positives
    sum_positive = labels @ said.T
    gap = sum_positive / np.maximum(positives, 1) - (said.sum(axis=1) - sum_positive) / np.maximum(negatives, 1)
    return 0.5 + (pairs * gap).sum(axis=1) / pairs.sum(axis=1) / 2


def _pairs(answered: NDArray[np.bool_], labels: Array) -> tuple[Array, Array]:
    positives = labels @ answered.T
    pairs = positives * (answered.sum(axis=1) - positives)
    return positives, np.where(pairs.sum(axis=1, keepdims=True) > 0, pairs, 1e-300)


def label_test(found: float, drawn: Array) -> float:
    """Two-sided p of a figure among those of exchanged labels: how many lie as far from their mean; never 0.

    [Pitman 1937; the figure found counts as one of the draws: Phipson & Smyth 2010]
    """
    centre = drawn.mean()
    return float((1 + (np.abs(drawn - centre) >= abs(found - centre) - SAME).sum()) / (1 + len(drawn)))


def sign_test(deviations: Array, signs: Array) -> float:
    """Two-sided p that all answers' deviations lie as far above 0 as below; never 0.

    deviations: (R, C), NaN where not answered; signs: (draws, C), from flip_signs. [Fisher 1935, section 21]
    """
    by_case = np.nansum(deviations, axis=0)
    return float((1 + (np.abs(signs @ by_case) >= abs(by_case.sum()) - SAME).sum()) / (1 + len(signs)))
