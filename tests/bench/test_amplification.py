"""Dose-response: simulated generators of known amplification are measured at their slope, fair ones are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from bench.amplification import Dose, DoseResponse, dose_response, simulated_doses

DOSES = (0.5, 0.3, 0.1)


def fits(slope: float, times: int) -> list[DoseResponse]:
    return [
        dose_response(simulated_doses(slope, DOSES, 400, np.random.default_rng([i, 1])), np.random.default_rng([i, 2]))
        for i in range(times)
    ]


@pytest.mark.parametrize("slope", [0.7, 1.0, 1.5])
def test_known_slopes_are_found(slope: float):
    """Over 120 simulations the interval holds the slope in at least nine of ten, and the median is near it."""
    found = fits(slope, 120)
    assert np.mean([fit.low <= slope <= fit.high for fit in found]) >= 0.9
    assert np.median([fit.slope for fit in found]) == pytest.approx(slope, abs=0.1)


def test_amplification_is_told_from_a_fair_generator():
    """A slope of 2 is found to be above 1 in nearly every simulation; of 1, as the interval holds it, in few."""
    assert np.mean([fit.low > 1 for fit in fits(2.0, 40)]) > 0.8


def test_a_perfect_classifier_gives_the_slope_of_the_counts():
    """Shares of .5 and .2 for training shares of .5 and .3: slope log(.2/.8)/log(.3/.7), intercept 0."""
    perfect = np.tile(np.eye(2), (50, 1, 1))
    doses = [Dose(0.5, np.arange(200) % 2 * 1.0, perfect), Dose(0.3, (np.arange(200) % 5 == 0) * 1.0, perfect)]
    found = dose_response(doses, np.random.default_rng(0))
    assert found.slope == pytest.approx(np.log(0.2 / 0.8) / np.log(0.3 / 0.7))
    assert found.intercept == pytest.approx(0, abs=1e-9)
    assert found.shares[1][:2] == pytest.approx((0.3, 0.2))
    assert found == dose_response(doses, np.random.default_rng(0))


def test_bad_input_is_named():
    """One dose, a dose of 0 and a classifier that guesses are refused with the reason."""
    some = simulated_doses(1, DOSES, 50, np.random.default_rng(0))
    with pytest.raises(ValueError, match="two different shares"):
        dose_response(some[:1], np.random.default_rng(0))
    with pytest.raises(ValueError, match="none of them 0 or 1"):
        dose_response([*some, Dose(0.0, some[0].votes, some[0].confusion)], np.random.default_rng(0))
    with pytest.raises(ValueError, match="cannot tell"):
        dose_response(simulated_doses(1, DOSES, 50, np.random.default_rng(0), (0.5, 0.5)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="none or in all"):
        dose_response([*some, Dose(0.2, np.zeros(50), some[0].confusion)], np.random.default_rng(0))
