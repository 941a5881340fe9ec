"""Multi-reader multi-case analysis and its power, against the published analyses of Van Dyke's study."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

from phonybrains.statistics.mrmc import Contrast, Inference, jackknife_covariance, obuchowski_rockette
from phonybrains.statistics.power import (
    ArmVariance,
    arm_equivalence_power,
    arm_power,
    auc_arm,
    components,
    mrmc_cases,
    mrmc_power,
    proportion_arm,
)
from phonybrains.statistics.roc import auc, auc_interval, delong_covariance, hanley_mcneil_variance
from tests.support.examples import given
from tests.support.van_dyke import SCORES, TRUTH

Array = NDArray[np.float64]
VAN_DYKE = obuchowski_rockette(SCORES, TRUTH)
PILOT = components(VAN_DYKE, 114)
seeds = st.integers(0, 10_000)


def random_readers(scores: Array = SCORES, truth: NDArray[np.bool_] = TRUTH) -> Inference:
    found = obuchowski_rockette(scores, truth).random_readers
    return found


def small_study(seed: int, tests: int = 2, readers: int = 3) -> tuple[Array, NDArray[np.bool_]]:
    """Whole-number scores of 8 + 8 cases that share a difficulty of case and a skill of reader."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(16) < 8)
    signal = truth * (1 + rng.normal(size=(1, readers, 1)) / 2) + rng.normal(size=16)
    return np.round(2 * (signal + rng.normal(size=(tests, readers, 16)))), truth


def limits(contrast: Contrast) -> tuple[float, float]:
    return contrast.estimate.low, contrast.estimate.high


# --- The analysis ----------------------------------------------------------------------------------------------------


def test_components_of_the_van_dyke_study() -> None:
    """Mean areas, mean squares and covariances as published, to their last digit."""
    assert VAN_DYKE.auc.mean(axis=1).tolist() == pytest.approx([0.89703704, 0.94083736], abs=5e-9)
    assert VAN_DYKE.mean_squares.test == pytest.approx(0.00479617, abs=5e-9)
    assert VAN_DYKE.mean_squares.interaction == pytest.approx(0.00055103, abs=5e-9)
    error = VAN_DYKE.covariance
    assert (error.variance, error.cov1, error.cov2, error.cov3) == pytest.approx(
        (0.00080229, 0.00034661, 0.00034407, 0.00023903), abs=5e-9
    )


def test_readers_and_cases_random_in_the_van_dyke_study() -> None:
    """F 4.456 on 1 and 15.26 degrees of freedom, p .0517; the interval of the difference just holds 0."""
    found = random_readers()
    assert found.f == pytest.approx(4.456, abs=5e-4)
    assert found.df == pytest.approx((1, 15.26), abs=5e-3)
    assert found.p_value == pytest.approx(0.0517, abs=5e-5)
    difference = found.differences[0, 1]
    assert difference.p_value == pytest.approx(found.p_value, rel=1e-9)
    assert limits(difference) == pytest.approx((-0.08796, 0.00036), abs=5e-6)


def test_delong_covariances_in_the_van_dyke_study() -> None:
    """F 4.4849, p .05123."""
    found = obuchowski_rockette(SCORES, TRUTH, covariance=delong_covariance).random_readers
    assert found.f == pytest.approx(4.4849, abs=5e-5)
    assert found.p_value == pytest.approx(0.05123, abs=5e-6)


def test_readers_fixed_or_cases_fixed_in_the_van_dyke_study() -> None:
    """These readers: F 5.476, p .0193; these cases: F 8.704 on 1 and 4, p .0420."""
    assert VAN_DYKE.fixed_readers.f == pytest.approx(5.476, abs=5e-4)
    assert VAN_DYKE.fixed_readers.p_value == pytest.approx(0.0193, abs=5e-5)
    assert VAN_DYKE.fixed_cases.f == pytest.approx(8.704, abs=5e-4)
    assert VAN_DYKE.fixed_cases.df == (1, 4)
    assert VAN_DYKE.fixed_cases.p_value == pytest.approx(0.0420, abs=5e-5)


@pytest.mark.parametrize(
    ("test", "error", "df", "interval"),
    [(0, 0.0331736, 12.74, (0.82522, 0.96885)), (1, 0.0215664, 12.71, (0.89414, 0.98754))],
)
def test_one_test_against_chance(test: int, error: float, df: float, interval: tuple[float, float]) -> None:
    """Published standard error, degrees of freedom and interval, in a study of two tests and of that test alone."""
    for found in (random_readers().tests[test], random_readers(SCORES[test : test + 1]).tests[0]):
        assert found.estimate.standard_error == pytest.approx(error, abs=5e-8)
        assert found.df == pytest.approx(df, abs=5e-3)
        assert limits(found) == pytest.approx(interval, abs=5e-6)
        assert found.t == pytest.approx((found.estimate.value - 0.5) / error, rel=1e-5)
        assert found.p_value == pytest.approx(2 * stats.t.sf(found.t, found.df), rel=1e-9)


def test_a_study_of_one_test_has_no_comparison() -> None:
    """F, its p and differences are absent, in all three analyses."""
    found = obuchowski_rockette(SCORES[:1], TRUTH)
    for analysis in (found.random_readers, found.fixed_readers, found.fixed_cases):
        assert (analysis.f, analysis.df, analysis.p_value, analysis.differences) == (None, None, None, {})


def test_one_reader_speaks_for_himself_only() -> None:
    """One reader, one test: only the analysis with fixed readers, by the jackknife's standard error."""
    found = obuchowski_rockette(SCORES[:1, :1], TRUTH)
    assert found.random_readers is found.fixed_cases is None
    (alone,) = found.fixed_readers.tests
    assert alone.estimate.value == auc(SCORES[0, 0], TRUTH)
    assert alone.estimate.standard_error == pytest.approx(math.sqrt(jackknife_covariance(SCORES[0, 0], TRUTH)[0, 0]))


@given(seeds)
def test_the_jackknife_in_closed_form_is_the_jackknife(seed: int) -> None:
    """Each case left out in turn, the areas computed anew."""
    scores, truth = small_study(seed)
    rows, cases = scores.reshape(6, 16), np.arange(16)
    without = np.array([[auc(row[cases != c], truth[cases != c]) for c in cases] for row in rows])
    expected = np.cov(without, ddof=0) * 15
    np.testing.assert_allclose(jackknife_covariance(rows, truth), expected, atol=1e-12)


@given(seeds)
def test_the_mean_squares_are_those_of_the_sums(seed: int) -> None:
    """And the covariances those of four kinds of pairs, all counted one by one; for three tests."""
    scores, truth = small_study(seed, tests=3, readers=4)
    found, theta = obuchowski_rockette(scores, truth), np.array([[auc(r, truth) for r in test] for test in scores])
    np.testing.assert_allclose(found.auc, theta, atol=1e-12)
    residual = sum(
        (theta[i, j] - theta[i].mean() - theta[:, j].mean() + theta.mean()) ** 2 for i in range(3) for j in range(4)
    )
    assert found.mean_squares.interaction == pytest.approx(residual / 6, abs=1e-12)
    assert found.mean_squares.test == pytest.approx(4 * theta.mean(axis=1).var(ddof=1), abs=1e-12)
    assert found.mean_squares.reader == pytest.approx(3 * theta.mean(axis=0).var(ddof=1), abs=1e-12)
    matrix = jackknife_covariance(scores.reshape(12, 16), truth)
    kinds: dict[tuple[bool, bool], list[float]] = {}
    for a in range(12):
        for b in range(12):
            kinds.setdefault((a // 4 == b // 4, a % 4 == b % 4), []).append(matrix[a, b])
    e = found.covariance
    expected = [np.mean(kinds[k]) for k in ((True, True), (False, True), (True, False), (False, False))]
    assert [e.variance, e.cov1, e.cov2, e.cov3] == pytest.approx(expected, abs=1e-12)


@given(seeds)
def test_order_of_tests_readers_and_cases_does_not_matter(seed: int) -> None:
    """Shuffled readers and cases: the same; exchanged tests: the same F, the difference turned."""
    scores, truth = small_study(seed)
    rng = np.random.default_rng(seed)
    cases, one = rng.permutation(16), obuchowski_rockette(scores, truth).random_readers
    other = obuchowski_rockette(scores[::-1][:, rng.permutation(3)][:, :, cases], truth[cases]).random_readers
    if one.f is None or one.f > 1e6:
        return
    assert other.f == pytest.approx(one.f, rel=1e-6, abs=1e-9)
    assert other.differences[0, 1].t == pytest.approx(-one.differences[0, 1].t, rel=1e-6, abs=1e-6)
    assert limits(other.tests[0]) == pytest.approx(limits(one.tests[1]), abs=1e-9)


def test_with_random_readers_the_null_is_rejected_at_its_level() -> None:
    """400 studies of 2 equal tests, 5 readers who differ, 25 + 25 cases: 2 to 8 in 100 are found to differ."""
    rng, truth, rejected, covered = np.random.default_rng(7), np.arange(50) < 25, 0, 0
    true = stats.norm.expect(lambda skill: stats.norm.cdf(skill / math.sqrt(2)), loc=1.5, scale=math.sqrt(0.08))
    for _ in range(400):
        reader, by_test = rng.normal(0, 0.2, (1, 5, 1)), rng.normal(0, 0.2, (2, 5, 1))
        case = rng.normal(0, math.sqrt(0.3), 50)
        scores = truth * (1.5 + reader + by_test) + case + rng.normal(0, math.sqrt(0.7), (2, 5, 50))
        found = random_readers(scores, truth)
        rejected += found.p_value is not None and found.p_value < 0.05
        covered += found.tests[0].estimate.low <= true <= found.tests[0].estimate.high
    assert 0.02 <= rejected / 400 <= 0.08
    assert 0.91 <= covered / 400 <= 0.99


def test_perfect_readers_still_have_an_interval() -> None:
    """All AUC 1: one reader's interval, p by chance's variance, no F; two such tests do not differ."""
    truth = np.arange(20) < 10
    scores = np.broadcast_to(truth, (2, 3, 20)).astype(float)
    found = obuchowski_rockette(scores, truth)
    for analysis in (found.random_readers, found.fixed_readers, found.fixed_cases):
        one, gap = analysis.tests[0], analysis.differences[0, 1]
        expected = auc_interval(truth.astype(float), truth)
        assert limits(one) == pytest.approx((expected.low, 1), abs=1e-12)
        assert one.p_value == pytest.approx(2 * stats.norm.sf(0.5 / math.sqrt(hanley_mcneil_variance(0.5, 10, 10))))
        assert (gap.estimate.value, gap.p_value, analysis.p_value, analysis.f) == (0, 1, 1, None)
        assert gap.estimate.low < 0 < gap.estimate.high


def test_a_perfect_test_beats_a_constant_one_with_finite_p() -> None:
    """AUC 1 against .5 without any variance: p is small, not 0 and not NaN."""
    truth = np.arange(20) < 10
    scores = np.stack([np.broadcast_to(truth, (3, 20)), np.zeros((3, 20))]).astype(float)
    found = random_readers(scores, truth)
    assert 0 < found.p_value < 0.01
    assert found.differences[0, 1].estimate.low > 0


# --- Power -----------------------------------------------------------------------------------------------------------


def test_power_of_ten_readers_and_165_cases() -> None:
    """The observed difference with Van Dyke's components: .80541995."""
    difference = VAN_DYKE.auc[1].mean() - VAN_DYKE.auc[0].mean()
    assert mrmc_power(PILOT, 10, 165, difference) == pytest.approx(0.80541995, abs=5e-9)
    assert mrmc_power(PILOT, 10, 165, 0.0) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(("readers", "cases"), [(2, None), (3, None), (4, 361), (5, 213), (6, 170)])
def test_cases_needed_for_a_difference_of_5_points(readers: int, cases: int | None) -> None:
    """80 % power: fewer cases the more readers; with two or three no number of cases is enough."""
    assert mrmc_cases(PILOT, readers, 0.05) == cases
    if cases:
        assert mrmc_power(PILOT, readers, cases - 1, 0.05) < 0.8


def test_power_rises_with_readers_cases_and_difference() -> None:
    """Each alone, never falling."""
    for powers in (
        [mrmc_power(PILOT, readers, 150, 0.04) for readers in range(2, 12)],
        [mrmc_power(PILOT, 5, cases, 0.04) for cases in range(20, 600, 40)],
        [mrmc_power(PILOT, 5, 150, d) for d in np.linspace(0, 0.2, 12)],
        [arm_power(auc_arm(0.6, 20, 20, 0.3, 0.05), readers, 0.1) for readers in range(2, 12)],
        [arm_power(auc_arm(0.6, n, n, 0.3, 0.05), 4, 0.1) for n in range(5, 100, 10)],
        [arm_equivalence_power(auc_arm(0.5, n, n, 0.3, 0.02), 4, 0.1) for n in range(5, 200, 20)],
    ):
        assert powers == sorted(powers)


def test_power_of_an_arm_whose_readers_share_nothing_is_that_of_a_t_test() -> None:
    """Without covariance through cases the readers' results are a plain sample: statsmodels' one-sample t test."""
    arm = ArmVariance(variance=0.003, covariance=0.0, reader_variance=0.002)
    for readers, effect in ((3, 0.1), (6, 0.05), (15, 0.03)):
        expected = TTestPower().power(effect / math.sqrt(0.005), readers, 0.05)
        assert arm_power(arm, readers, effect) == pytest.approx(expected, abs=1e-9)


def simulate(arm: ArmVariance, readers: int, effect: float, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Mean and standard error of 40,000 studies whose error varies as the analysis supposes, and t's df."""
    mean_square = arm.reader_variance + arm.variance - arm.covariance
    total = mean_square + readers * arm.covariance
    df = (readers - 1) * (total / mean_square) ** 2
    error = np.sqrt(total / readers)
    return rng.normal(effect, error, 40_000), error * np.sqrt(rng.chisquare(df, 40_000) / df), df


@pytest.mark.parametrize("effect", [0.0, 0.03])
def test_power_of_an_arm_is_the_share_of_simulated_studies(effect: float) -> None:
    """Within 1 point, for being told from chance and for being shown equivalent."""
    arm, rng = auc_arm(0.5 + effect, 60, 60, 0.35, 0.03), np.random.default_rng(11)
    mean, error, df = simulate(arm, 4, effect, rng)
    different = np.mean(np.abs(mean / error) > stats.t.ppf(0.975, df))
    assert arm_power(arm, 4, effect) == pytest.approx(different, abs=0.01)
    reach = stats.t.ppf(0.95, df) * error
    equivalent = np.mean((mean - reach > -0.12) & (mean + reach < 0.12))
    assert arm_equivalence_power(arm, 4, 0.12, effect) == pytest.approx(equivalent, abs=0.01)


def test_power_of_fixed_readers_is_normal() -> None:
    """One reader, sensitivity .5 of 100 cases off by .1: two tails of z = 2; equivalence in closed form."""
    arm = proportion_arm(0.5, 100, 0.4, 0.05)
    assert arm == ArmVariance(0.0025, 0.001, 0.05**2)
    z = stats.norm.ppf(0.975)
    expected = stats.norm.sf(z - 2) + stats.norm.cdf(-z - 2)
    assert arm_power(arm, 1, 0.1, random_readers=False) == pytest.approx(expected, rel=1e-9)
    shown = 2 * stats.norm.cdf(0.15 / 0.05 - stats.norm.ppf(0.95)) - 1
    assert arm_equivalence_power(arm, 1, 0.15, random_readers=False) == pytest.approx(shown, rel=1e-9)
    two = ArmVariance((0.0025 + 0.001) / 2, 0, 0)
    assert arm_power(arm, 2, 0.1, random_readers=False) == pytest.approx(arm_power(two, 1, 0.1, random_readers=False))


def test_readers_who_are_all_alike_count_as_one() -> None:
    """Correlation 1 and no spread: three readers, random or fixed, have the power of one, and t is normal."""
    arm = auc_arm(0.6, 30, 30, 1.0, 0.0)
    one = arm_power(arm, 1, 0.1, random_readers=False)
    assert arm_power(arm, 3, 0.1) == pytest.approx(one)
    assert arm_equivalence_power(arm, 3, 0.2) == pytest.approx(arm_equivalence_power(arm, 1, 0.2, random_readers=False))
