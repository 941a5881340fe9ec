"""Mixed logistic regression: Laplace's likelihood against the integral, what is fitted against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from phonybrains.statistics.mixed import laplace_likelihood, mixed_logistic

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


def test_answers_without_both_outcomes_are_refused():
    """All right answers to one kind of case have no finite log odds."""
    with pytest.raises(ValueError, match="right and wrong answers to both kinds"):
        mixed_logistic([1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [True, True, False, False])
