"""The bootstrap by units, such as people, and what it says when they are few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

from .estimate import Estimate, Interval, t_quantile
from .roc import hanley_mcneil_variance

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
"""Where shares lie, and areas under a curve."""
SAME = 1e-9
"""What differs by less is the same, but for rounding."""


def drawn_again(units: Sequence[str] | NDArray, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each observation counts, (draws, n), when whole units are drawn with replacement, as many as there are.

    units: whose each of the n observations is, (n,).  [Davison & Hinkley 1997, sec. 3.8]
    """
    names, place = np.unique(np.asarray(units), return_inverse=True)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)[:, place].astype(float)


@dataclass(frozen=True)
class Drawn:
    """A value, and what it is in each draw, (B,), of so many units; draws that are NaN do not count.

    n units drawn again spread √((n-1)/n) times what n units do, and know no t. So limits lie further out in the draws,
    at Φ(-t √(n/(n-1))) with t of n - 1 degrees of freedom: of 8 people at 0.6 % and 99.4 %. Where so few draws reach
    there that the last one would stand for it, as of 5 people, they lie as far out as in a normal distribution of the
    draws' spread, within `bounds`. Infinite units, as of a posterior's draws, leave the plain percentiles.
    alone: where units of several kinds are drawn, as test people and seeds, the draws of each kind alone and how many
    units it has; their degrees of freedom are pooled, so that five seeds are not taken for fifty people.
    [Hesterberg 2015, Am. Stat. 69:371, "expanded percentile"; pooled: Satterthwaite 1946]
    """

    value: float
    draws: NDArray
    units: float
    bounds: Bounds = (-math.inf, math.inf)
    alone: tuple[tuple[NDArray, float], ...] = ()

    def interval(self, level: float = 0.95) -> Interval:
        """The middle of the draws."""
        df, widening = self._spread
        distance = t_quantile(level, df) * widening
        outer, kept = float(ndtr(-distance)), self._kept
        low, high = np.quantile(kept, [outer, 1 - outer]) if len(kept) else (math.nan, math.nan)
        if len(kept) * outer < 1:
            half = distance * float(kept.std()) if len(kept) else math.nan
            low = min(low, max(self.value - half, self.bounds[0]))
            high = max(high, min(self.value + half, self.bounds[1]))
        return Interval(float(low), float(high))

    def estimate(self, n: int) -> Estimate:
        """The value, from n observations, with its 95 % interval, which holds it also where a posterior's does not."""
        limits = self.interval()
        return Estimate(self.value, min(limits.low, self.value), max(limits.high, self.value), n)

    def minus(self, other: Drawn) -> Drawn:
        """The difference, draw by draw."""
        bounds = self.bounds[0] - other.bounds[1], self.bounds[1] - other.bounds[0]
        pairs = zip(self.alone, other.alone, strict=False)
        alone = tuple((one - another, min(n, m)) for (one, n), (another, m) in pairs)
        return Drawn(self.value - other.value, self.draws - other.draws, min(self.units, other.units), bounds, alone)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p that the value is `null`, by how many draws lie beyond it, with the limits that an interval has.

        Where none does, by the normal tail of their spread, which can be smaller.
        """
        kept, (df, widening) = self._kept, self._spread
        beyond = min((kept <= null).sum(), (kept >= null).sum())
        z = float(ndtri((beyond + 1) / (len(kept) + 1)))
        if len(kept) and not beyond and kept.std() > 0:
            z = min(z, -abs(self.value - null) / float(kept.std()))
        t = z / widening
        return float(min(1.0, 2 * (ndtr(t) if math.isinf(df) else stdtr(df, t))))

    @property
    def _kept(self) -> NDArray:
        return self.draws[np.isfinite(self.draws)]

    @property
    def _spread(self) -> tuple[float, float]:
        """Degrees of freedom, and what the draws' deviation is multiplied by for that of the units."""
        free = [max(n - 1, 1) for _, n in self.alone]
        drawn = [float(np.nanvar(draws)) if np.isfinite(draws).any() else 0.0 for draws, _ in self.alone]
        whole = [variance * (1 + 1 / df) for variance, df in zip(drawn, free, strict=True)]
        if not sum(drawn) > 0:
            df = max(self.units - 1, 1)
            return df, math.sqrt(1 + 1 / df)
        pooled = sum(variance**2 / df for variance, df in zip(whole, free, strict=True))
        return sum(whole) ** 2 / pooled if pooled else math.inf, math.sqrt(sum(whole) / sum(drawn))


def share_again(hits: NDArray, units: NDArray, weights: NDArray, rng: np.random.Generator) -> Drawn:
    """The share of hits, (n,) from 0 to 1, units drawn again: `weights` (B, n) are those of drawn_again."""
    seen = weights.sum(axis=1)
    shares = np.divide(weights @ hits, seen, out=np.full(len(seen), np.nan), where=seen > 0)
    return share_of(float(hits.mean()), shares, len(np.unique(units)), rng)


def share_of(value: float, draws: NDArray, units: int, rng: np.random.Generator) -> Drawn:
    """A share, or a mean from 0 to 1, by its draws; where no unit changes it, as 0 or 1 of all, by `still_share`."""
    if is_still(draws):
        return Drawn(value, still_share(value, units, len(draws), rng), math.inf, SHARE)
    return Drawn(value, draws, units, SHARE)


def is_still(draws: NDArray) -> bool:
    """Whether no draw differs from another, but for rounding."""
    kept = draws[np.isfinite(draws)]
    return len(kept) > 0 and bool(np.ptp(kept) < SAME)


def still_share(value: float, units: int, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws, (B,), of a share or a mean from 0 to 1 that is the same in so many units, each one observation: those of
    Jeffreys' posterior.  [Brown 2001, Stat. Sci. 16:101]"""
    return rng.beta(units * value + 0.5, units * (1 - value) + 0.5, draws)


def still_area(
    value: float, positives: int, negatives: int, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws, (B,), of an area under a curve that no draw of so many units of either kind changes: the confidence
    distribution whose quantiles are the ends of `score_interval`, so that 1.00 of few people has width.

    [Newcombe 2006, method 5; distributions: Xie & Singh 2013, Int. Stat. Rev. 81:3]
    """
    z, low, high = rng.standard_normal(draws), np.zeros(draws), np.ones(draws)
    for _ in range(60):  # halves the distance each time
        middle = (low + high) / 2
        beyond = middle - value > z * np.sqrt(hanley_mcneil_variance(middle, positives, negatives))
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return (low + high) / 2
