"""Is the mixture of what is shown that of the training images? Shares of labels, exact and corrected, and their drift.

The training images are what they are, so their share p has no error; a generator that is fair to them shows each label
with probability p. Amplification is the difference in log odds, log(q/(1-q)) - log(p/(1-p)): 0 is fair, below 0 a label
grows rarer.  [log odds: Zhao 2017, sec. 3, in other units; correction: Rogan & Gladen 1978; Buck & Gart 1966]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...statistics.bootstrap import SHARE, Drawn
from ...statistics.estimate import Estimate
from ...statistics.proportions import binomial_test, clopper_pearson
from ..inputs.labels import WORST_RATE, telling

Array = NDArray[Any]
DRAWS = 1000


@dataclass(frozen=True)
class LabelShare:
    """One label among generated images: its share q with 95 % interval, the training share p, and p_value of q = p."""

    label: str
    share: Estimate
    training: float
    p_value: float

    @property
    def ratio(self) -> Estimate:
        """q/p and its interval."""
        return self.share.mapped(lambda share: share / self.training)

    @property
    def amplification(self) -> Estimate:
        """Log odds of q over those of p, and its interval; the odds of none or all of n are those of half an image."""
        edge, fair = 0.5 / (self.share.n + 1), _log_odds(self.training, 1e-9)
        return self.share.mapped(lambda share: _log_odds(share, edge) - fair)


def _log_odds(share: float, edge: float) -> float:
    inside = min(max(share, edge), 1 - edge)
    return float(np.log(inside / (1 - inside)))


def asked_shares(asked: Sequence[str], training: Sequence[str], names: Sequence[str]) -> list[LabelShare]:
    """The shares of labels that were asked for, with exact intervals; images without a label ("") do not count.

    [Clopper & Pearson 1934]  Raises ValueError if nothing was asked, or if training images have no label.
    """
    made, real = ([label for label in labels if label] for labels in (asked, training))
    if not made or not real:
        raise ValueError("no generated image was asked for it" if real else "no training image says it")
    counts, n = ((name, made.count(name), real.count(name) / len(real)) for name in names), len(made)
    return [LabelShare(name, clopper_pearson(k, n), p, binomial_test(k, n, p)) for name, k, p in counts if 0 < p < 1]


def corrected(confusion: Array, called: Array) -> Array:
    """True shares, (..., K), from the shares of calls and a table of true label (row) by call (column), (..., K, K).

    The inverse of the calls' probabilities given the truth, kept within 0…1 and summing to 1; with two labels this is
    Rogan and Gladen's estimate.  [Rogan & Gladen 1978, eq. 4; Buck & Gart 1966]
    """
    rates = confusion / np.maximum(confusion.sum(axis=-1, keepdims=True), 1e-12)
    inverse = np.linalg.pinv(np.swapaxes(rates, -1, -2))
    return _to_simplex((inverse @ called[..., None])[..., 0])


def _to_simplex(x: Array) -> Array:
    """The nearest shares that are none below 0 and sum to 1.  [Duchi 2008, fig. 1]"""
    k = x.shape[-1]
    ordered = -np.sort(-x, axis=-1)
    excess = (np.cumsum(ordered, axis=-1) - 1) / np.arange(1, k + 1)
    rank = (ordered > excess).sum(axis=-1, keepdims=True) - 1
    return np.maximum(x - np.take_along_axis(excess, rank, -1), 0)


def found_shares(
    confusion: Array,
    votes: Array,
    training: Array,
    names: Sequence[str],
    rng: np.random.Generator,
    people: Array | None = None,
) -> list[LabelShare]:
    """The shares of labels that a classifier finds, corrected for its confusion, with bootstrap intervals.

    confusion: (people, K, K) counts on real images that it did not learn from, drawn again by person; votes: (n, K)
    what it says of each generated image, drawn again by image, or by person where `people` (n,) numbers them; training:
    (K,) true shares. An interval is never narrower than the exact one of a perfect classifier.
    Raises ValueError where the classifier tells labels apart too badly.
    """
    if telling(confusion) < WORST_RATE:
        raise ValueError(
            f"a classifier that real images taught cannot tell it ({telling(confusion):.2f} of 1 by "
            f"its confusion, {WORST_RATE} is needed)"
        )
    n = len(votes)
    value = corrected(confusion.sum(axis=0), votes.mean(axis=0))
    drawn = _draws(confusion, votes, rng, people)
    units = min(len(confusion), n if people is None else len(np.unique(people)))
    shares = []
    for i, name in enumerate(names):
        p = float(training[i])
        if 0 < p < 1:
            count = min(max(round(float(value[i]) * n), 0), n)
            exact = clopper_pearson(count, n)
            found = Drawn(float(value[i]), drawn[:, i], units, SHARE)
            limits = found.interval()
            share = Estimate(found.value, min(limits.low, exact.low), max(limits.high, exact.high), n)
            shares.append(LabelShare(name, share, p, max(found.p_value(p), binomial_test(count, n, p))))
    return shares


def drawn_by_kind(rows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows (n, k) drawn again: how often each different one comes, (DRAWS, m), and these, (m, k)."""
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    return rng.multinomial(len(rows), counts / len(rows), DRAWS), kinds


def _draws(confusion: Array, votes: Array, rng: np.random.Generator, people: Array | None) -> Array:
    """Corrected shares, (DRAWS, K), of real people and generated images drawn again.

    Where a draw leaves no image of a true label, the rates of all people are taken.
    """
    persons, k, _ = confusion.shape
    weights, kinds = drawn_by_kind(confusion.reshape(persons, k * k), rng)
    tables = (weights @ kinds).reshape(DRAWS, k, k)
    tables = np.where(tables.sum(axis=2, keepdims=True) == 0, confusion.sum(axis=0), tables)
    sizes = np.ones(len(votes))
    if people is not None:
        units = np.unique(people, return_inverse=True)[1]
        votes = np.stack([np.bincount(units, column) for column in votes.T], axis=1)
        sizes = np.bincount(units).astype(float)
    again, rows = drawn_by_kind(np.column_stack([votes, sizes]), rng)
    return corrected(tables, (again @ rows[:, :-1]) / (again @ rows[:, -1])[:, None])
