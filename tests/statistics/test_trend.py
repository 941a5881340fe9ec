"""Trends over a reading, repeats, the bootstrap and Holm's correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.multitest import multipletests

from phonybrains.statistics import trend as over_time
from phonybrains.statistics.resample import (
    bca_interval,
    bootstrap_cases,
    bootstrap_readers_and_cases,
    holm,
    percentile_interval,
)
from phonybrains.statistics.roc import auc, auc_interval

seeds = st.integers(0, 10_000)


def reading(seed: int, slope: float = 0.02, reads: int = 60) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Answers that get better with position."""
    rng, position = np.random.default_rng(seed), np.arange(1.0, reads + 1)
    return rng.random(reads) < 1 / (1 + np.exp(-(0.3 + slope * position))), position


# --- Trend -----------------------------------------------------------------------------------------------------------


@given(seeds)
@example(583)  # where rounding of the likelihood once ended the search early
def test_trend_equals_the_logistic_regression_of_statsmodels(seed: int) -> None:
    """Slope per ten cases, standard error, interval and p; the order of reads and the origin do not matter."""
    correct, position = reading(seed, slope=0.0)
    found = over_time.trend(correct, position)
    model = Logit(correct.astype(float), np.stack([np.ones(60), position / 10], axis=1)).fit(disp=0, tol=1e-12)
    slope = found.slope_per_10
    assert slope.value == pytest.approx(model.params[1], abs=1e-8)
    assert slope.standard_error == pytest.approx(model.bse[1], rel=1e-6)
    assert (slope.low, slope.high) == pytest.approx(tuple(model.conf_int()[1]), abs=1e-6)
    assert found.p_value == pytest.approx(model.pvalues[1], abs=1e-7)
    other = over_time.trend(correct[::-1], position[::-1] + 1000)
    assert other.slope_per_10.value == pytest.approx(slope.value, abs=1e-8)


@given(seeds)
def test_exchanging_right_and_wrong_turns_the_trend(seed: int) -> None:
    """As does reading backwards."""
    correct, position = reading(seed, slope=0.0)
    slope = over_time.trend(correct, position).slope_per_10.value
    assert over_time.trend(~correct, position).slope_per_10.value == pytest.approx(-slope, abs=1e-8)
    assert over_time.trend(correct, -position).slope_per_10.value == pytest.approx(-slope, abs=1e-8)


def test_trend_finds_a_learner() -> None:
    """With a true slope of .5 per ten cases and 400 reads the interval holds it and leaves 0 out."""
    correct, position = reading(3, slope=0.05, reads=80)
    correct = np.concatenate([reading(seed, slope=0.05, reads=80)[0] for seed in range(5)])
    found = over_time.trend(correct, np.tile(position, 5))
    assert 0 < found.slope_per_10.low <= 0.5 <= found.slope_per_10.high
    assert found.slope_per_10.n == 400


@pytest.mark.parametrize("correct", [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
def test_a_trend_without_finite_slope_is_refused(correct: list[int]) -> None:
    """All right, all wrong, or wrong before and right after."""
    with pytest.raises(ValueError, match="no finite slope"):
        over_time.trend(correct, [1, 2, 3, 4])


def test_a_trend_needs_reads_at_several_positions() -> None:
    """Two reads, or all at one position."""
    for correct, position in (([1, 0], [1, 2]), ([1, 0, 1], [4, 4, 4])):
        with pytest.raises(ValueError, match="more than one position"):
            over_time.trend(correct, position)


# --- Repeats ---------------------------------------------------------------------------------------------------------


def test_repeats_count_the_same_answer_again() -> None:
    """8 of 10 the same: .8 by count, κ 11/16 after chance."""
    first = ["real"] * 5 + ["phony"] * 5
    second = ["real"] * 4 + ["phony"] * 5 + ["unclear"]
    found = over_time.test_retest(first, second, ["real", "phony", "unclear"])
    assert found.agreement.value == 0.8
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx((0.8 - 0.45) / (1 - 0.45))


def test_repeats_of_one_answer_have_no_kappa() -> None:
    """Always real: all the same, and nothing to correct for chance."""
    found = over_time.test_retest(["real"] * 4, ["real"] * 4, ["real", "phony"])
    assert (found.agreement.value, found.kappa) == (1, None)
    with pytest.raises(ValueError, match="0 of 0"):
        over_time.test_retest([], [], ["real", "phony"])


# --- Bootstrap -------------------------------------------------------------------------------------------------------


def test_bca_interval_equals_that_of_scipy() -> None:
    """From scipy's own draws of a skewed sample's standard deviation, and its percentile interval too."""
    x = np.random.default_rng(0).exponential(size=40)
    for method, level in (("BCa", 0.95), ("BCa", 0.8), ("percentile", 0.95)):
        theirs = stats.bootstrap(
            (x,), np.std, method=method, confidence_level=level, n_resamples=999, rng=np.random.default_rng(1)
        )
        draws = theirs.bootstrap_distribution
        without_one = [np.std(np.delete(x, i)) for i in range(len(x))]
        ours = (
            bca_interval(float(np.std(x)), draws, without_one, level)
            if method == "BCa"
            else percentile_interval(draws, level)
        )
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_bca_interval_counts_ties_half() -> None:
    """Draws that lie evenly about a value equal to some of them have no bias: the percentile interval."""
    draws = [1.0, 2.0, 2.0, 3.0]
    assert bca_interval(2.0, draws, [2.0, 2.0], 0.5) == percentile_interval(draws, 0.5)
    assert bca_interval(9.0, draws, [2.0, 2.0], 0.5) == percentile_interval(draws, 0.5)  # beyond all draws


def test_one_case_and_one_draw_are_enough() -> None:
    """They say nothing, without failing."""
    found = bootstrap_cases(lambda i: float(len(i)), 1, np.random.default_rng(0), draws=1)
    assert (found.value, found.low, found.high, found.n, found.standard_error) == (1, 1, 1, 1, 0)
    both = bootstrap_readers_and_cases(lambda r, c: float(len(r) * len(c)), 1, 1, np.random.default_rng(0), draws=1)
    assert both == found


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    """s/√n within 3 %, and an interval near Student's; equal seeds, equal results."""
    x = np.random.default_rng(2).normal(size=80)
    found, again = (bootstrap_cases(lambda i: x[i].mean(), 80, np.random.default_rng(9), draws=4000) for _ in range(2))
    assert found == again
    assert found.standard_error == pytest.approx(x.std() / math.sqrt(80), rel=0.03)
    half = 1.96 * x.std() / math.sqrt(80)
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)
    assert found.value == x.mean()


def test_bootstrap_of_an_area_agrees_with_delong() -> None:
    """The standard error within 8 %, cases drawn within truth so that both kinds are always there."""
    rng, truth = np.random.default_rng(4), np.arange(60) < 25
    scores = truth + rng.normal(size=60)
    found = bootstrap_cases(lambda i: auc(scores[i], truth[i]), 60, rng, strata=truth, draws=1500)
    assert found.standard_error == pytest.approx(auc_interval(scores, truth).standard_error, rel=0.08)


def test_strata_keep_their_sizes_and_pairs_stay_together() -> None:
    """Each draw has as many of each label; indices of one draw serve all arrays."""
    labels, drawn = np.array([0, 0, 1, 1, 1, 2]), []

    def statistic(indices: NDArray[np.intp]) -> float:
        drawn.append(np.bincount(labels[indices]).tolist())
        return float(indices.sum())

    bootstrap_cases(statistic, 6, np.random.default_rng(0), strata=labels, draws=50, bca=False)
    assert drawn == [[2, 3, 1]] * 51


def test_bootstrap_of_readers_and_cases_adds_both_variances() -> None:
    """The mean of reader + case effects: their two variances of the mean, within 5 %."""
    rng = np.random.default_rng(6)
    table = rng.normal(size=(12, 1)) + rng.normal(size=(1, 50))
    found = bootstrap_readers_and_cases(
        lambda readers, cases: table[np.ix_(readers, cases)].mean(), 12, 50, rng, draws=4000
    )
    expected = table.mean(axis=1).var() / 12 + table.mean(axis=0).var() / 50
    assert found.standard_error == pytest.approx(math.sqrt(expected), rel=0.05)
    assert found.low < table.mean() < found.high


def test_a_constant_statistic_has_no_width() -> None:
    """No bias, no acceleration, no NaN."""
    found = bootstrap_cases(lambda i: 3.0, 10, np.random.default_rng(0), draws=50)
    assert (found.low, found.high) == (3, 3)


def test_undefined_statistics_are_said_not_hidden() -> None:
    """NaN for the data, NaN in many draws, no cases; NaN now and then is left out."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not defined for these data"):
        bootstrap_cases(lambda i: math.nan, 5, rng)
    with pytest.raises(ValueError, match="bootstrap draws"):
        bootstrap_cases(lambda i: 1.0 if len(set(i.tolist())) == 5 else math.nan, 5, rng, draws=100, bca=False)
    with pytest.raises(ValueError, match="at least one case"):
        bootstrap_cases(lambda i: 1.0, 0, rng)
    rare = bootstrap_cases(lambda i: math.nan if 0 not in i and 1 not in i and 2 not in i else 1.0, 9, rng, draws=400)
    assert rare.value == 1


# --- Holm ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 40).map(lambda n: n / 40), min_size=1, max_size=12))
def test_holm_is_the_step_down_of_the_definition(p_values: list[float]) -> None:
    """At every level it rejects what is rejected from the smallest p on, against alpha/k, alpha/(k - 1), …"""
    adjusted, ascending = holm(p_values), sorted(p_values)
    for alpha in (0.011, 0.052, 0.21, 0.77):
        count = 0
        while count < len(ascending) and ascending[count] <= alpha / (len(ascending) - count):
            count += 1
        assert (adjusted <= alpha).sum() == count
    assert (adjusted >= np.array(p_values)).all()


def test_holm_equals_that_of_statsmodels() -> None:
    """Eight p values out of order, two of them tied."""
    p_values = [0.2, 0.001, 0.04, 0.012, 0.04, 0.6, 0.007, 0.03]
    assert holm(p_values).tolist() == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def test_holm_by_hand() -> None:
    """.01 .04 .03 become .03 .06 .06; nothing in, nothing out; 1.2 is no p."""
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])
