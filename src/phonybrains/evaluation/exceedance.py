"""How many images may look like copies by chance: a threshold from held-out images, and exact tests of the excess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from ..statistics.estimate import Interval
from ..statistics.proportions import clopper_pearson

Array = NDArray[Any]


@dataclass(frozen=True)
class Calibration:
    """What chance gives: `above` of the n held-out images are likelier copies than the threshold.

    rate: the chance that a further image of the kind is above it, (above + 1) / (n + 1). interval: of that rate, over
    resamples of whole patients where there are several, exact else.
    """

    threshold: float
    highest: float
    above: int
    n: int
    patients: int
    interval: Interval

    @property
    def rate(self) -> float:
        return (self.above + 1) / (self.n + 1)


def calibrate(scores: Array, people: Sequence[str], rate: float = 0.01, seed: int = 0) -> Calibration:
    """The lowest held-out score that at most a share `rate` of the held-out scores exceed.

    A further image exceeds it with the chance (above + 1) / (n + 1), if it is of the same kind; of fewer than 1/rate
    scores it is the highest one. Raises ValueError where there are none. [conformal: Vovk 2005, sec. 2.2]
    """
    if not len(scores):
        raise ValueError("there are no held-out images to calibrate with")
    falling = np.sort(scores)[::-1]
    above = math.floor(rate * len(scores) + 1e-9)
    threshold = float(falling[above])
    found = int((scores > threshold).sum())
    return Calibration(threshold, float(falling[0]), found, len(scores), len(set(people)),
                       _interval(scores > threshold, people, seed))  # fmt: skip


def _interval(above: Array, people: Sequence[str], seed: int, draws: int = 1000) -> Interval:
    exact = clopper_pearson(int(above.sum()), len(above))
    names, number = np.unique(np.array(people, dtype=str), return_inverse=True)
    if len(names) < 5 or len(names) == len(above) or not above.any():
        return Interval(exact.low, exact.high)
    sizes, hits = np.bincount(number), np.bincount(number, weights=above)
    chosen = np.random.default_rng([seed, 11]).integers(len(names), size=(draws, len(names)))
    low, high = np.quantile(hits[chosen].sum(axis=1) / sizes[chosen].sum(axis=1), [0.025, 0.975])
    return Interval(min(float(low), exact.low), max(float(high), exact.high))


def excess_p(count: int, n: int, above: int, calibrated: int) -> float:
    """P(at least `count` of n new images above the threshold), if new and held-out images are of one kind.

    The threshold is the (above + 1)-th highest of the `calibrated` held-out scores, so that the count is
    beta-binomial: exact, the calibration's own uncertainty with it.
    """
    if count <= 0:
        return 1.0
    return float(betabinom.sf(count - 1, n, above + 1, calibrated - above))


def audit_p(scores: Array, calibration: Calibration) -> float:
    """p of more likeness than chance gives: the count above the threshold, and that above all held-out; twice the less.

    The second count finds three copies among 95, which the first hardly does; the factor pays for looking twice.
    """
    flagged, beyond = ((scores > level).sum() for level in (calibration.threshold, calibration.highest))
    one = excess_p(int(flagged), len(scores), calibration.above, calibration.n)
    two = excess_p(int(beyond), len(scores), 0, calibration.n)
    return min(1.0, 2 * min(one, two))
