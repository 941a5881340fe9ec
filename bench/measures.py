"""How far two sets of feature vectors, each (n, d), lie apart; numpy in, numbers out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Array = NDArray[Any]


def kid(x: Array, y: Array, paired: bool = False) -> tuple[float, float]:
    """Kernel Inception Distance: unbiased squared MMD of the kernel (x·y/d + 1)³, and its jackknife standard error.

    paired: x_i was made from y_i, so that the two are never compared. The error takes images for independent; slices of
    one patient are not, so it is a lower bound.  [Binkowski 2018, sec. 4; Gretton 2012, eq. 3 and, paired, eq. 4]
    """
    m, n = len(x), len(y)
    within_x, within_y, between = polynomial(x, x), polynomial(y, y), polynomial(x, y)
    if paired:
        return _paired(within_x + within_y - between - between.T)
    rows_x, rows_y = (k.sum(axis=1) - k.diagonal() for k in (within_x, within_y))
    a, b, c = rows_x.sum(), rows_y.sum(), between.sum()
    value = a / (m * (m - 1)) + b / (n * (n - 1)) - 2 * c / (m * n)
    if min(m, n) < 3:
        return float(value), float("nan")
    without_x = (a - 2 * rows_x) / ((m - 1) * (m - 2)) - 2 * (c - between.sum(axis=1)) / ((m - 1) * n)
    without_y = (b - 2 * rows_y) / ((n - 1) * (n - 2)) - 2 * (c - between.sum(axis=0)) / ((n - 1) * m)
    variance = (m - 1) * without_x.var() + (n - 1) * without_y.var()
    return float(value), float(np.sqrt(variance))


def _paired(h: Array) -> tuple[float, float]:
    n, rows = len(h), h.sum(axis=1) - h.diagonal()
    value = rows.sum() / (n * (n - 1))
    without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2)) if n > 2 else np.array([np.nan])
    return float(value), float(np.sqrt((n - 1) * without.var()))


def polynomial(x: Array, y: Array) -> Array:
    """The kernel (x·y/d + 1)³ of each pair, (m, n)."""
    return (x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1) ** 3


def frechet(mean_x: Array, covariance_x: Array, mean_y: Array, covariance_y: Array) -> float:
    """Squared Fréchet distance of two Gaussians.  [Dowson 1982, eq. 4]"""
    values, vectors = np.linalg.eigh(covariance_x)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_y @ root).clip(0)).sum()
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(covariance_x) + np.trace(covariance_y) - 2 * cross)


def frechet_of(x: Array, y: Array) -> float:
    """Squared Fréchet distance of two sets, with covariances shrunk for few images.  [Ledoit 2004]

    It grows as n falls, so compare only distances of the same n.
    """
    return frechet(x.mean(axis=0), ledoit_wolf(x)[0], y.mean(axis=0), ledoit_wolf(y)[0])


def standardise(x: Array, reference: Array, least: float = 0.01) -> Array:
    """Features in units of the reference's deviation, taken as no smaller than `least`."""
    return (x - reference.mean(axis=0)) / np.maximum(reference.std(axis=0), least)


def classifier(strength: float) -> Pipeline:
    """Logistic regression on standardised features, regularised more the smaller `strength` is."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def two_sample(x: Array, y: Array, folds_x: Array, folds_y: Array, seed: int = 0) -> dict[str, Any]:
    """Can a classifier tell x from y? Cross-validated accuracy and AUC with 95 % intervals; 0.5 is chance.

    A fold should hold x and y of the same composition: else the classifier learns which kinds the other folds lack, and
    falls below chance. The intervals (exact binomial, bootstrap) take images for independent.  [Lopez-Paz 2017, sec. 3]
    """
    both, truth = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    fold, score = np.concatenate([folds_x, folds_y]), np.zeros(len(truth))
    for each in np.unique(fold):
        fit, held = fold != each, fold == each
        score[held] = classifier(0.01).fit(both[fit], truth[fit]).predict_proba(both[held])[:, 1]
    right, (value, interval) = (score > 0.5) == truth, auc(score[truth == 0], score[truth == 1], seed)
    return {
        "n": len(both), "folds": len(np.unique(fold)),
        "accuracy": float(right.mean()), "accuracy_interval": share_interval(int(right.sum()), len(both)),
        "auc": value, "auc_interval": interval,
    }  # fmt: skip


def share_interval(hits: int, n: int) -> list[float]:
    """Exact 95 % interval of a share.  [Clopper 1934]"""
    interval = binomtest(hits, n).proportion_ci(method="exact")
    return [float(interval.low), float(interval.high)]


def auc(low: Array, high: Array, seed: int = 0, draws: int = 1000) -> tuple[float, list[float]]:
    """The chance that a score of `high` beats one of `low`, ties counted half, and its bootstrap 95 % interval."""
    rng = np.random.default_rng(seed)
    wins = (high[:, None] > low).astype(float) + 0.5 * (high[:, None] == low)
    picks = [rng.multinomial(n, np.full(n, 1 / n), draws) / n for n in wins.shape]
    found = ((picks[0] @ wins) * picks[1]).sum(axis=1)
    return float(wins.mean()), [float(q) for q in np.quantile(found, [0.025, 0.975])]
