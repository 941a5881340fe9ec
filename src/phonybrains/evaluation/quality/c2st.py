"""Classifier two-sample test: can a machine tell made images from real ones it has not seen?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ...statistics.estimate import Estimate
from ...statistics.multireader import areas, these_readers
from ...statistics.proportions import binomial_test, clopper_pearson
from ..arrays import Array

Learner = Callable[[], Any]


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells made images from real ones; 0.5 is chance.

    auc: cross-validated over all images; its variance is DeLong's over patients, stretched because each fold's
    classifier learnt from the others, so that their errors go together [Nadeau & Bengio 2003, Machine Learning 52:239].
    share: the cross-validated accuracy, without interval. accuracy: of one classifier on `tested`
    images that it did not see, with its interval and p (one-sided) that it is above chance: exact, and where real
    images share patients no surer than patients allow. probability_real, probability_made: how sure it was,
    cross-validated, that each is made.
    """

    n: int
    folds: int
    auc: Estimate
    share: float
    accuracy: Estimate
    p: float
    probability_real: Array
    probability_made: Array

    def telling(self, count: int) -> list[int]:
        """Numbers of the made images that give themselves away most, the surest first."""
        return np.argsort(-self.probability_made, kind="stable")[:count].tolist()


def logistic(strength: float = 0.01) -> Pipeline:
    """Logistic regression on standardised features, regularised more the smaller `strength` is."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def forest(trees: int = 50, seed: int = 0) -> ExtraTreesClassifier:
    """A forest of extremely randomised trees: finds what no straight line divides, faster than a random forest.

    [Geurts 2006]
    """
    return ExtraTreesClassifier(trees, min_samples_leaf=3, random_state=seed, n_jobs=1)


def two_sample(
    real: Array,
    made: Array,
    folds_real: Array,
    folds_made: Array,
    learner: Learner = logistic,
    patients: Array | None = None,
) -> TwoSample:
    """Test of real (m, d) against made (n, d) features, each image in the fold of its number.

    patients: (m,) whose each real image is; by default every image is of another. A patient's images belong in one
    fold. A fold should hold both sides in one proportion and composition: else the
    classifier learns which kinds the other folds lack, and falls below chance. Raises ValueError with fewer than two
    folds of both sides.  [Lopez-Paz 2017, sec. 3]
    """
    both, truth = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    fold, score = np.concatenate([folds_real, folds_made]), np.zeros(len(truth))
    names = np.unique(fold)
    for each in names:
        score[fold == each] = _told(both, truth, fold == each, learner)
    held = np.isin(fold, names[: len(names) // 2])
    told = (_told(both, truth, held, learner) > 0.5) == truth[held]
    owners = None if patients is None else np.array([*(f"real {name}" for name in patients), *range(len(made))])
    accuracy, p = _accuracy(told, truth[held], None if owners is None else owners[held])
    right = (score > 0.5) == truth
    share = float((right[truth == 0].mean() + right[truth == 1].mean()) / 2)
    auc = _interval(score, truth, fold, owners)
    return TwoSample(len(both), len(names), auc, share, accuracy, p, score[truth == 0], score[truth == 1])


def _interval(score: Array, truth: Array, fold: Array, owners: Array | None) -> Estimate:
    """The cross-validated AUC on the logit scale, with a variance 1 + k/(k - 1) times that of independent answers."""
    alone = these_readers(areas(score[None], truth, owners)).estimate
    if not alone.standard_error:
        return alone
    folds = len(np.unique(fold))
    stretch = math.sqrt(1 + folds / (folds - 1))
    value = float(logit(alone.value))
    low, high = (float(expit(value + stretch * (logit(limit) - value))) for limit in (alone.low, alone.high))
    return Estimate(alone.value, low, high, alone.n, stretch * alone.standard_error)


def _told(both: Array, truth: Array, held: Array, learner: Learner) -> Array:
    """How sure a classifier that learnt from the others is that each held-out image is made."""
    if len(np.unique(truth[~held])) < 2 or len(np.unique(truth[held])) < 2:
        raise ValueError("A two-sample test needs at least two patients, and images of both sides beside each.")
    model = learner().fit(both[~held], truth[~held])
    probability, share = model.predict_proba(both[held])[:, 1], truth[~held].mean()
    made, real = probability / share, (1 - probability) / (1 - share)  # as if both sides had been equally many
    return made / (made + real)


def _accuracy(told: Array, truth: Array, owners: Array | None) -> tuple[Estimate, float]:
    """The share of right answers, its interval, and p: the exact ones, or where these say more those by person."""
    hits, tested = _balanced(told, truth)
    exact, p = clopper_pearson(hits, tested), binomial_test(hits, tested, 0.5, "greater")
    if owners is None or len(set(owners.tolist())) == len(owners):
        return exact, p
    called = np.where(told, truth, 1 - truth)
    found = these_readers(areas(called[None], truth, owners))
    limits, above = found.estimate, found.estimate.value > 0.5
    one_sided = found.p_value / 2 if above else 1 - found.p_value / 2
    return Estimate(exact.value, min(exact.low, limits.low), max(exact.high, limits.high), tested), max(p, one_sided)


def _balanced(told: Array, truth: Array) -> tuple[int, int]:
    """Right answers and answers; with sides of unequal size, of as many images of each as the smaller one has."""
    n = min(np.bincount(truth))
    return round(sum(told[truth == side].mean() * n for side in (0, 1))), int(2 * n)
