"""Logistic regressions: trends over a reading, and effects of readers and cases, against statsmodels and integrals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit
from statsmodels.discrete.discrete_model import Logit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from phonybrains.statistics.logistic import laplace_likelihood, mixed_logistic, trend
from tests.support.examples import given

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


# --- Crossed random effects of readers and cases ---------------------------------------------------------------------

NODES, WEIGHTS = hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def draw_answers(readers: int, cases: int, log_odds: float, sd: tuple[float, float], rng: np.random.Generator):
    """Right answers of all readers to all cases, half of them phony: (reads,) arrays."""
    reader, case = (index.ravel() for index in np.indices((readers, cases)))
    truth = case < cases // 2
    eta = (
        log_odds + 0.6 * (truth - 0.5) + sd[0] * rng.normal(size=readers)[reader] + sd[1] * rng.normal(size=cases)[case]
    )
    return (rng.random(len(eta)) < expit(eta)).astype(float), reader, case, truth


def test_laplace_likelihood_is_near_the_integral():
    """Two readers, 24 cases: the integral over readers × cases by Gauss and Hermite, small effects, to 0.01."""
    rng = np.random.default_rng(1)
    right, reader, case, truth = draw_answers(2, 24, 0.4, (0.5, 0.7), rng)
    design = np.stack([np.ones(48), truth - 0.5], axis=1)
    parameters = np.array([0.4, 0.6, 0.2, 0.3])
    table, base = right.reshape(2, 24), (design @ parameters[:2]).reshape(2, 24)
    total = 0.0
    for u, wu in zip(NODES, WEIGHTS, strict=True):
        for v, wv in zip(NODES, WEIGHTS, strict=True):
            eta = base[:, :, None] + 0.2 * np.array([u, v])[:, None, None] + 0.3 * NODES
            p = np.where(table[:, :, None] == 1, expit(eta), expit(-eta)).prod(axis=0)
            total += wu * wv * np.prod(p @ WEIGHTS)
    found, _, _ = laplace_likelihood(right, design, reader, case, parameters, np.zeros(26))
    assert found == pytest.approx(np.log(total), abs=0.01)


def test_without_random_effects_it_is_the_binomial_likelihood():
    """Standard deviations of 0: the sum of the logarithms, and the information X'WX."""
    right, reader, case, truth = draw_answers(3, 10, 0.4, (0, 0), np.random.default_rng(2))
    design = np.stack([np.ones(30), truth - 0.5], axis=1)
    p = expit(design @ [0.4, 0.6])
    found, effects, information = laplace_likelihood(
        right, design, reader, case, np.array([0.4, 0.6, 0, 0]), np.ones(13)
    )
    assert found == pytest.approx(np.log(np.where(right == 1, p, 1 - p)).sum(), abs=1e-9)
    assert np.abs(effects).max() < 1e-9
    np.testing.assert_allclose(information, (design * (p * (1 - p))[:, None]).T @ design)


def test_it_agrees_with_the_bayesian_model_of_statsmodels():
    """8 readers × 60 cases: the mean log odds as the posterior's under wide priors, to half of it."""
    right, reader, case, truth = draw_answers(8, 60, 0.8, (0.4, 0.8), np.random.default_rng(3))
    found = mixed_logistic(right, reader, case, truth)
    effects = np.concatenate([np.eye(8)[reader], np.eye(60)[case]], axis=1)
    design = np.stack([np.ones(480), truth - 0.5], axis=1)
    model = BinomialBayesMixedGLM(right, design, effects, np.repeat([0, 1], [8, 60]), vcp_p=1, fe_p=5).fit_vb()
    error = found.log_odds.standard_error
    assert found.log_odds.value == pytest.approx(model.fe_mean[0], abs=error / 2)
    assert found.case_sd == pytest.approx(np.exp(model.vcp_mean[1]), rel=0.35)


def test_what_was_put_in_comes_out():
    """The mean of 12 fits lies within three standard errors of the log odds, and most of their intervals hold it."""
    rng = np.random.default_rng(4)
    fits = [mixed_logistic(*draw_answers(6, 40, 0.7, (0.3, 0.6), rng)) for _ in range(12)]
    values = np.array([fit.log_odds.value for fit in fits])
    assert abs(values.mean() - 0.7) < 3 * values.std(ddof=1) / np.sqrt(12) + 0.05
    assert sum(fit.log_odds.low <= 0.7 <= fit.log_odds.high for fit in fits) >= 9
