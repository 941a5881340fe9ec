"""Trends over a reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.discrete.discrete_model import Logit

from phonybrains.statistics.trend import trend

seeds = st.integers(0, 10_000)


def reading(seed: int, slope: float = 0.02, reads: int = 60) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Answers that get better with position."""
    rng, position = np.random.default_rng(seed), np.arange(1.0, reads + 1)
    return rng.random(reads) < 1 / (1 + np.exp(-(0.3 + slope * position))), position


@given(seeds)
@example(583)  # where rounding of the likelihood once ended the search early
def test_trend_equals_the_logistic_regression_of_statsmodels(seed: int) -> None:
    """Slope per ten cases, standard error, interval and p; the order of reads and the origin do not matter."""
    correct, position = reading(seed, slope=0.0)
    found = trend(correct, position)
    model = Logit(correct.astype(float), np.stack([np.ones(60), position / 10], axis=1)).fit(disp=0, tol=1e-12)
    slope = found.slope_per_10
    assert slope.value == pytest.approx(model.params[1], abs=1e-8)
    assert slope.standard_error == pytest.approx(model.bse[1], rel=1e-6)
    assert (slope.low, slope.high) == pytest.approx(tuple(model.conf_int()[1]), abs=1e-6)
    assert found.p_value == pytest.approx(model.pvalues[1], abs=1e-7)
    other = trend(correct[::-1], position[::-1] + 1000)
    assert other.slope_per_10.value == pytest.approx(slope.value, abs=1e-8)


@given(seeds)
def test_exchanging_right_and_wrong_turns_the_trend(seed: int) -> None:
    """As does reading backwards."""
    correct, position = reading(seed, slope=0.0)
    slope = trend(correct, position).slope_per_10.value
    assert trend(~correct, position).slope_per_10.value == pytest.approx(-slope, abs=1e-8)
    assert trend(correct, -position).slope_per_10.value == pytest.approx(-slope, abs=1e-8)


def test_trend_finds_a_learner() -> None:
    """With a true slope of .5 per ten cases and 400 reads the interval holds it and leaves 0 out."""
    readings = [reading(seed, slope=0.05, reads=80) for seed in range(5)]
    found = trend(*map(np.concatenate, zip(*readings, strict=True)))
    assert 0 < found.slope_per_10.low <= 0.5 <= found.slope_per_10.high
    assert found.slope_per_10.n == 400


@pytest.mark.parametrize("correct", [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
def test_a_trend_without_finite_slope_is_refused(correct: list[int]) -> None:
    """All right, all wrong, or wrong before and right after."""
    with pytest.raises(ValueError, match="no finite slope"):
        trend(correct, [1, 2, 3, 4])


def test_a_trend_needs_reads_at_several_positions() -> None:
    """Two reads, or all at one position."""
    for correct, position in (([1, 0], [1, 2]), ([1, 0, 1], [4, 4, 4])):
        with pytest.raises(ValueError, match="more than one position"):
            trend(correct, position)
