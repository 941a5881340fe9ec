"""One proportion and two, against published values, scipy, statsmodels and enumeration."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from phonybrains.statistics.estimate import Estimate
from phonybrains.statistics.proportions import (
    binomial_power,
    binomial_test,
    clopper_pearson,
    critical_count,
    equivalence_power,
    equivalence_sample_size,
    equivalence_test,
    mcnemar,
    mcnemar_clustered,
    wilson,
)
from tests.support.examples import given

k_of_n = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(0.5, 0.999)


def limits(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


# --- Intervals of one proportion -------------------------------------------------------------------------------------


def test_intervals_of_81_of_263_are_the_published_ones() -> None:
    """Newcombe's (1998) example: exact .2527 to .3676, score .2553 to .3662."""
    assert limits(clopper_pearson(81, 263)) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert limits(wilson(81, 263)) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(81, 263).value == clopper_pearson(81, 263).value == 81 / 263
    assert wilson(81, 263).n == 263


def test_none_of_20_still_has_an_upper_limit() -> None:
    """0 of 20: exact up to .1684, score up to .1611, both from exactly 0; and mirrored for 20 of 20."""
    assert limits(clopper_pearson(0, 20)) == pytest.approx((0, 0.1684), abs=5e-5)
    assert limits(wilson(0, 20)) == pytest.approx((0, 0.1611), abs=5e-5)
    assert clopper_pearson(0, 20).low == wilson(0, 20).low == 0
    assert clopper_pearson(20, 20).high == wilson(20, 20).high == 1


@given(k_of_n, levels)
def test_intervals_equal_those_of_statsmodels(drawn: tuple[int, int], level: float) -> None:
    """Any k of n at any level, to ten digits."""
    k, n = drawn
    for ours, method in ((clopper_pearson, "beta"), (wilson, "wilson")):
        theirs = proportion_confint(k, n, 1 - level, method=method)
        assert limits(ours(k, n, level)) == pytest.approx(theirs, abs=1e-10)


@given(k_of_n, levels)
def test_intervals_hold_the_value_and_turn_with_the_labels(drawn: tuple[int, int], level: float) -> None:
    """0 ≤ low ≤ k/n ≤ high ≤ 1, and counting failures instead of successes mirrors the interval."""
    k, n = drawn
    for interval in (clopper_pearson, wilson):
        one, other = interval(k, n, level), interval(n - k, n, level)
        assert 0 <= one.low <= one.value + 1e-15
        assert one.value - 1e-15 <= one.high <= 1
        assert limits(other) == pytest.approx((1 - one.high, 1 - one.low), abs=1e-9)


def test_the_exact_interval_covers_at_least_at_its_level() -> None:
    """For n = 30 and every p of a grid the exact interval holds p in at least 95 of 100 samples."""
    intervals = [clopper_pearson(k, 30) for k in range(31)]
    for p in np.linspace(0.01, 0.99, 99):
        probability = stats.binom.pmf(np.arange(31), 30, p)
        assert sum(q for q, i in zip(probability, intervals, strict=True) if i.low <= p <= i.high) >= 0.95


# --- Against chance --------------------------------------------------------------------------------------------------


def test_forty_reads_need_27_right_to_beat_chance() -> None:
    """Two-sided at 5 %: 27 of 40, with power 21 % at p = .6 and 70 % at .7; one-sided 26 would do."""
    assert critical_count(40) == 27
    assert binomial_power(40, 0.6) == pytest.approx(0.21, abs=0.005)
    assert binomial_power(40, 0.7) == pytest.approx(0.70, abs=0.005)
    assert critical_count(40, alternative="greater") == 26


@given(k_of_n, st.floats(0.05, 0.95), st.sampled_from(["two-sided", "greater", "less"]))
def test_binomial_test_equals_that_of_scipy(
    drawn: tuple[int, int], chance: float, alternative: Literal["two-sided", "greater", "less"]
) -> None:
    """All three alternatives, any chance."""
    k, n = drawn
    expected = stats.binomtest(k, n, chance, alternative=alternative).pvalue
    assert binomial_test(k, n, chance, alternative) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@given(st.integers(1, 120), st.floats(0.2, 0.8))
def test_the_critical_count_is_the_first_that_rejects(n: int, chance: float) -> None:
    """The count rejects, the one before it does not; None says that n of n does not either."""
    count = critical_count(n, chance)
    if count is None:
        assert stats.binomtest(n, n, chance).pvalue > 0.05
    else:
        assert stats.binomtest(count, n, chance).pvalue <= 0.05
        assert count - 1 <= n * chance or stats.binomtest(count - 1, n, chance).pvalue > 0.05


def test_five_reads_can_never_beat_chance() -> None:
    """5 of 5 has p = 1/16: no count rejects, and the power is 0."""
    assert critical_count(5) is None
    assert binomial_power(5, 1.0) == 0
    assert critical_count(6) == 6


def test_a_test_that_rejects_at_chance_does_so_at_most_at_alpha() -> None:
    """The exact test's size never exceeds alpha, and power rises with p."""
    assert all(binomial_power(n, 0.5) <= 0.05 for n in range(1, 200))
    powers = [binomial_power(60, p) for p in np.linspace(0.5, 1, 11)]
    assert powers == sorted(powers)


# --- Equivalence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "power", "n"), [(0.10, 0.8, 227), (0.10, 0.9, 281), (0.15, 0.8, 100), (0.15, 0.9, 126)]
)
def test_equivalence_sample_sizes(margin: float, power: float, n: int) -> None:
    """From n on the power stays above; one read fewer falls short."""
    assert equivalence_sample_size(margin, power) == n
    assert equivalence_power(n - 1, margin) < power
    assert all(equivalence_power(m, margin) >= power for m in range(n, 2 * n))


def test_forty_reads_cannot_show_equivalence_within_10_points() -> None:
    """Not even 20 of 40 is close enough to chance: the power is 0; nor does a low limit find an n."""
    assert equivalence_power(40, 0.10) == 0
    assert equivalence_test(20, 40, 0.10) > 0.05
    assert equivalence_sample_size(0.10, 0.8, limit=200) is None


@given(k_of_n, st.floats(0.02, 0.45))
def test_equivalence_is_the_90_percent_interval_within_the_margins(drawn: tuple[int, int], margin: float) -> None:
    """TOST at 5 % and the exact 90 % interval say the same; labels do not matter."""
    k, n = drawn
    interval, p = clopper_pearson(k, n, 0.90), equivalence_test(k, n, margin)
    closeness = min(interval.low - (0.5 - margin), 0.5 + margin - interval.high)
    if abs(closeness) > 1e-9:
        assert (p <= 0.05) == (closeness > 0)
    assert equivalence_test(n - k, n, margin) == pytest.approx(p, rel=1e-9, abs=1e-15)


def test_equivalence_power_is_that_of_an_enumeration() -> None:
    """Every count of n = 60 tried one by one, off centre too."""
    for p in (0.5, 0.55, 0.62):
        shown = [k for k in range(61) if equivalence_test(k, 60, 0.2) <= 0.05]
        expected = sum(math.comb(60, k) * p**k * (1 - p) ** (60 - k) for k in shown)
        assert equivalence_power(60, 0.2, p) == pytest.approx(expected, rel=1e-10)


# --- Two proportions -------------------------------------------------------------------------------------------------


def test_mcnemar_of_the_published_table() -> None:
    """121 against 59 discordant pairs: corrected χ² 20.672, exact p 4.43e-6, as statsmodels has them."""
    table = [[101, 121], [59, 33]]
    ours = mcnemar(table)
    assert ours.statistic == pytest.approx(20.672, abs=5e-4)
    assert ours.exact_p_value == pytest.approx(4.43e-6, abs=5e-9)
    theirs = statsmodels_mcnemar(table, exact=False, correction=True)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    assert ours.exact_p_value == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-9)


def test_mcnemar_without_discordant_pairs_finds_nothing() -> None:
    """χ² 0 and p 1, not 0/0; equal discordant counts have no negative χ² through the correction."""
    assert (mcnemar([[7, 0], [0, 2]]).statistic, mcnemar([[7, 0], [0, 2]]).exact_p_value) == (0, 1)
    assert mcnemar([[7, 3], [3, 2]]).statistic == 0


def test_paired_answers_of_one_case_a_patient_are_mcnemars():
    """The exact p over exchanges is the binomial one; cases four times under their patients keep it."""
    first, second = np.repeat([1, 1, 0, 0], [10, 12, 3, 5]), np.repeat([1, 0, 1, 0], [10, 12, 3, 5])
    cases = np.arange(30)
    one = mcnemar_clustered(first, second, cases)
    assert one.exact_p_value == pytest.approx(mcnemar([[10, 12], [3, 5]]).exact_p_value, rel=1e-12)
    assert one.statistic == pytest.approx((12 - 3) ** 2 / 15)
    four = np.repeat(cases, 4)
    assert mcnemar_clustered(first[four], second[four], four).exact_p_value == pytest.approx(one.exact_p_value)
