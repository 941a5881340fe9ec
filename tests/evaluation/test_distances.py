"""Distances of features: closed forms, other implementations, and the known answers of small sets."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from bench import fidelity
from phonybrains.evaluation.quality.distances import (
    Kernel,
    fid,
    frechet,
    frechet_of,
    gaussian,
    kid,
    kid_interval,
    kid_of_blocks,
    kid_of_people,
    median_distance,
    mmd_of,
    mmd_test,
    moments,
    polynomial,
    squared_distances,
    standardise,
)
from phonybrains.evaluation.quality.neighbours import expected_coverage, neighbourhoods

needs_fidelity = pytest.mark.skipif(fidelity.is_missing(), reason="torch-fidelity is not installed")


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def expected_kernel(a: float, b: float, d: int) -> float:
    """E (x·y/d + 1)³ for x ~ N(a, I), y ~ N(b, I), by the cumulants of a coordinate's product."""
    first, second, third = a * b, (a * a + 1) * (b * b + 1), (a**3 + 3 * a) * (b**3 + 3 * b)
    variance, skew = (second - first**2) / d, (third - 3 * first * second + 2 * first**3) / d**2
    m = first + 1
    return m**3 + 3 * m * variance + skew


def test_kid_of_four_points_by_hand():
    """x = 0, 1 and y = 2, 3 on a line: 1 + 343 - 2 · (1 + 1 + 27 + 64) / 4 = 297.5."""
    value, _ = kid(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert value == pytest.approx(297.5)


@pytest.mark.parametrize(
    ("kernel", "theirs"),
    [
        (polynomial, partial(polynomial_kernel, degree=3, gamma=1 / 5, coef0=1)),
        (gaussian(1.7), partial(rbf_kernel, gamma=1 / (2 * 1.7**2))),
    ],
    ids=["polynomial", "Gaussian"],
)
def test_mmd_by_the_formula_with_the_kernels_of_scikit_learn(rng: Generator, kernel: Kernel, theirs: Kernel):
    """The unbiased MMD² with an independent kernel, for sets of unequal size; with the polynomial one it is KID."""
    x, y = rng.normal(size=(17, 5)), rng.normal(0.3, 2, size=(11, 5))
    within_x, within_y, between = theirs(x, x), theirs(y, y), theirs(x, y)
    expected = (within_x.sum() - within_x.trace()) / (17 * 16) + (within_y.sum() - within_y.trace()) / (11 * 10)
    expected -= 2 * between.mean()
    assert mmd_test(x, y, kernel, 9)[0] == pytest.approx(expected)
    assert kernel is not polynomial or kid(x, y)[0] == pytest.approx(expected)


def test_kid_of_shifted_gaussians(rng: Generator):
    """N(0, I) against N(0.25, I) in 64 dimensions is 0.202850; estimates scatter around it by their own error."""
    closed = expected_kernel(0, 0, 64) + expected_kernel(0.25, 0.25, 64) - 2 * expected_kernel(0, 0.25, 64)
    assert closed == pytest.approx(0.202850, abs=1e-6)
    found = np.array([kid(rng.normal(size=(400, 64)), rng.normal(0.25, 1, (400, 64))) for _ in range(40)])
    spread = found[:, 0].std(ddof=1)
    assert found[:, 0].mean() == pytest.approx(closed, abs=3 * spread / math.sqrt(40))
    assert found[:, 1].mean() == pytest.approx(spread, rel=0.4)


def test_kid_of_equals_is_zero_on_average(rng: Generator):
    """n = 95 in 64 dimensions: unbiased, spread 0.012, which the jackknife does not understate."""
    found = np.array([kid(*rng.normal(size=(2, 95, 64))) for _ in range(200)])
    assert abs(found[:, 0].mean()) < 0.003
    assert found[:, 0].std() == pytest.approx(0.012, rel=0.2)
    assert 0.9 < found[:, 1].mean() / found[:, 0].std() < 2


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_of_kid_is_the_jackknife(rng: Generator, paired: bool):
    """The closed form equals leaving out one image, or one pair, at a time."""
    x = rng.normal(size=(9, 4))
    y = x + rng.normal(size=(9, 4))

    def without(a: np.ndarray, i: int) -> np.ndarray:
        return np.delete(a, i, axis=0)

    if paired:
        rounds = [[kid(without(x, i), without(y, i), True)[0] for i in range(9)]]
    else:
        rounds = [[kid(without(x, i), y)[0] for i in range(9)], [kid(x, without(y, i))[0] for i in range(9)]]
    expected = math.sqrt(sum(8 * np.var(values) for values in rounds))
    assert kid(x, y, paired)[1] == pytest.approx(expected)


def test_kid_of_pairs_is_not_misled_by_them(rng: Generator):
    """An image and what is all but itself: zero in pairs, far below zero otherwise."""
    x = rng.normal(size=(60, 16))
    assert kid(x, x, paired=True)[0] == pytest.approx(0, abs=1e-12)
    assert kid(x, x)[0] < -0.01


def test_frechet_distance_by_the_formula(rng: Generator):
    """The distance of two Gaussians with scipy's matrix root, and of two on a line: (1-3)² + (2-5)² = 13."""
    assert frechet(*map(np.array, ([1.0], [[4.0]], [3.0], [[25.0]]))) == pytest.approx(13)
    a, b = rng.normal(size=(2, 12, 12))
    a, b, mean = a @ a.T, b @ b.T, rng.normal(size=12)
    expected = mean @ mean + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(np.zeros(12), a, mean, b) == pytest.approx(expected)
    assert frechet(mean, a, mean, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_few_images(rng: Generator):
    """With fewer images than features, sets further apart have the larger distance."""
    x, others = rng.normal(size=(60, 104)), [rng.normal(m, 1, (60, 104)) for m in (0, 0.3, 1)]
    near, far, further = (frechet_of(x, y) for y in others)
    assert near < far < further


@needs_fidelity
def test_distances_equal_those_of_torch_fidelity(rng: Generator):
    """KID, FID, precision and recall of the same features, to 1e-6; FID with fewer images than features too."""
    for n, d in ((150, 24), (60, 96)):
        x, y = rng.normal(size=(n, d)), rng.normal(0.2, 1.3, (n, d))
        assert kid(x, y)[0] == pytest.approx(fidelity.kid(x, y), abs=1e-6)
        assert fid(x, y) == pytest.approx(fidelity.fid(x, y), abs=1e-6 if n > d else 1e-5)
        found = neighbourhoods(x, y, 3)
        assert (found.precision, found.recall) == pytest.approx(fidelity.precision_recall(x, y, 3), abs=1e-6)


def test_fid_by_the_matrix_root_of_scipy(rng: Generator):
    """With more and with fewer images than features, FID is the formula with np.cov and sqrtm, to 1e-6."""
    for n, m, d in ((80, 70, 20), (15, 18, 20)):
        x, y = rng.normal(size=(n, d)), rng.normal(0.5, 2, (m, d))
        a, b = np.cov(x.T), np.cov(y.T)
        ridge = 1e-13 * np.eye(d) if n < d else 0
        root = np.trace(sqrtm(a @ b + ridge).real)
        expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
        assert fid(x, y) == pytest.approx(expected, abs=1e-6 if n > d else 1e-4)


@pytest.mark.parametrize(("n", "expected"), [(95, 1.65), (1000, 0.88)])
def test_fid_of_equals_is_far_from_zero(rng: Generator, n: int, expected: float):
    """N(0, I) in 2048 dimensions against itself: FID over the trace is 1.65 at n = 95, 0.88 at n = 1000."""
    x, y = rng.normal(size=(2, n, 2048)).astype(np.float32)
    assert fid(x, y) / 2048 == pytest.approx(expected, abs=0.02)


def test_kid_of_blocks_is_kid_on_average(rng: Generator):
    """Blocks are unbiased: the closed form within three errors, with sides of unequal size; one block is KID itself."""
    x, y = rng.normal(size=(3000, 64)).astype(np.float32), rng.normal(0.25, 1, (2100, 64)).astype(np.float32)
    value, error = kid_of_blocks(x, y, 200)
    assert 0 < error < 0.01
    assert value == pytest.approx(0.202850, abs=3 * error)
    assert kid_of_blocks(x[:150], y[:100], 200) == kid(x[:150], y[:100])


def test_permutations_reject_at_their_level_and_see_a_shift(rng: Generator):
    """Of 300 pairs of equals about 5 % are rejected; a shift of 0.5 is always seen; p is never 0."""
    found = [mmd_test(*rng.normal(size=(2, 20, 4)), polynomial, 99, seed)[1] for seed in range(300)]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.085  # 5 % ± 2.4 errors
    x, y = rng.normal(size=(60, 16)), rng.normal(0.5, 1, (60, 16))
    assert mmd_test(x, y, gaussian(median_distance(y)), 199)[1] == 1 / 200


def test_the_width_of_the_kernel_is_the_median_distance(rng: Generator):
    """As scipy's distances say; one for points that are all the same."""
    x = rng.normal(size=(40, 3))
    assert median_distance(x) == pytest.approx(np.median(cdist(x, x)[np.triu_indices(40, 1)]))
    assert median_distance(np.ones((5, 3))) == 1


def test_squared_distances_far_from_the_origin(rng: Generator):
    """Those of scipy, and not lost in the cancellation of large numbers."""
    x, y = 1e6 + rng.normal(size=(2, 30, 8))
    np.testing.assert_allclose(squared_distances(x, y), cdist(x, y, "sqeuclidean"), rtol=1e-6)


def test_neighbourhoods_by_their_definition(rng: Generator):
    """Precision, recall, density and coverage as the papers define them, from scipy's distances."""
    made, real, k = rng.normal(0.3, 1, (70, 6)), rng.normal(size=(50, 6)), 4
    apart = cdist(made, real)
    ball_real, ball_made = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, made))
    inside = apart <= ball_real
    found = neighbourhoods(made, real, k)
    assert found.precision == pytest.approx(inside.any(axis=1).mean())
    assert found.recall == pytest.approx((apart <= ball_made[:, None]).any(axis=0).mean())
    assert found.density == pytest.approx(inside.sum() / (k * 70))
    assert found.coverage == pytest.approx(inside.any(axis=0).mean())


def test_coverage_of_equals(rng: Generator):
    """0.9712 expected at n = 95, k = 5, which draws confirm; a set that shows one image only covers next to nothing."""
    assert expected_coverage(95, 95, 5) == pytest.approx(0.9712, abs=5e-5)
    found = [neighbourhoods(*rng.normal(size=(2, 95, 8)), 5).coverage for _ in range(100)]
    assert np.mean(found) == pytest.approx(0.9712, abs=3 * np.std(found) / 10)
    collapsed = neighbourhoods(np.zeros((95, 8)) + 1e-3 * rng.normal(size=(95, 8)), rng.normal(size=(95, 8)))
    assert collapsed.coverage < 0.3 < 0.9 < collapsed.precision
    assert collapsed.recall < 0.1


def test_neighbours_need_enough_images(rng: Generator):
    """k neighbours of k images: an error that says how many are needed."""
    with pytest.raises(ValueError, match="more than 5 images a side"):
        neighbourhoods(rng.normal(size=(5, 3)), rng.normal(size=(50, 3)), 5)


def test_standardised_features_have_the_unit_of_the_reference(rng: Generator):
    """Mean 0 and deviation 1 of the reference; a feature that hardly varies is not blown up."""
    x = rng.normal(5, 3, (50, 4))
    x[:, 0] = 0.5
    found = standardise(x, x)
    np.testing.assert_allclose(found[:, 1:].std(axis=0), 1)
    np.testing.assert_allclose(standardise(x + 0.01, x)[:, 0], 1)


def test_moments_are_those_of_numpy(rng: Generator, monkeypatch: pytest.MonkeyPatch):
    """Mean and covariance read in blocks, far from the origin and in single precision, to 1e-6."""
    monkeypatch.setattr("phonybrains.evaluation.quality.distances.BLOCK", 16)
    x = (1000 + rng.normal(size=(75, 6))).astype(np.float32)
    mean, covariance = moments(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64).T), rtol=1e-6)


def test_errors_by_person_are_those_of_leaving_out_each_person(rng: Generator):
    """Value and error by the definitions, pair by pair and with one person less at a time, also where images of one
    person are not compared; with one person there is no error, and so no interval."""
    x, y, who = rng.normal(size=(9, 4)), rng.normal(0.3, 1, (14, 4)), np.arange(14) // 3

    def mean(side: np.ndarray, people: np.ndarray, strangers: bool) -> float:
        among = people[:, None] != people if strangers else ~np.eye(len(side), dtype=bool)
        return float(polynomial(side, side)[among].mean())

    def value(x: np.ndarray, y: np.ndarray, people: np.ndarray, strangers: bool) -> float:
        return mean(x, np.arange(len(x)), strangers) + mean(y, people, strangers) - 2 * polynomial(x, y).mean()

    for strangers in (False, True):
        found = mmd_of(polynomial(x, x), polynomial(y, y), polynomial(x, y), (None, who), strangers)
        of_x = [value(np.delete(x, i, 0), y, who, strangers) for i in range(9)]
        of_y = [value(x, y[who != person], who[who != person], strangers) for person in range(5)]
        error = math.sqrt(8 * np.var(of_x) + 4 * np.var(of_y))
        assert found == pytest.approx((value(x, y, who, strangers), error))
    assert kid(x, y, people=who) == pytest.approx((kid(x, y)[0], kid_of_blocks(x, y, people=who)[1]))
    alone = kid_of_people(x, y, None, who)[0], kid(x, y, people=["a"] * 14)[1]
    assert math.isfinite(alone[0])
    assert kid_interval(*alone, 9, ["a"] * 14) is None


def test_slices_of_few_people_are_not_taken_for_a_distance(rng: Generator):
    """Of one source, but six slices of each of five people: KID by person is 0 on average, and over 200 sets 5 % of its
    intervals at most leave out 0; of images taken for independent more than a third do."""
    ours, plain, values = 0, 0, []
    for _ in range(200):
        real = (rng.normal(size=(5, 16))[np.arange(30) // 6] + rng.normal(size=(30, 16))) / math.sqrt(2)
        made, who = rng.normal(size=(30, 16)), (np.arange(30) // 6).tolist()
        value, error = kid_of_people(made, real, None, who)
        limits = kid_interval(value, error, 30, who)
        assert limits is not None
        ours += not limits.low <= 0 <= limits.high
        value_of_all, error_of_all = kid(made, real)
        plain += abs(value_of_all) > 1.96 * error_of_all
        values.append(value)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(200)
    assert ours <= 10
    assert plain > 66
