"""Intervals and p in general: normal, t, square-and-add, percentiles, p as text, Holm's correction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from phonybrains.statistics.estimate import (
    Estimate,
    Interval,
    format_p,
    holm,
    normal_quantile,
    p_text,
    square_and_add,
    t_estimate,
    t_p_value,
)
from phonybrains.statistics.proportions import binomial_test
from tests.support.examples import given


def limits(found: Estimate | Interval) -> tuple[float, float]:
    return found.low, found.high


def test_normal_and_t_intervals_are_those_of_scipy() -> None:
    """1.959964 at 95 %; t with few degrees of freedom is wider; bounds cut off."""
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert limits(t_estimate(2.0, 0.5, 9, 0.9, df=3.7)) == pytest.approx(stats.t.interval(0.9, 3.7, 2.0, 0.5))
    assert limits(t_estimate(0.9, 0.5, 9, bounds=(0, 1))) == (0, 1)


def test_square_and_add_of_correlated_estimates_is_the_wald_interval_when_even() -> None:
    """For even intervals it is d ± z√(s₁² - 2ρs₁s₂ + s₂²)."""
    a, b, rho = t_estimate(0.7, 0.1, 9), t_estimate(0.4, 0.05, 9), 0.6
    expected = t_estimate(0.3, math.sqrt(0.1**2 - 2 * rho * 0.1 * 0.05 + 0.05**2), 9)
    found = square_and_add(a, b, rho)
    assert limits(found) == pytest.approx(limits(expected), abs=1e-12)


def test_p_values_as_text_have_two_digits_and_are_never_0():
    """Two significant digits, more where rounding would cross .05, and a bound below .0001."""
    written = {p: format_p(p) for p in (1.0, 0.2, 0.0517, 0.04996, 0.00012, 1e-5, 0.0)}
    assert list(written.values()) == ["1.00", "0.20", "0.052", "0.04996", "0.00012", "< 0.0001", "< 0.0001"]
    assert (p_text(0.2), p_text(1e-9)) == ("p = 0.20", "p < 0.0001")
    assert t_p_value(1e3) > 0
    assert binomial_test(0, 5000) > 0


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
    """.01 .04 .03 become .03 .06 .06; nothing in, nothing out."""
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]).tolist() == []
