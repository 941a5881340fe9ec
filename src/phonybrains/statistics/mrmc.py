"""Multi-reader multi-case analysis of AUC: Obuchowski & Rockette's model with Hillis' degrees of freedom.

Symbols: T tests (say, two models' images), R readers, C cases; θ_ij is the AUC of test i with reader j.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .estimate import Estimate, f_p_value, square_and_add, t_estimate, t_p_value
from .roc import hanley_mcneil_variance, placements, placements_of_two, score_interval

Array = NDArray[np.float64]
NOTHING = 1e-12  # a variance below this is rounding


@dataclass(frozen=True)
class ErrorCovariance:
    """Variance of an AUC through the cases, and covariance with that of: another test read by the same reader (cov1),
    the same test with another reader (cov2), another test with another reader (cov3). 0 where there is no other."""

    variance: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class MeanSquares:
    """MS(T), MS(R) and MS(TR) of the AUCs; 0 where there is one test or one reader."""

    test: float
    reader: float
    interaction: float


@dataclass(frozen=True)
class Contrast:
    """A mean AUC against a value, or the difference of two against 0: interval, t, its degrees of freedom, p."""

    estimate: Estimate
    t: float
    df: float
    p_value: float


@dataclass(frozen=True)
class Inference:
    """What holds for one population: F for all tests equal, each test against chance, each pair of tests.

    differences: (i, j) → mean AUC of test i minus that of test j, i < j. With one test f, df and p_value are None; with
    none of the variance left (see obuchowski_rockette) f and df are, and p_value is Bonferroni's of the differences.
    """

    f: float | None
    df: tuple[float, float] | None
    p_value: float | None
    tests: tuple[Contrast, ...]
    differences: dict[tuple[int, int], Contrast]


@dataclass(frozen=True)
class ReaderStudy:
    """auc: (T, R). Of the three analyses, the two that speak about readers in general are None with one reader."""

    auc: Array
    mean_squares: MeanSquares
    covariance: ErrorCovariance
    random_readers: Inference | None
    fixed_readers: Inference
    fixed_cases: Inference | None


def jackknife_covariance(scores: ArrayLike, truth: ArrayLike) -> Array:
    """Covariance, (k, k), of the AUCs of (k, cases) scores, from leaving out each case in turn.

    In closed form: without positive i the AUC is (m·A - V₁₀ᵢ)/(m - 1), and likewise for a negative. Raises ValueError
    with fewer than two cases of either kind. [Hillis, Obuchowski, Schartz & Berbaum 2005]
    """
    without = [(v.sum(axis=1, keepdims=True) - v) / (v.shape[1] - 1) for v in placements_of_two(scores, truth)]
    deviation = np.concatenate(without, axis=1)
    deviation -= deviation.mean(axis=1, keepdims=True)
    cases = deviation.shape[1]
    return (cases - 1) / cases * deviation @ deviation.T


def obuchowski_rockette(
    scores: ArrayLike,
    truth: ArrayLike,
    covariance: Callable[[ArrayLike, ArrayLike], Array] = jackknife_covariance,
    chance: float = 0.5,
    level: float = 0.95,
) -> ReaderStudy:
    """Analyse the AUCs of T tests that R readers read on the same C cases, none missing; n is the number of cases.

    scores: (T, R, C); truth: (C,), True for positive; covariance: jackknife_covariance or roc.delong_covariance. Three
    analyses: readers and cases random (for readers and cases like these), readers fixed (these readers, cases like
    these), cases fixed (readers like these, these cases). Where all variance is 0, as when every reader is perfect, a
    mean AUC has one reader's score_interval, and F is None. Raises ValueError unless there are two cases of each kind.
    [Obuchowski & Rockette 1995; Hillis 2007; one test alone: Hillis 2014]
    """
    values, positive = np.asarray(scores, dtype=float), np.asarray(truth).astype(bool)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError("Scores form a table of tests × readers × cases.")
    tests, readers, cases = values.shape
    theta = placements(values, positive)[0].mean(axis=-1)
    matrix = covariance(values.reshape(-1, cases), positive).reshape(tests, readers, tests, readers)
    error, squares = _error_covariance(matrix), _mean_squares(theta)
    each = [_error_covariance(matrix[i : i + 1, :, i : i + 1]) for i in range(tests)]
    each_reader = [float(row.var(ddof=1)) if readers > 1 else 0.0 for row in theta]
    between, separate = error.cov2 - error.cov3, [e.cov2 for e in each]
    sizes = (int(positive.sum()), int((~positive).sum()))

    def infer(difference: tuple[float, float], single: list[tuple[float, float]]) -> Inference:
        return _infer(theta, squares.test, difference, single, sizes, chance, level)

    fixed_readers = infer(
        (error.variance - error.cov1 + (readers - 1) * between, math.inf),
        [(e.variance + (readers - 1) * cov, math.inf) for e, cov in zip(each, separate, strict=True)],
    )
    if readers == 1:
        return ReaderStudy(theta, squares, error, None, fixed_readers, None)
    df = (tests - 1) * (readers - 1)
    own = zip(each_reader, separate, strict=True)
    random_readers = infer(
        _with_hillis_df(squares.interaction, readers * max(between, 0), df),
        [_with_hillis_df(ms, readers * max(cov, 0), readers - 1) for ms, cov in own],
    )
    fixed_cases = infer((squares.interaction, df), [(ms, readers - 1) for ms in each_reader])
    return ReaderStudy(theta, squares, error, random_readers, fixed_readers, fixed_cases)


def _mean_squares(theta: Array) -> MeanSquares:
    (tests, readers), mean = theta.shape, theta.mean()
    of_tests, of_readers = theta.mean(axis=1, keepdims=True), theta.mean(axis=0, keepdims=True)
    squares = [
        (readers * ((of_tests - mean) ** 2).sum(), tests - 1),
        (tests * ((of_readers - mean) ** 2).sum(), readers - 1),
        (((theta - of_tests - of_readers + mean) ** 2).sum(), (tests - 1) * (readers - 1)),
    ]
    return MeanSquares(*(float(total / df) if df else 0.0 for total, df in squares))


def _error_covariance(matrix: Array) -> ErrorCovariance:
    """Average the (T, R, T, R) covariances of their four kinds."""
    tests, readers = matrix.shape[:2]
    same_test = np.eye(tests, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]
    kinds = (same_test & same_reader, ~same_test & same_reader, same_test & ~same_reader, ~same_test & ~same_reader)
    return ErrorCovariance(*(float(matrix[kind].mean()) if kind.any() else 0.0 for kind in kinds))


def _with_hillis_df(mean_square: float, covariance: float, df: float) -> tuple[float, float]:
    """The error term and its degrees of freedom, which grow as cases outweigh readers.  [Hillis 2007]"""
    total = mean_square + covariance
    return total, df * (total / mean_square) ** 2 if mean_square > NOTHING else math.inf


def _infer(
    theta: Array,
    ms_test: float,
    difference: tuple[float, float],
    single: list[tuple[float, float]],
    sizes: tuple[int, int],
    chance: float,
    level: float,
) -> Inference:
    """Tests and intervals from the error term of a difference, and of each test alone, with degrees of freedom."""
    tests, readers = theta.shape
    means, n = theta.mean(axis=1).tolist(), sum(sizes)
    perfect = [score_interval(min(mean, 1.0), *sizes, level).about(mean, n) for mean in means]
    alone = tuple(
        _contrast(t_estimate(mean, math.sqrt(error / readers), n, level, df, (0, 1)), chance, df)
        if error > NOTHING
        else _contrast(one, chance, math.inf, math.sqrt(hanley_mcneil_variance(chance, *sizes)))
        for mean, one, (error, df) in zip(means, perfect, single, strict=True)
    )
    error, df = difference
    pairs = {
        (i, j): _contrast(t_estimate(means[i] - means[j], math.sqrt(2 * error / readers), n, level, df, (-1, 1)), 0, df)
        if error > NOTHING
        else _difference_of_one_reader(perfect[i], perfect[j], sizes)
        for i, j in combinations(range(tests), 2)
    }
    if tests == 1:
        return Inference(None, None, None, alone, pairs)
    if error > NOTHING:
        return Inference(ms_test / error, (tests - 1, df), f_p_value(ms_test / error, tests - 1, df), alone, pairs)
    return Inference(None, None, min(min(pair.p_value for pair in pairs.values()) * len(pairs), 1.0), alone, pairs)


def _contrast(estimate: Estimate, null: float, df: float, error: float | None = None) -> Contrast:
    scale = estimate.standard_error if error is None else error
    t = (estimate.value - null) / scale if scale else 0.0
    return Contrast(estimate, t, df, t_p_value(t, df))


# Without variance: every reader has the same AUC and no case moves it. Then the readers count as one.


def _difference_of_one_reader(first: Estimate, second: Estimate, sizes: tuple[int, int]) -> Contrast:
    gap, middle = first.value - second.value, (first.value + second.value) / 2
    error = math.sqrt(2 * hanley_mcneil_variance(middle, *sizes)) if gap else None
    return _contrast(square_and_add(first, second).about(gap, first.n), 0, math.inf, error)
