"""Figures of several readers: the balanced analysis as published, holes, patients, and how often intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from phonybrains.statistics.mrmc import obuchowski_rockette
from phonybrains.statistics.multireader import Figures, areas, difference, in_general, shares, these_readers
from phonybrains.statistics.roc import auc, delong_covariance
from tests.support.examples import given
from tests.support.van_dyke import SCORES, TRUTH

Array = NDArray[np.float64]
seeds = st.integers(0, 10_000)


def draw_study(seed: int, readers: int = 4, missing: float = 0.3) -> tuple[Array, NDArray[np.bool_], NDArray[np.int64]]:
    """Scores with holes, (readers, 24), truth, and six patients of each kind with two images."""
    rng = np.random.default_rng(seed)
    truth, patients = np.arange(24) < 12, np.arange(24) // 2
    scores = np.round(2 * (truth + rng.normal(size=12)[patients] + rng.normal(size=(readers, 24))))
    scores[rng.random(scores.shape) < missing] = np.nan
    scores[0, [0, 12]] = 1, 0
    return scores, truth, patients


@pytest.mark.parametrize("test", [0, 1])
def test_without_holes_it_is_obuchowski_and_rockettes_analysis(test: int):
    """Van Dyke's study: the mean, its error and degrees of freedom for readers in general, its error for these."""
    figures, published = areas(SCORES[test], TRUTH), obuchowski_rockette(SCORES[[test]], TRUTH, delong_covariance)
    general, these = in_general(figures), these_readers(figures)
    expected, fixed = published.random_readers.tests[0], published.fixed_readers.tests[0]
    assert general.estimate.value == pytest.approx(expected.estimate.value, abs=1e-12)
    assert general.estimate.standard_error == pytest.approx(expected.estimate.standard_error, abs=1e-12)
    assert general.df == pytest.approx(expected.df, rel=1e-9)
    assert these.estimate.standard_error == pytest.approx(fixed.estimate.standard_error, abs=1e-12)


def test_two_tests_differ_as_published():
    """Van Dyke's study with DeLong's covariances: p .05123 on 15.07 degrees of freedom."""
    found = in_general(difference(areas(SCORES[0], TRUTH), areas(SCORES[1], TRUTH)))
    assert found.p_value == pytest.approx(0.05123, abs=5e-6)
    assert found.df == pytest.approx(15.07, abs=5e-3)


@given(seeds)
def test_areas_with_holes_are_those_of_the_answered_cases(seed: int):
    """Each reader's area over his or her own cases; the mean is that of all pairs compared, counted one by one."""
    scores, truth, patients = draw_study(seed)
    figures = areas(scores, truth, patients)
    wins = pairs = 0.0
    for reader, row in enumerate(scores):
        own = ~np.isnan(row)
        if truth[own].any() and not truth[own].all():
            assert figures.values[reader] == pytest.approx(auc(row[own], truth[own]), abs=1e-12)
        gaps = np.subtract.outer(row[own & truth], row[own & ~truth])
        wins, pairs = wins + (gaps > 0).sum() + (gaps == 0).sum() / 2, pairs + gaps.size
    assert figures.mean == pytest.approx(wins / pairs, abs=1e-12)


def test_a_reader_with_one_answer_changes_nothing():
    """One answer makes no pair: estimate, interval, degrees of freedom and p stay as they were."""
    alone = np.full((1, 114), np.nan)
    alone[0, 3] = 2
    with_one = areas(np.vstack([SCORES[0], alone]), TRUTH)
    assert in_general(with_one) == in_general(areas(SCORES[0], TRUTH))
    assert these_readers(with_one) == these_readers(areas(SCORES[0], TRUTH))
    assert with_one.readers == 5


def test_a_reader_with_two_answers_changes_the_mean_by_less_than_a_thousandth():
    """One pair among 15,526: no reader or case is dropped, and none replaces the result."""
    two = np.full((1, 114), np.nan)
    two[0, [0, 113]] = 1, 5
    found, before = (in_general(areas(rows, TRUTH)) for rows in (np.vstack([SCORES[0], two]), SCORES[0]))
    assert 0 < abs(found.estimate.value - before.estimate.value) < 1e-3
    assert found.estimate.low == pytest.approx(before.estimate.low, abs=2e-3)


@given(seeds)
def test_images_shown_twice_as_two_images_of_a_patient_tell_nothing_new(seed: int):
    """Every case doubled under its patient: the same areas and, but for the count, the same error as once."""
    scores, truth, _ = draw_study(seed, missing=0.0)
    once, cases = areas(scores, truth, np.arange(24)), np.repeat(np.arange(24), 2)
    twice = areas(scores[:, cases], truth[cases], cases)
    np.testing.assert_allclose(twice.values, once.values, atol=1e-12)
    np.testing.assert_allclose(twice.covariance, once.covariance, atol=1e-12)


@given(seeds)
def test_order_and_names_do_not_matter(seed: int):
    """Readers and cases shuffled, patients renamed: the same contrast."""
    scores, truth, patients = draw_study(seed)
    rng = np.random.default_rng(seed)
    cases, readers = rng.permutation(24), rng.permutation(4)
    one = in_general(areas(scores, truth, patients))
    other = in_general(areas(scores[readers][:, cases], truth[cases], np.array([f"p{p}" for p in patients[cases]])))
    if one is None or other is None:
        assert one is other
    else:
        assert other.estimate.low == pytest.approx(one.estimate.low, abs=1e-9)
        assert other.p_value == pytest.approx(one.p_value, rel=1e-6)


def extremes() -> list[Figures]:
    """Every reader right, every reader wrong, one call for everything, equal arms."""
    truth = np.arange(20) < 10
    right, constant = np.tile(truth.astype(float), (4, 1)), np.ones((4, 20))
    perfect = areas(right, truth)
    return [
        perfect,
        areas(1 - right, truth),
        areas(constant, truth),
        shares(constant),
        shares(0 * constant),
        difference(perfect, perfect),
        difference(shares(constant), shares(0 * constant)),
    ]


def test_intervals_have_width_and_no_p_is_0():
    """Where no case moves the figure the interval is a cautious one."""
    for figures in extremes():
        for found in (these_readers(figures), in_general(figures)):
            assert found.estimate.low <= found.estimate.value <= found.estimate.high
            assert found.estimate.high - found.estimate.low > 0.05
            assert 0 < found.p_value <= 1


def test_too_few_readers_say_nothing_in_general():
    """Two with an area, and a third with one answer: None."""
    scores = np.vstack([SCORES[0, :2], np.full(114, np.nan)])
    scores[2, 5] = 1
    assert in_general(areas(scores, TRUTH)) is None


def test_intervals_of_four_images_a_patient_cover():
    """400 studies of 2 readers, 10 patients × 4 images of each kind: clusters cover 92-98 %, images alone less."""
    rng, truth, patients = np.random.default_rng(5), np.arange(80) < 40, np.arange(80) // 4
    covered = {"patients": 0, "images": 0}
    for _ in range(400):
        common = rng.normal(size=20)[patients] * math.sqrt(0.5)
        scores = truth * 1.0 + common + rng.normal(size=(2, 80)) * math.sqrt(0.5)
        for name, owner in (("patients", patients), ("images", None)):
            found = these_readers(areas(scores, truth, owner)).estimate
            covered[name] += found.low <= ndtr(1 / math.sqrt(2)) <= found.high
    assert 0.92 <= covered["patients"] / 400 <= 0.985
    assert covered["images"] / 400 < 0.88


def test_intervals_of_studies_that_readers_left_cover():
    """300 studies of 5 readers, half of whom stop somewhere: readers in general are covered in 92-98 %."""
    rng, truth, covered = np.random.default_rng(6), np.arange(80) < 40, 0
    true = float(np.mean(ndtr((1 + 0.3 * rng.normal(size=200_000)) / math.sqrt(2))))
    for _ in range(300):
        scores = truth * (1 + 0.3 * rng.normal(size=(5, 1))) + math.sqrt(0.3) * rng.normal(size=80)
        scores = scores + math.sqrt(0.7) * rng.normal(size=(5, 80))
        for row in scores[rng.random(5) < 0.5]:
            row[rng.permutation(80)[rng.integers(1, 80) :]] = np.nan
        found = in_general(areas(scores, truth))
        covered += found is None or found.estimate.low <= true <= found.estimate.high
    assert 0.92 <= covered / 300 <= 0.985
