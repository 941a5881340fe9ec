"""Score intervals of agreement: Wilson's where they are his, width without disagreement, coverage, patients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from phonybrains.statistics.agreement import cohen_kappa, gwet_ac1
from phonybrains.statistics.proportions import wilson
from phonybrains.statistics.reliability import krippendorff_alpha
from phonybrains.statistics.score_agreement import AgreementMeasure, score_agreement
from tests.support.examples import given

MEASURES: tuple[AgreementMeasure, ...] = ("agreement", "Cohen", "Fleiss", "AC1", "Krippendorff")


def ratings_of(table: list[list[int]]) -> NDArray[np.float64]:
    """Two raters' codes, (units, 2), from how often one chose i where the other chose j."""
    return np.array([[i, j] for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)], dtype=float)


def test_the_published_table_has_its_values():
    """κ .7964 and AC1 .8493 of 100 units; agreement .89 with Wilson's interval."""
    ratings = ratings_of([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    found = {measure: score_agreement(ratings, measure, [0, 1, 2]) for measure in MEASURES}
    assert found["Cohen"].value == pytest.approx(0.7964, abs=5e-5)
    assert found["AC1"].value == pytest.approx(0.8493, abs=5e-5)
    assert found["Krippendorff"].value == pytest.approx(krippendorff_alpha(ratings), abs=1e-12)
    expected = wilson(89, 100)
    assert (found["agreement"].low, found["agreement"].high) == pytest.approx((expected.low, expected.high), abs=1e-4)


@given(st.integers(0, 10_000))
def test_intervals_hold_the_value_and_have_width(seed: int):
    """Few units, often in full agreement or in one category: low ≤ value ≤ high, and more than .1 between them."""
    rng = np.random.default_rng(seed)
    first = (rng.random((10, 1)) < 0.15).astype(float)
    ratings = np.where(rng.random((10, 3)) < 0.05, 1 - first, first)[:, : int(rng.integers(2, 4))]
    for measure in MEASURES[: 5 if ratings.shape[1] == 2 else 1] + MEASURES[2:]:
        if np.ptp(ratings) == 0 and measure not in ("agreement", "AC1"):
            with pytest.raises(ValueError, match="same category"):
                score_agreement(ratings, measure, [0, 1])
            continue
        found = score_agreement(ratings, measure, [0, 1])
        assert -1 <= found.low <= found.value <= found.high <= 1
        assert found.high - found.low > 0.1


def test_perfect_agreement_has_width_by_every_route():
    """κ, AC1 and α of ten equal pairs: 1, and lower limits below .75; κ of a constant rater has width about 0."""
    ratings = ratings_of([[8, 0], [0, 2]])
    by_score = score_agreement(ratings, "Krippendorff", [0, 1])
    for found in (cohen_kappa([[8, 0], [0, 2]]), gwet_ac1(ratings, [0, 1]), by_score):
        assert (found.value, found.high) == (1, 1)
        assert found.low < 0.75
    constant = cohen_kappa([[5, 5], [0, 0]])
    assert constant.low < constant.value == 0 < constant.high


def draw_calls(patients: int, images: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Two readers' calls: nine patients in ten look real, each call is wrong in one of twenty."""
    looks = np.repeat(rng.random(patients) < 0.1, images)[:, None]
    return (looks ^ (rng.random((patients * images, 2)) < 0.05)).astype(float)


@pytest.mark.parametrize(("patients", "images", "least"), [(10, 1, 0.9), (40, 1, 0.91), (10, 4, 0.9)])
def test_intervals_at_prevalence_nine_tenths_cover(patients: int, images: int, least: float):
    """200 readings of 10 repeats, of 40 cases and of 10 patients × 4: the share covered is near .95."""
    rng, agreement = np.random.default_rng(1), 0.05**2 + 0.95**2
    share = 0.1 * 0.95 + 0.9 * 0.05
    chance = {"Cohen": share**2 + (1 - share) ** 2, "AC1": 2 * share * (1 - share)}
    for measure in ("Cohen", "AC1"):
        true, covered, n = (agreement - chance[measure]) / (1 - chance[measure]), 0, 0
        for _ in range(200):
            calls = draw_calls(patients, images, rng)
            if measure == "Cohen" and np.ptp(calls) == 0:
                continue
            found = score_agreement(calls, measure, [0, 1], np.repeat(np.arange(patients), images))
            covered, n = covered + (found.low <= true <= found.high), n + 1
        assert covered / n >= least, measure


def test_patients_widen_the_interval_where_their_images_are_alike():
    """Each unit four times under its patient: an interval about as wide as of the units once, not half as wide."""
    ratings, units = ratings_of([[10, 3], [2, 9]]), np.repeat(np.arange(24), 4)
    once = score_agreement(ratings, "Cohen", [0, 1])
    clustered, apart = (score_agreement(ratings[units], "Cohen", [0, 1], owner) for owner in (units, None))
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.15)
    assert apart.high - apart.low < 0.6 * (once.high - once.low)
