"""The bootstrap by units: scipy's percentiles, wider for few units, and right as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from phonybrains.statistics.bootstrap import Drawn, drawn_again, share_again, still_area
from phonybrains.statistics.roc import score_interval


def test_with_infinite_units_limits_are_scipys_percentiles() -> None:
    """From scipy's own draws of a skewed sample's standard deviation; draws that are NaN do not count."""
    x = np.random.default_rng(0).exponential(size=40)
    theirs = stats.bootstrap((x,), np.std, method="percentile", n_resamples=999, rng=np.random.default_rng(1))
    draws = np.append(theirs.bootstrap_distribution, [np.nan] * 5)
    ours = Drawn(1.0, draws, math.inf).interval()
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_of_a_normal_mean_the_limits_are_those_of_t() -> None:
    """Draws that spread as the bootstrap of n does, √((n-1)/n) of the standard error: t's interval and p."""
    quantiles = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    for n in (5, 8, 41):
        error = 0.1
        drawn = Drawn(0.25, 0.25 + quantiles * error * math.sqrt((n - 1) / n), n)
        wanted = stats.t.interval(0.95, n - 1, 0.25, error)
        assert (drawn.interval().low, drawn.interval().high) == pytest.approx(wanted, rel=0.01)
        assert drawn.p_value() == pytest.approx(2 * stats.t.sf(2.5, n - 1), rel=0.01)
    assert Drawn(0.25, 0.25 + quantiles * 0.1, math.inf).p_value() == pytest.approx(2 * stats.norm.sf(2.5), rel=0.01)


def test_p_is_small_where_no_draw_lies_beyond_and_1_in_the_middle() -> None:
    """The tail goes on after the last draw; a value that does not vary is not told from itself."""
    draws = np.random.default_rng(0).normal(8, 1, 1000)
    assert Drawn(8.0, draws, math.inf).p_value() == pytest.approx(2 * stats.norm.sf(8 / draws.std()), rel=1e-6)
    assert Drawn(8.0, draws, 30).p_value(null=8.0) > 0.9
    assert Drawn(0.0, np.zeros(50), 10).p_value() == 1
    assert Drawn(math.nan, np.full(50, math.nan), 10).p_value() == 1


def test_whole_units_are_drawn_as_many_as_there_are() -> None:
    """Images of one person count alike, and the counts of people sum to their number."""
    weights = drawn_again(["b", "a", "b", "c"], 300, np.random.default_rng(0))
    assert weights.shape == (300, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert set((weights[:, 0] + weights[:, 1] + weights[:, 3]).tolist()) == {3.0}
    assert weights.mean(axis=0) == pytest.approx([1, 1, 1, 1], abs=0.15)


@pytest.mark.parametrize("people", [5, 8, 20])
def test_the_mean_of_few_people_is_rejected_at_the_level(people: int) -> None:
    """Six images each, half of the variance the person's: over 600 sets at most 7 % at 5 %, where plain percentiles
    reject 9 % or more."""
    ours = plain = 0
    for i in range(600):
        rng = np.random.default_rng([people, i])
        who = np.repeat(np.arange(people), 6)
        values = rng.normal(size=people)[who] + rng.normal(size=len(who))
        weights = drawn_again(who, 400, rng)
        draws = weights @ values / weights.sum(axis=1)
        ours += Drawn(float(values.mean()), draws, people).p_value() <= 0.05
        plain += Drawn(float(values.mean()), draws, math.inf).p_value() <= 0.05
    assert 0.01 <= ours / 600 <= 0.07
    assert plain > 1.3 * ours


@pytest.mark.parametrize("people", [2, 3, 5])
def test_intervals_of_very_few_people_hold_the_mean_as_often_as_they_say(people: int) -> None:
    """The draws of so few end at the lowest and the highest of them, which hold the mean in 50, 75 and 94 of 100
    sets; of 600 sets 93 % or more, and no interval leaves the bounds."""
    held = 0
    for i in range(600):
        rng = np.random.default_rng([people, i])
        values = rng.normal(size=people)
        draws = drawn_again(np.arange(people), 400, rng) @ values / people
        found = Drawn(float(values.mean()), draws, people).interval()
        held += found.low <= 0 <= found.high
    assert held / 600 >= 0.93
    found = Drawn(0.9, np.array([0.8, 1.0, 0.9, 0.9]), 2, (0.0, 1.0)).interval()
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(("value", "positives", "negatives"), [(1.0, 3, 5), (0.5, 4, 9), (0.0, 6, 2)])
def test_an_area_that_nobody_changes_has_newcombes_interval(value: float, positives: int, negatives: int) -> None:
    """1.00 of three and five people goes down to .57, and is not certain."""
    draws = still_area(value, positives, negatives, 40_000, np.random.default_rng(0))
    found = Drawn(value, draws, math.inf, (0.0, 1.0)).interval()
    wanted = score_interval(value, positives, negatives)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_that_is_the_same_in_all_people_has_width(share: float) -> None:
    """All, none, or one of two slices of each of six people: each person counts once, as in Jeffreys' interval."""
    who, hits = np.repeat(np.arange(6), 2), np.tile([share > 0, share > 0.5], 6).astype(float)
    rng = np.random.default_rng(0)
    found = share_again(hits, who, drawn_again(who, 20_000, rng), rng).estimate(12)
    low, high = stats.beta.ppf([0.025, 0.975], 6 * share + 0.5, 6 * (1 - share) + 0.5)
    assert found.value == share
    assert (found.low, found.high) == pytest.approx((min(low, share), max(high, share)), abs=0.01)
