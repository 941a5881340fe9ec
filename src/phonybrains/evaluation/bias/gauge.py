"""Numbers read off images: a regression that real images taught, and how near it comes to what is true or was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ...imageset import Row
from ...statistics.bootstrap import Drawn, drawn_again
from ...statistics.estimate import Estimate
from ...wording import count_of
from ..inputs.labels import FOLDS
from ..inputs.patients import deal

Array = NDArray[Any]
FEWEST, FEWEST_PEOPLE, DRAWS = 10, 5, 1000


@dataclass(frozen=True)
class Gauge:
    """A number read off features by ridge regression, one for each fold of people, and its readings on the others."""

    models: tuple[Any, ...]
    truth: Array
    found: Array

    @classmethod
    def learn(cls, features: Array, truth: Array, groups: Sequence[str], seed: int = 0) -> Gauge:
        """Learn from real images, (n, d) and (n,), cross-validated so that people stay whole.

        Raises ValueError with fewer than FEWEST images or fewer than two people.
        """
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if len(truth) < FEWEST or len(set(groups)) < 2:
            people = count_of(len(set(groups)), "person", "people")
            raise ValueError(f"known of only {count_of(len(truth), 'real image')} of {people}")
        folds = deal(groups, FOLDS, np.random.default_rng([seed, 37]))
        models, found = [], np.full(len(truth), np.nan)
        for fold in range(int(folds.max()) + 1):
            fit = folds != fold
            models.append(make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 6))).fit(features[fit], truth[fit]))
            found[~fit] = models[-1].predict(features[~fit])
        return cls(tuple(models), truth, found)

    def read(self, features: Array) -> Array:
        """What the models together read off images of nobody they learnt from, (n,)."""
        return np.mean([model.predict(features) for model in self.models], axis=0)


@dataclass(frozen=True)
class Reading:
    """How near what is found comes to what is true or was asked, each figure with its interval by people.

    r: Pearson's. rank: Spearman's ρ. explained: R² of what is found, taken as it stands; below 0 where the mean of what
    is true would be nearer. error: the mean absolute difference, in the number's unit.
    """

    r: Estimate
    rank: Estimate
    explained: Estimate
    error: Estimate

    def __str__(self) -> str:
        shown = {"r": self.r, "ρ": self.rank, "R²": self.explained, "mean error": self.error}
        return ", ".join(f"{name} {x.value:.2f} ({x.low:.2f} to {x.high:.2f})" for name, x in shown.items())


def reading(truth: Array, found: Array, rng: np.random.Generator, people: Sequence[str] | None = None) -> Reading:
    """Compare numbers, (n,) and (n,); what is NaN does not count.

    people: whose each image is, drawn again whole for the interval; by default each image is of its own. Raises
    ValueError with fewer than FEWEST images or FEWEST_PEOPLE people, or where a side does not vary.
    """
    told = np.flatnonzero(np.isfinite(truth) & np.isfinite(found))
    truth, found = truth[told].astype(float), found[told].astype(float)
    names = np.array([str(i) for i in told] if people is None else [people[i] for i in told.tolist()])
    codes = np.unique(names, return_inverse=True)[1] if len(names) else names
    if len(told) < FEWEST:
        raise ValueError(
            f"only {count_of(len(told), 'image was', 'images were')} asked for a number, {FEWEST} are needed"
        )
    if (n := int(codes.max()) + 1) < FEWEST_PEOPLE:
        raise ValueError(f"only {count_of(n, 'person has', 'people have')} a number, {FEWEST_PEOPLE} are needed")
    for side, what in ((truth, "every image was asked for the same"), (found, "every image measures alike")):
        if np.ptp(side) < 1e-12:
            raise ValueError(what)
    drawn = _figures(truth, found, drawn_again(codes, DRAWS, rng))
    own = _figures(truth, found, np.ones((1, len(told))))
    bounds = (-1.0, 1.0), (-1.0, 1.0), (-np.inf, 1.0), (0.0, np.inf)
    each = (Drawn(float(value[0]), draws, n, ends) for value, draws, ends in zip(own, drawn, bounds, strict=True))
    return Reading(*(figure.estimate(len(told)) for figure in each))


def _figures(truth: Array, found: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """r, ρ, R² and mean absolute error under each row of weights (D, n), each (D,); ranks are those of all images."""
    share = weights / weights.sum(axis=1, keepdims=True)

    def pearson(x: Array, y: Array) -> Array:
        x, y = x - x.mean(), y - y.mean()
        a, b = share @ x, share @ y
        spread = np.sqrt(np.maximum((share @ x**2 - a**2) * (share @ y**2 - b**2), 0))
        return np.divide(share @ (x * y) - a * b, spread, out=np.full(len(share), np.nan), where=spread > 1e-12)

    centred = truth - truth.mean()
    variance = share @ centred**2 - (share @ centred) ** 2
    missed = share @ (truth - found) ** 2
    explained = 1 - np.divide(missed, variance, out=np.full(len(share), np.nan), where=variance > 1e-12)
    ranks = rankdata(truth), rankdata(found)
    return pearson(truth, found), pearson(*ranks), explained, share @ np.abs(truth - found)


def numbers_of(rows: Sequence[Row], attribute: str) -> Array:
    """An attribute as numbers, (n,); NaN where it is missing or a word."""
    values = [row[attribute] for row in rows]
    return np.array([value if isinstance(value, float) else np.nan for value in values], dtype=float)
