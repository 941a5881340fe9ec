"""ROC curves, areas and their intervals, against scikit-learn, brute force, simulation and published values."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from phonybrains.statistics.roc import (
    auc,
    auc_interval,
    d_prime,
    delong_covariance,
    hanley_mcneil_variance,
    placements,
    roc_curve,
    score_interval,
)
from tests.support.examples import given
from tests.support.van_dyke import SCORES, TRUTH

Array = NDArray[np.float64]
seeds = st.integers(0, 10_000)


def study(seed: int, m: int = 9, n: int = 7, k: int = 3) -> tuple[Array, NDArray[np.bool_]]:
    """(k, m + n) scores in whole numbers, many of them tied, and the truth, shuffled."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(m + n) < m)
    return np.round(rng.normal(size=(k, m + n)) * 2 + truth * 2 + rng.normal(size=m + n)), truth


# --- Curve and area --------------------------------------------------------------------------------------------------


@given(seeds)
def test_curve_and_area_equal_those_of_scikit_learn(seed: int) -> None:
    """Every threshold, tied scores as one step."""
    (scores, *_), truth = study(seed)
    found = roc_curve(scores, truth)
    expected = sklearn_roc_curve(truth, scores, drop_intermediate=False)
    for ours, theirs in zip(
        (found.false_positive_rate, found.true_positive_rate, found.thresholds), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert np.trapezoid(found.true_positive_rate, found.false_positive_rate) == pytest.approx(auc(scores, truth))


@given(seeds)
def test_area_depends_on_ranks_only(seed: int) -> None:
    """A rising map or another order of cases changes nothing; turned scores or truth give 1 - AUC."""
    (scores, *_), truth = study(seed)
    area, order = auc(scores, truth), np.random.default_rng(seed).permutation(len(truth))
    assert auc(np.exp(scores / 3), truth) == pytest.approx(area, abs=1e-12)
    assert auc(scores[order], truth[order]) == pytest.approx(area, abs=1e-12)
    assert auc(-scores, truth) == pytest.approx(1 - area, abs=1e-12)
    assert auc(scores, ~truth) == pytest.approx(1 - area, abs=1e-12)


def test_areas_without_doubt() -> None:
    """All above: 1; all tied: .5; and a better score of a positive case never lowers the area."""
    truth = [True, True, False, False]
    assert auc([3, 2, 1, 0], truth) == 1
    assert auc([7, 7, 7, 7], truth) == 0.5
    areas = [auc([score, 2, 1, 3], truth) for score in range(5)]
    assert areas == sorted(areas)


# --- DeLong ----------------------------------------------------------------------------------------------------------


@given(seeds)
def test_delong_covariance_is_that_of_the_definition(seed: int) -> None:
    """Placements and covariances from all pairs of cases, one by one (DeLong et al. 1988)."""
    scores, truth = study(seed)
    k, m, n = len(scores), int(truth.sum()), int((~truth).sum())
    psi = np.array([[[(x > y) + (x == y) / 2 for y in row[~truth]] for x in row[truth]] for row in scores], dtype=float)
    v10, v01, area = psi.mean(axis=2), psi.mean(axis=1), psi.mean(axis=(1, 2))
    found = placements(scores, truth)
    np.testing.assert_allclose(found[0], v10, atol=1e-12)
    np.testing.assert_allclose(found[1], v01, atol=1e-12)
    expected = np.zeros((k, k))
    for a, b in product(range(k), range(k)):
        s10 = sum((v10[a, i] - area[a]) * (v10[b, i] - area[b]) for i in range(m)) / (m - 1)
        s01 = sum((v01[a, j] - area[a]) * (v01[b, j] - area[b]) for j in range(n)) / (n - 1)
        expected[a, b] = s10 / m + s01 / n
    np.testing.assert_allclose(delong_covariance(scores, truth), expected, atol=1e-12)


def test_auc_interval_is_symmetric_in_logits_and_turns_with_the_truth() -> None:
    """logit AUC ± z · SE/(AUC(1 - AUC)); exchanging the kinds of case gives 1 minus it."""
    found, turned = auc_interval(SCORES[0, 0], TRUTH), auc_interval(SCORES[0, 0], ~TRUTH)
    error = math.sqrt(delong_covariance(SCORES[0, 0], TRUTH)[0, 0])
    assert found.standard_error == pytest.approx(error)
    logit = [math.log(p / (1 - p)) for p in (found.low, found.value, found.high)]
    half = 1.959964 * error / (found.value * (1 - found.value))
    assert (logit[1] - logit[0], logit[2] - logit[1]) == pytest.approx((half, half), rel=1e-6)
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low))
    assert found.n == 114


def covered(rng: np.random.Generator, shift: float, m: int, n: int, studies: int) -> float:
    """How often auc_interval holds the true area of two normal groups."""
    true, hits = stats.norm.cdf(shift / math.sqrt(2)), 0
    for _ in range(studies):
        found = auc_interval(np.concatenate([rng.normal(shift, 1, m), rng.normal(0, 1, n)]), np.arange(m + n) < m)
        hits += found.low <= true <= found.high
    return hits / studies


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5, 4.0])
def test_auc_interval_covers_near_its_level(shift: float) -> None:
    """Areas from .5 to .998, 20 + 20 cases: between 92 and 99.5 in 100 of 600 studies, perfect ones among them."""
    assert 0.92 <= covered(np.random.default_rng(int(10 * shift)), shift, 20, 20, 600) <= 0.995


@pytest.mark.parametrize(("m", "n"), [(20, 20), (3, 30), (2, 2), (1, 5), (1, 1)])
def test_a_perfect_reader_has_an_interval_with_width(m: int, n: int) -> None:
    """AUC 1: up to 1, from below 1, never NaN, the lower the fewer the cases; AUC 0 mirrors it."""
    truth = np.arange(m + n) < m
    perfect, worst = auc_interval(truth.astype(float), truth), auc_interval(-truth.astype(float), truth)
    assert (perfect.value, perfect.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert 0 <= perfect.low < 1
    assert worst.high == pytest.approx(1 - perfect.low, abs=1e-9)
    more = auc_interval(np.tile(truth, 2).astype(float), np.tile(truth, 2))
    assert more.low > perfect.low


def test_tied_scores_have_an_interval_with_width_too() -> None:
    """A reader who always says the same has AUC .5, about which ten cases of each kind say little."""
    found = auc_interval(np.zeros(20), np.arange(20) < 10)
    assert found.value == 0.5
    assert found.low < 0.3
    assert found.high > 0.7


@given(st.floats(0, 1), st.integers(1, 60), st.integers(1, 60))
def test_score_interval_ends_z_standard_errors_away(area: float, m: int, n: int) -> None:
    """At each end inside (0, 1) the found area is 1.96 standard errors of that end away."""
    found = score_interval(area, m, n)
    assert 0 <= found.low <= area <= found.high <= 1
    for end in (found.low, found.high):
        if 1e-6 < end < 1 - 1e-6:
            assert abs(area - end) == pytest.approx(1.959964 * math.sqrt(hanley_mcneil_variance(end, m, n)), rel=1e-4)


def test_hanley_mcneil_variance_is_exact_for_guessing_and_equal_groups() -> None:
    """At .5 it is (m + n + 1)/12mn, the variance of Mann & Whitney; for m = n it is Hanley & McNeil's formula."""
    assert hanley_mcneil_variance(0.5, 7, 12) == pytest.approx(20 / (12 * 7 * 12))
    a, m = 0.83, 15
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    published = (a * (1 - a) + (m - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / m**2
    assert hanley_mcneil_variance(a, m, m) == pytest.approx(published)


# --- Signal detection ------------------------------------------------------------------------------------------------


def test_d_prime_with_the_log_linear_rule() -> None:
    """20 of 25 hits, 6 of 25 false alarms: z(20.5/26) - z(6.5/26), and the criterion between."""
    found = d_prime(20, 25, 6, 25)
    hit, false_alarm = stats.norm.ppf([20.5 / 26, 6.5 / 26])
    assert found.d_prime.value == pytest.approx(hit - false_alarm)
    assert found.criterion.value == pytest.approx(-(hit + false_alarm) / 2)
    assert found.d_prime.n == 50


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_d_prime_turns_with_the_labels(positives: int, negatives: int, data: st.DataObject) -> None:
    """Finite even at 0 and all; exchanging the answers turns both signs; more hits, more d′."""
    hits, alarms = data.draw(st.integers(0, positives)), data.draw(st.integers(0, negatives))
    one, other = (
        d_prime(hits, positives, alarms, negatives),
        d_prime(positives - hits, positives, negatives - alarms, negatives),
    )
    assert math.isfinite(one.d_prime.low)
    assert other.d_prime.value == pytest.approx(-one.d_prime.value, abs=1e-9)
    assert other.criterion.value == pytest.approx(-one.criterion.value, abs=1e-9)
    if hits < positives:
        assert d_prime(hits + 1, positives, alarms, negatives).d_prime.value > one.d_prime.value


def test_d_prime_varies_by_its_standard_error() -> None:
    """Over 4000 readers with H = .8, F = .3 and 60 cases of each kind, within 5 %, as does the criterion."""
    rng = np.random.default_rng(5)
    found = [d_prime(int(rng.binomial(60, 0.8)), 60, int(rng.binomial(60, 0.3)), 60) for _ in range(4000)]
    for name in ("d_prime", "criterion"):
        errors = [getattr(one, name).standard_error for one in found]
        assert np.std([getattr(one, name).value for one in found]) == pytest.approx(np.mean(errors), rel=0.05)
