"""What many draws of an answer say: probabilities, intervals, and whether the answer is certain.  [Han 2022]

draws: (N, n, K), n answers to each of N images: near a one-hot vector for a category, K = 1 for a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import t

Array = NDArray[Any]
TEMPERATURES = np.logspace(-2, 2, 81)


def probabilities(draws: Array, temperature: float) -> Array:
    """exp(-(y_k - 1)²/τ) over its sum, for each draw.  [eq. 10]"""
    return softmax(-((draws.astype(np.float64) - 1) ** 2) / temperature, axis=-1)


def best_temperature(draws: Array, truth: Array) -> float:
    """The τ of TEMPERATURES at which mean probabilities say most of the true classes (N,) of held-out images."""
    rows = np.arange(len(truth))
    losses = [-np.log(probabilities(draws, at).mean(1)[rows, truth] + 1e-12).mean() for at in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def interval(values: Array) -> Array:
    """Ends of the central 95 % of draws, along axis 1: (2, N, …)."""
    return np.quantile(values, (0.025, 0.975), axis=1)


def vote(found: Array, alpha: float) -> tuple[Array, Array]:
    """The most predicted class of each image, and whether it is certain, (N,) each, from probabilities (N, n, K).

    Certain: a paired t-test tells the probabilities of the most and the second most predicted class apart at this
    level. Equal votes go by mean probability.  [sec. 3.2.1]
    """
    votes = (found.argmax(axis=-1)[..., None] == np.arange(found.shape[-1])).sum(axis=1)
    order = np.argsort(votes + 0.5 * found.mean(axis=1), axis=1)
    most, second = (np.take_along_axis(found, order[:, None, i, None], axis=2)[..., 0] for i in (-1, -2))
    apart, n = most - second, found.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):  # draws that all agree are infinitely certain
        distance = np.abs(apart.mean(axis=1)) / (apart.std(axis=1, ddof=1) / np.sqrt(n))
    return order[:, -1], 2 * t.sf(distance, n - 1) < alpha


def picp(draws: Array, truth: Array) -> float:
    """The share of numbers (N,) inside the interval of their draws (N, n).  [PICP]"""
    low, high = interval(draws)
    return float(((low <= truth) & (truth <= high)).mean())


def qice(draws: Array, truth: Array, bins: int = 10) -> float:
    """How far, on average, the share of numbers (N,) in each quantile interval of draws (N, n) is off 1 / bins.

    [eq. 11-12]
    """
    edges = np.quantile(draws, np.arange(1, bins) / bins, axis=1)
    shares = np.bincount((truth > edges).sum(axis=0), minlength=bins) / len(truth)
    return float(np.abs(shares - 1 / bins).mean())
