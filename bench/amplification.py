"""Dose and response: over several shares of a label in training, what share is generated? A slope above 1 amplifies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from phonybrains.evaluation.bias.composition import DRAWS, corrected, drawn_by_kind
from phonybrains.evaluation.inputs.labels import WORST_RATE, telling

Array = NDArray[Any]


@dataclass(frozen=True)
class Dose:
    """A training share of a label, 0 to 1, and what a classifier says of the images of the generator taught with it.

    votes: (n,) 0…1, for the label; confusion: (people, 2, 2) of that classifier, the label second.
    """

    training: float
    votes: Array
    confusion: Array


@dataclass(frozen=True)
class DoseResponse:
    """Slope of generated on training log odds with its 95 % interval (1 is fair), the intercept, and the shares.

    `shares`: for each dose training share, generated share, and the interval of the latter.
    """

    slope: float
    low: float
    high: float
    intercept: float
    shares: tuple[tuple[float, float, float, float], ...]


def dose_response(doses: Sequence[Dose], rng: np.random.Generator) -> DoseResponse:
    """Fit log odds generated = intercept + slope · log odds in training, each dose weighted by its precision.

    Generated images, and the people that the classifier was tested on, are drawn again for the interval; all doses see
    the same people in one draw where they share a classifier. Raises ValueError with fewer than two different doses, a
    dose of 0 or 1, a classifier that cannot tell, or a dose at which none or all images show the label.
    """
    training = np.array([dose.training for dose in doses])
    if len(np.unique(training)) < 2 or not ((training > 0) & (training < 1)).all():
        raise ValueError("a slope needs two different shares of training images, none of them 0 or 1")
    if min(telling(dose.confusion) for dose in doses) < WORST_RATE:
        raise ValueError("the classifier cannot tell whether an image shows the label")
    x = _log_odds(training, 1e-9)
    shares = np.array([_share(d.confusion.sum(axis=0)[None], d.votes.mean()[None])[0] for d in doses])
    sizes = np.array([len(dose.votes) for dose in doses])
    drawn = _drawn_shares(doses, rng)
    limits = np.quantile(drawn, [0.025, 0.975], axis=0)
    if (np.ptp(limits, axis=0) < 1e-6).any():
        raise ValueError("at some dose the classifier finds the label in none or in all images: no slope can be fitted")
    y, all_y = (_log_odds(each, 0.5 / (sizes + 1)) for each in (shares, drawn))
    weights = 1 / np.maximum(all_y.var(axis=0), 1e-6)
    (slope, *slopes), (intercept, *_) = np.polyfit(x, np.vstack([y, all_y]).T, 1, w=np.sqrt(weights)).tolist()
    low, high = np.quantile(slopes, [0.025, 0.975]).tolist()
    rows = np.stack([training, shares, *limits], axis=1).tolist()
    return DoseResponse(slope, low, high, intercept, tuple(map(tuple, rows)))


def _drawn_shares(doses: Sequence[Dose], rng: np.random.Generator) -> Array:
    """Corrected shares, (DRAWS, doses), of images and people drawn again."""
    seed, columns = int(rng.integers(2**31)), []
    for dose in doses:
        weights, kinds = drawn_by_kind(dose.confusion.reshape(len(dose.confusion), 4), np.random.default_rng(seed))
        images, votes = drawn_by_kind(dose.votes[:, None], rng)
        columns.append(_share((weights @ kinds).reshape(DRAWS, 2, 2), (images @ votes)[:, 0] / len(dose.votes)))
    return np.stack(columns, axis=1)


def _share(tables: Array, called: Array) -> Array:
    """True shares, (B,), from tables (B, 2, 2) and shares of calls (B,)."""
    return corrected(tables, np.stack([1 - called, called], axis=1))[:, 1]


def _log_odds(share: Array, edge: float | Array) -> Array:
    return logit(np.clip(share, edge, 1 - np.asarray(edge)))


def simulated_doses(
    slope: float,
    doses: Sequence[float],
    n: int,
    rng: np.random.Generator,
    rates: tuple[float, float] = (0.85, 0.9),
    people: int = 200,
) -> list[Dose]:
    """Generators of a known slope through even odds, read by a classifier of known sensitivity and specificity.

    n: generated images of each dose; rates: sensitivity and specificity; people: on whom the classifier was tested.
    """
    sensitivity, specificity = rates
    called = np.array([[specificity, 1 - specificity], [1 - sensitivity, sensitivity]])
    confusion = np.zeros((people, 2, 2))
    for person in range(people):
        confusion[person, person % 2, rng.choice(2, p=called[person % 2])] = 1
    found = []
    for dose in doses:
        shown = rng.random(n) < expit(slope * logit(dose))
        votes = rng.random(n) < np.where(shown, sensitivity, 1 - specificity)
        found.append(Dose(dose, votes.astype(float), confusion))
    return found
