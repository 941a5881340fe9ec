"""Agreement of readers, against published values, statsmodels, scikit-learn and simulation."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, confusion_matrix
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss_kappa

from phonybrains.statistics.agreement import cohen_kappa, fleiss_kappa, gwet_ac1
from phonybrains.statistics.estimate import Estimate
from phonybrains.statistics.reliability import Metric, confusion_table, icc, krippendorff_alpha, rating_counts
from tests.support.examples import given

Array = NDArray[np.float64]
N = np.nan
TABLE, PARADOX = [[13, 0, 0], [0, 20, 7], [0, 4, 56]], [[80, 10], [5, 5]]

# Krippendorff's canonical reliability data: 4 observers (rows), 12 units; turned to (units, raters).
CANONICAL = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T

# Fleiss 1971, Table 1: 30 patients, 6 psychiatrists, 5 diagnoses.
FLEISS_1971 = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
DIAGNOSES = np.array([[int(count) for count in patient] for patient in FLEISS_1971.split()])

# Shrout & Fleiss 1979, Table 2: 6 targets, 4 judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

tables = st.integers(2, 4).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 20), min_size=size, max_size=size), min_size=size, max_size=size)
)
seeds = st.integers(0, 10_000)


def pairs_of(table: list[list[int]]) -> Array:
    """The (units, 2) ratings that a table counts."""
    counts = np.array(table)
    return np.array([(i, j) for (i, j), n in np.ndenumerate(counts) for _ in range(n)], dtype=float)


def random_ratings(seed: int, units: int = 15, raters: int = 4, missing: float = 0.2) -> Array:
    """Ratings 1..4 that agree more than by chance, some missing; the first two units are complete and differ."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 5, size=(units, 1))
    ratings = np.where(rng.random((units, raters)) < 0.6, truth, rng.integers(1, 5, size=(units, raters))).astype(float)
    ratings[rng.random((units, raters)) < missing] = N
    ratings[:4] = np.arange(1, 5)[:, None]
    return ratings


# --- Two raters ------------------------------------------------------------------------------------------------------


def test_kappa_and_ac1_of_the_published_tables() -> None:
    """κ .7964 (SE .0589), AC1 .8493 (SE .0432); readers who agree in 85 of 100 have κ .318 if one answer is common, and
    AC1 .808: the paradox."""
    kappa, ac1 = cohen_kappa(TABLE), gwet_ac1(pairs_of(TABLE))
    assert (kappa.value, kappa.standard_error) == pytest.approx((0.7964, 0.0589), abs=5e-5)
    assert (ac1.value, ac1.standard_error) == pytest.approx((0.8493, 0.0432), abs=5e-5)
    assert kappa.n == ac1.n == 100
    assert cohen_kappa(PARADOX).value == pytest.approx(0.318, abs=5e-4)
    assert gwet_ac1(pairs_of(PARADOX)).value == pytest.approx(0.808, abs=5e-4)


@given(tables.filter(lambda t: np.count_nonzero(np.sum(t, 0) + np.sum(t, 1)) > 1 and np.sum(t) > 0))
def test_kappa_equals_that_of_statsmodels_and_scikit_learn(table: list[list[int]]) -> None:
    """Value and standard error; within -1..1."""
    found, ratings = cohen_kappa(table), pairs_of(table)
    assert found.value == pytest.approx(cohen_kappa_score(*ratings.T, labels=list(range(len(table)))), abs=1e-10)
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    with np.errstate(invalid="ignore"):
        reference = cohens_kappa(np.array(table))
    assert found.standard_error == pytest.approx(math.sqrt(max(reference.var_kappa, 0)), abs=1e-7)


def test_limits_of_kappa_are_cut_off_at_its_bounds() -> None:
    """Two units of disagreement out of three say little, but κ cannot be below -1 nor above 1."""
    assert cohen_kappa([[0, 3], [2, 1]]).low == -1
    assert cohen_kappa([[5, 1], [0, 5]]).high == 1


@given(tables.filter(lambda t: np.count_nonzero(np.sum(t, 0) + np.sum(t, 1)) > 1 and np.sum(t) > 1))
def test_names_of_categories_and_raters_do_not_matter(table: list[list[int]]) -> None:
    """κ and AC1 stay when categories are renamed or the readers exchanged."""
    counts = np.array(table)
    renamed, exchanged = counts[::-1, ::-1], counts.T
    size = list(range(len(table)))
    for other in (renamed, exchanged):
        assert cohen_kappa(other).value == pytest.approx(cohen_kappa(counts).value, abs=1e-10)
        ours, theirs = gwet_ac1(pairs_of(table), size), gwet_ac1(pairs_of(other.tolist()), size)
        assert (ours.value, ours.standard_error) == pytest.approx((theirs.value, theirs.standard_error), abs=1e-10)


def test_standard_errors_are_the_spread_over_samples() -> None:
    """Among 2000 samples of 150 from the table's proportions κ and AC1 vary by their standard errors, within 5 %."""
    rng, p = np.random.default_rng(0), np.array(TABLE).ravel() / 100
    samples = [rng.multinomial(150, p).reshape(3, 3).tolist() for _ in range(2000)]
    for measure in (cohen_kappa, lambda table: gwet_ac1(pairs_of(table), [0, 1, 2])):
        found = [measure(table) for table in samples]
        mean = float(np.mean([one.standard_error for one in found]))
        assert np.std([one.value for one in found]) == pytest.approx(mean, rel=0.05)


def test_ac1_of_one_category_is_1() -> None:
    """Where κ is 0/0, as the other category was on offer."""
    ac1 = gwet_ac1([[1, 1], [1, 1], [1, 1]], [1, 2])
    assert (ac1.value, ac1.high) == (1, 1)
    assert ac1.low < 0.6


def test_confusion_table_equals_that_of_scikit_learn() -> None:
    """Words as categories, in the order given; an unused category keeps its row."""
    a, b = ["real", "phony", "real", "unclear"], ["real", "real", "phony", "unclear"]
    names = ["phony", "real", "unclear", "never"]
    assert confusion_table(a, b, names).tolist() == confusion_matrix(a, b, labels=names).tolist()


# --- Any number of raters --------------------------------------------------------------------------------------------


def test_ac1_of_four_raters_with_missing_ratings() -> None:
    """Gwet's example: .77544, SE .14295, interval .4608 to 1."""
    found = gwet_ac1(CANONICAL)
    assert (found.value, found.standard_error) == pytest.approx((0.77544, 0.14295), abs=5e-6)
    assert (found.low, found.high) == pytest.approx((0.4608, 1), abs=5e-5)
    assert found.n == 12


@given(seeds)
def test_order_of_units_and_raters_does_not_matter(seed: int) -> None:
    """AC1 and α of shuffled tables are the same, and an unseen unit changes nothing."""
    ratings, rng = random_ratings(seed), np.random.default_rng(seed)
    shuffled = rng.permuted(ratings[rng.permutation(len(ratings))], axis=1)  # each unit's raters in an order of its own
    unseen = np.concatenate([ratings, np.full((1, ratings.shape[1]), N)])
    for other in (shuffled, unseen):
        for measure in (lambda r: gwet_ac1(r).value, krippendorff_alpha, lambda r: krippendorff_alpha(r, "ordinal")):
            assert measure(other) == pytest.approx(measure(ratings), abs=1e-12)


def test_fleiss_kappa_of_his_data() -> None:
    """κ .4302, SE₀ .0244, z 17.65, and .245 .245 .520 .471 .566 by category."""
    found = fleiss_kappa(DIAGNOSES)
    assert (found.value, found.standard_error_null) == pytest.approx((0.4302, 0.0244), abs=5e-5)
    assert found.z == pytest.approx(17.65, abs=5e-3)
    assert found.by_category.tolist() == pytest.approx([0.245, 0.245, 0.520, 0.471, 0.566], abs=5e-4)
    assert found.by_category_standard_error_null == pytest.approx(math.sqrt(2 / (30 * 6 * 5)))
    assert found.p_value < 1e-60


@given(seeds)
def test_fleiss_kappa_equals_that_of_statsmodels(seed: int) -> None:
    """And the categories' κ, weighted by p·q, average to it."""
    counts = rating_counts(random_ratings(seed, missing=0), [1, 2, 3, 4])
    found, p = fleiss_kappa(counts), counts.mean(axis=0) / 4
    assert found.value == pytest.approx(statsmodels_fleiss_kappa(counts), abs=1e-12)
    assert (p * (1 - p) * found.by_category).sum() / (p * (1 - p)).sum() == pytest.approx(found.value, abs=1e-12)


def test_fleiss_standard_error_is_the_spread_without_agreement() -> None:
    """Among 3000 studies of 40 units and 5 raters who guess, κ and each category's κ vary by SE₀, within 5 %."""
    rng, p = np.random.default_rng(1), [0.2, 0.5, 0.3]
    found = [fleiss_kappa(rng.multinomial(5, p, size=40)) for _ in range(3000)]
    assert np.std([one.value for one in found]) == pytest.approx(
        np.mean([o.standard_error_null for o in found]), rel=0.05
    )
    spread = np.std([one.by_category for one in found], axis=0)
    assert spread.tolist() == pytest.approx([found[0].by_category_standard_error_null] * 3, rel=0.05)


def test_fleiss_kappa_of_an_unused_category_is_nan() -> None:
    """It offers nothing to agree on."""
    assert np.isnan(fleiss_kappa([[2, 1, 0], [0, 3, 0]]).by_category).tolist() == [False, False, True]


# --- Krippendorff's α ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_alpha_of_the_canonical_data(metric: Metric, alpha: float) -> None:
    """Krippendorff's own four values, with missing ratings."""
    assert krippendorff_alpha(CANONICAL, metric) == pytest.approx(alpha, abs=5e-4)


@given(seeds, st.sampled_from(["nominal", "interval", "ratio"]))
def test_alpha_is_one_minus_observed_over_expected_disagreement(seed: int, metric: Metric) -> None:
    """Summed over every pair of ratings, within units against among all pairable, one by one."""
    ratings = random_ratings(seed, units=8, raters=3)

    def disagreement(a: float, b: float) -> float:
        return {"nominal": float(a != b), "interval": (a - b) ** 2, "ratio": ((a - b) / (a + b)) ** 2}[metric]

    units = [row[~np.isnan(row)].tolist() for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in units for value in unit]
    observed = sum(sum(disagreement(a, b) for a, b in permutations(u, 2)) / (len(u) - 1) for u in units)
    expected = sum(disagreement(a, b) for a, b in permutations(everything, 2)) / (len(everything) - 1)
    assert krippendorff_alpha(ratings, metric) == pytest.approx(1 - observed / expected, abs=1e-12)


@given(seeds)
def test_alpha_keeps_what_its_metric_says(seed: int) -> None:
    """Nominal under renaming, ordinal under any rising map, interval under a + bx, ratio under bx."""
    ratings = random_ratings(seed)
    renamed = np.where(ratings == 1, 9, ratings)
    changed: list[tuple[Metric, Array]] = [
        ("nominal", renamed),
        ("ordinal", ratings**3),
        ("interval", 7 - 3 * ratings),
        ("ratio", 5 * ratings),
    ]
    for metric, other in changed:
        assert krippendorff_alpha(other, metric) == pytest.approx(krippendorff_alpha(ratings, metric), abs=1e-9)


def test_a_ratio_of_zeros_is_no_distance() -> None:
    """0/0 between two ratings of 0 counts as agreement."""
    assert krippendorff_alpha([[0.0, 0.0], [0.0, 2.0], [2.0, 2.0]], "ratio") > 0


# --- Intraclass correlation ------------------------------------------------------------------------------------------


def forms(ratings: list[list[int]] | Array, level: float = 0.95) -> list[Estimate]:
    found = icc(ratings, level)
    return [found.icc_1_1, found.icc_2_1, found.icc_3_1, found.icc_1_k, found.icc_2_k, found.icc_3_k]


def test_icc_of_shrout_and_fleiss() -> None:
    """The six forms of their Table 4, and the intervals published for these data (R package psych)."""
    found = forms(JUDGES)
    assert [one.value for one in found] == pytest.approx([0.17, 0.29, 0.71, 0.44, 0.62, 0.91], abs=5e-3)
    assert [one.low for one in found] == pytest.approx([-0.133, 0.019, 0.342, -0.884, 0.071, 0.676], abs=6e-4)
    assert [one.high for one in found] == pytest.approx([0.723, 0.761, 0.946, 0.912, 0.927, 0.986], abs=6e-4)


@given(seeds)
def test_icc_keeps_what_its_model_says(seed: int) -> None:
    """A common shift and scale change nothing; a rater who adds a constant changes ICC(3) not at all."""
    rng = np.random.default_rng(seed)
    ratings = rng.normal(size=(8, 1)) + rng.normal(size=(8, 3))
    values = [one.value for one in forms(ratings)]
    assert [one.value for one in forms(3 - 2 * ratings)] == pytest.approx(values, abs=1e-9)
    shifted = forms(ratings + np.array([0, 5, 0]))
    assert (shifted[2].value, shifted[5].value) == pytest.approx((values[2], values[5]), abs=1e-9)
    for one in forms(ratings):
        assert one.low <= one.value <= one.high


def test_intervals_of_icc_cover_at_their_level() -> None:
    """Over 600 simulated studies each model's interval holds its true value in 95 of 100, within 3."""
    rng, true, hits = np.random.default_rng(2), 1 / (1 + 0.5 + 0.7), np.zeros(3)
    for _ in range(600):
        unit, rater, rest = rng.normal(size=(12, 1)), rng.normal(size=(1, 8)), rng.normal(size=(12, 8))
        found = icc(unit + math.sqrt(0.5) * rater + math.sqrt(0.7) * rest)
        one_way = icc(unit + math.sqrt(1.2) * rest).icc_1_1
        for i, (one, value) in enumerate([(one_way, true), (found.icc_2_1, true), (found.icc_3_1, 1 / 1.7)]):
            hits[i] += one.low <= value <= one.high
    assert (hits / 600).tolist() == pytest.approx([0.95] * 3, abs=0.03)
