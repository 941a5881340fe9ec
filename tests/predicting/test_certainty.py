"""What draws say of an answer: each formula against a case whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from phonybrains.predicting.certainty import best_temperature, interval, picp, probabilities, qice, vote


def test_probabilities_follow_the_distance_to_one():
    """Equation 10 by hand: at (1, 0) and τ = 1 the weights are 1 and 1/e; a one-hot draw is surer the lower τ is."""
    found = probabilities(np.array([[[1.0, 0.0]]]), 1.0)[0, 0]
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1))], rtol=1e-12)
    assert probabilities(np.array([[[1.0, 0.0]]]), 0.1)[0, 0, 0] > 0.9999


def test_the_temperature_is_where_held_out_truth_is_likeliest():
    """With draws that are one-hot and right in 80 % of images, the best τ says 80 %: exp(-1/τ) = 1/4, τ = 1 / ln 4."""
    truth = np.array([0] * 80 + [1] * 20)
    draws = np.tile([1.0, 0.0], (100, 10, 1))
    assert best_temperature(draws, truth) == pytest.approx(1 / np.log(4), rel=0.07)  # a step of the grid is 12 %


def test_the_most_predicted_class_wins_and_is_certain_as_the_t_test_says():
    """Votes decide, not means; certain is what SciPy's paired t-test of the two first classes says at the level."""
    rng = np.random.default_rng(0)
    found = rng.dirichlet([2.0, 2.2, 0.5], size=(40, 30))
    answer, certain = vote(found, 0.05)
    for row, (said, sure) in enumerate(zip(answer, certain, strict=True)):
        counts = np.bincount(found[row].argmax(axis=1), minlength=3)
        assert counts[said] == counts.max()
        second = max((k for k in range(3) if k != said), key=lambda k: (counts[k], found[row, :, k].mean()))
        p = stats.ttest_rel(found[row, :, said], found[row, :, second]).pvalue
        assert sure == (p < 0.05)
    assert 0 < certain.sum() < 40


def test_draws_that_agree_are_certain_and_equal_ones_are_not():
    """No spread at all is infinite certainty where the classes differ, and none where they are equal."""
    found = np.stack([np.tile([0.9, 0.1], (5, 1)), np.tile([0.5, 0.5], (5, 1))])
    answer, certain = vote(found, 0.01)
    assert answer[0] == 0
    assert certain.tolist() == [True, False]


def test_exact_draws_cover_what_they_say():
    """Quantiles of the law that the truth follows have PICP 95 % and QICE 0, but for the grid of 2000."""
    grid = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    draws = np.broadcast_to(grid, (2000, 2000))
    assert picp(draws, grid) == pytest.approx(0.95, abs=1e-3)
    assert qice(draws, grid) < 1e-3


def test_draws_that_are_too_narrow_are_found_out():
    """Half the true deviation: PICP is Φ's 67.3 %, and QICE what the normal law says of its deciles."""
    grid = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    truth, draws = grid, np.broadcast_to(grid / 2, (2000, 2000))
    assert picp(draws, truth) == pytest.approx(2 * stats.norm.cdf(1.96 / 2) - 1, abs=2e-3)
    edges = np.concatenate([[-np.inf], stats.norm.ppf(np.arange(1, 10) / 10) / 2, [np.inf]])
    assert qice(draws, truth) == pytest.approx(np.abs(np.diff(stats.norm.cdf(edges)) - 0.1).mean(), abs=1e-3)


def test_an_interval_leaves_a_fortieth_at_either_end():
    """Of 0…1000 the ends are 25 and 975."""
    assert interval(np.arange(1001.0)[None])[:, 0].tolist() == [25, 975]
