"""How many images may look like copies by chance: a threshold from people the model never saw, and tests of the excess.

Images of people who are not among those searched say how alike images are by chance: held-out ones, and training images
among those of the other patients, as a threshold is as good as the number of people it rests on. Slices of one person
are alike, so that people are what is drawn again, never images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ...imageset import ImageSet, Row
from ...statistics.estimate import Interval
from ..inputs.patients import RUN_LENGTH, deal, patients
from ..score import Progress, silent
from .search import Search

Array = NDArray[Any]
DRAWS = 2000
MOST_TURNS = 300
SHARE, LEAST_POWER = 0.25, 0.8
"""An audit of so few images that it would oftener overlook a set a quarter of which are copies decides nothing."""
SURE = 0.95
"""The threshold lies above the wanted quantile with this confidence, so that new people pass it no oftener."""


@dataclass(frozen=True)
class Unseen:
    """Their likeness, (n,), and the number of the training image nearest to each.

    who: whom each shows; rows: theirs; left_out: how many are training images, searched for among other patients'.
    """

    score: Array
    nearest: Array
    who: list[str]
    rows: list[Row]
    left_out: int


def unseen_by(
    search: Search,
    corpus: ImageSet,
    others: Sequence[int],
    training: ImageSet,
    seed: int = 0,
    progress: Progress = silent,
) -> Unseen:
    """Search for images of people who are not among the training images; others: numbers of the held-out ones."""
    everyone = patients(corpus.rows)
    found, absent = search.found(corpus, others, progress), _in_turns(search, training, seed, progress)
    return Unseen(
        np.concatenate([found.score, absent.score]),
        np.concatenate([found.index, absent.nearest]),
        [*(everyone[i] for i in others), *absent.who],
        [*(corpus.rows[i] for i in others), *absent.rows],
        len(absent.who),
    )


def _in_turns(search: Search, training: ImageSet, seed: int, progress: Progress) -> Unseen:
    """Search for training images among those of the other patients, a fifth of the patients at a time.

    At most MOST_TURNS random images, as evenly over the patients as can be.
    """
    rng, people = np.random.default_rng([seed, 6]), patients(training.rows)
    order: list[tuple[int, int]] = []
    seen: Counter[str] = Counter()
    for i in rng.permutation(len(people)).tolist():
        order.append((seen[people[i]], i))
        seen[people[i]] += 1
    chosen = np.array([i for _, i in sorted(order)[:MOST_TURNS]])
    scores, nearest, shown = [np.empty(0)], [np.empty(0, dtype=int)], []
    for fold, rest in divisions_of(training, people, rng):
        own: list[int] = chosen[fold[chosen]].tolist()
        if own and rest.sum() >= 2:
            found = search.part(np.flatnonzero(rest)).found(training, own, progress)
            scores.append(found.score)
            nearest.append(np.flatnonzero(rest)[found.index])
            shown += own
    who, rows = [f"training {people[i]}" for i in shown], [training.rows[i] for i in shown]
    return Unseen(np.concatenate(scores), np.concatenate(nearest), who, rows, len(shown))


def divisions_of(training: ImageSet, people: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Fifths of the training images, (n,) booleans, and the images that show none of their people.

    Where patients are unknown, a fifth is a stretch in the order of the set, and RUN_LENGTH images before and after it
    are left out too: they may show the same people.
    """
    n, known = len(people), all(row.patient_id for row in training.rows)
    folds, place = deal(people, 5, rng) if known else np.arange(n) * 5 // n, np.arange(n)
    for number in range(folds.max() + 1):
        fold = folds == number
        rest = ~np.isin(people, np.array(people)[fold])
        if not known:
            first, last = place[fold].min(), place[fold].max()
            rest &= (place < first - RUN_LENGTH) | (place > last + RUN_LENGTH)
        yield fold, rest


@dataclass(frozen=True)
class Calibration:
    """What chance gives: `above` of the n scores of unseen images, of so many patients, lie above the threshold.

    rates: draws of the chance that an image of a further patient lies above it.
    """

    threshold: float
    highest: float
    above: int
    n: int
    patients: int
    rates: Array
    rates_beyond: Array
    """The same of the highest score."""

    @property
    def rate(self) -> float:
        """The mean chance that an image of a further patient lies above the threshold."""
        return float(self.rates.mean())

    @property
    def interval(self) -> Interval:
        low, high = np.quantile(self.rates, [0.025, 0.975])
        return Interval(float(low), float(high))


def calibrate(scores: Array, people: Sequence[str], rate: float = 0.01, seed: int = 0) -> Calibration:
    """The threshold that at most a share `rate` of unseen images exceeds, with confidence SURE over patients.

    Patients are drawn again DRAWS times; in a share SURE of the draws the threshold lies at or above the score that a
    share `rate` of the images exceeds.  Raises ValueError where there are no scores.  [cluster bootstrap: Davison &
    Hinkley 1997, sec. 3.8]
    """
    if not len(scores):
        raise ValueError("there are no held-out images to calibrate with")
    names, who = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    order, rng = np.argsort(-scores, kind="stable"), np.random.default_rng([seed, 11])
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    passed = np.cumsum(times[:, who[order]], axis=1)
    found = scores[order[(passed <= rate * passed[:, -1:] + 1e-9).sum(axis=1)]]
    threshold, highest = float(np.quantile(found, SURE, method="inverted_cdf")), float(scores.max())
    return Calibration(
        threshold,
        highest,
        int((scores > threshold).sum()),
        len(scores),
        len(names),
        chances(scores, who, threshold, rng),
        chances(scores, who, highest, rng),
    )


def power(n: int, rate: float, share: float, level: float) -> float:
    """Chance that an excess is found in n images: `share` of them copies, a share `rate` of the others flagged.

    So many must be flagged as happens by chance with less than the probability `level`.
    """
    needed = next((k for k in range(1, n + 1) if binom.sf(k - 1, n, rate) < level), n + 1)
    return float(binom.sf(needed - 1, n, share + (1 - share) * rate))


def chances(scores: Array, who: Array, level: float, rng: np.random.Generator) -> Array:
    """Draws of the chance that an image of a further patient lies above a level, (DRAWS,).

    Weights of Dirichlet's distribution for the patients (numbered by `who`), and for one more, of average size, in
    whom as many images lie above as in the worst of them. If each patient has one image this is exactly the Beta
    distribution of order statistics.  [Bayesian bootstrap: Rubin 1981; conformal: Vovk 2005, sec. 2.2]
    """
    sizes = np.bincount(who).astype(float)
    above, near = (np.bincount(who, weights=over) for over in (scores > level, scores >= level))
    size, worst = sizes.mean(), (near / sizes).max()
    weights = rng.standard_exponential((DRAWS, len(sizes) + 1))
    return weights @ np.append(above, worst * size) / (weights @ np.append(sizes, size))


def excess_p(count: int, n: int, rates: Array) -> float:
    """P(at least `count` of n new images above a level), if they are of further patients: binomial at each chance."""
    return 1.0 if count <= 0 else float(binom.sf(count - 1, n, rates).mean())


def audit_p(scores: Array, calibration: Calibration) -> float:
    """p of more likeness than chance gives: the count above the threshold, and that above all held-out; twice the less.

    The second count finds three copies among 95, which the first hardly does; the factor pays for looking twice.
    """
    flagged, beyond = ((scores > level).sum() for level in (calibration.threshold, calibration.highest))
    one = excess_p(int(flagged), len(scores), calibration.rates)
    two = excess_p(int(beyond), len(scores), calibration.rates_beyond)
    return min(1.0, 2 * min(one, two))
