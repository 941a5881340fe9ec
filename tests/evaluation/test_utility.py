"""Utility: synthetic images that help are found to help, those that do not are not, and chance is chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator
from sklearn.metrics import roc_auc_score

from phonybrains.evaluation.config import EvaluateConfig, UtilityConfig
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.utility.again import Again
from phonybrains.evaluation.utility.auc_gain import auc_of, brier, calibration_error, macro_auc, weighted_auc
from phonybrains.evaluation.utility.audit import NORMAL, gains, run_arms, utility_audit
from phonybrains.evaluation.utility.classifier import (
    ARMS,
    AUGMENTED,
    MIXED,
    OVERSAMPLED,
    REAL,
    SYNTHETIC,
    ClassifierData,
    classically_augmented,
    pool,
    share_of_people,
)
from phonybrains.imageset import ImageSet, Row
from phonybrains.phantom.corpus import draw_phantom, make_phantoms
from phonybrains.statistics.roc import score_interval
from tests.conftest import one_at_a_time

WIDE = 12


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(12)


def drawn(rng: Generator, people: int, each: int, signal: float, first: int = 0) -> tuple[np.ndarray, np.ndarray, list]:
    """Features with a mark of the person and, on the first axis, of the label; labels; people."""
    truth = np.repeat(rng.permutation(np.arange(people) % 2), each)
    mark = np.repeat(rng.normal(size=(people, WIDE)), each, axis=0)
    features = mark + 0.3 * rng.normal(size=(len(truth), WIDE))
    features[:, 0] += signal * (2 * truth - 1)
    return features, truth, [f"p{first + i // each}" for i in range(len(truth))]


def task_of(
    rng: Generator, signal: float, asked: str = "true", made: int = 400
) -> tuple[ClassifierData, np.ndarray, list]:
    """A task, the truth of its test images and their people; asked: true, shuffled or reversed labels of synthetic."""
    x, y, people = drawn(rng, 60, 4, signal)
    test, truth, test_people = drawn(rng, 100, 2, signal, 1000)
    synthetic, labels, _ = drawn(rng, made, 1, signal)
    labels = {"true": labels, "shuffled": rng.permutation(labels), "reversed": 1 - labels}[asked]
    augmented = x + 0.1 * rng.normal(size=x.shape)
    return ClassifierData(x, y, people, augmented, synthetic, labels, test, 2), truth, test_people


def test_without_signal_every_arm_is_at_chance(rng: Generator):
    """Features that name people but no label: no arm exceeds chance on other people; the means lie near one half."""
    aucs = []
    for _ in range(3):
        task, truth, people = task_of(rng, 0.0)
        found = gains(run_arms(task, (1.0,), 1), truth, people, UtilityConfig(seeds=1, bootstraps=20))[0]
        assert {arm for arm, _ in found} == set(ARMS)
        aucs.append([value.value for value in found.values()])
    assert np.abs(np.mean(aucs, axis=0) - 0.5).max() < 0.1


def test_good_synthetic_images_help_where_real_ones_are_few(rng: Generator):
    """With 10 % of the real images, 1:2 more from the same source raise the AUC; with all, the gain is smaller."""
    task, truth, people = task_of(rng, 0.9)
    settings = UtilityConfig(seeds=3, bootstraps=400)
    _, deltas, p = gains(run_arms(task, (0.1, 1.0), 3), truth, people, settings)
    few, many = deltas["real + synthetic 1:2", 0.1], deltas["real + synthetic 1:2", 1.0]
    assert few.estimate(1).low > 0
    assert p["real + synthetic 1:2", 0.1] <= 0.05
    assert many.value < few.value
    assert p["real, oversampled", 1.0] > 0.05


@pytest.mark.parametrize(("asked", "low", "high"), [("shuffled", 0.3, 0.7), ("reversed", 0.0, 0.25)])
def test_synthetic_images_that_show_something_else_do_harm(rng: Generator, asked: str, low: float, high: float):
    """Labels that say nothing give chance when learnt alone, reversed ones less; added to real images they lower it."""
    task, truth, people = task_of(rng, 1.2, asked)
    aucs, deltas, p = gains(run_arms(task, (0.25,), 5), truth, people, UtilityConfig(seeds=5, bootstraps=400))
    assert low < aucs[SYNTHETIC, 0.0].value < high
    assert deltas["real + synthetic 1:2", 0.25].estimate(1).high < 0
    assert p["real + synthetic 1:2", 0.25] <= 0.05
    assert aucs[REAL, 0.25].value > 0.8
    assert deltas[SYNTHETIC, 0.0].value < 0


def test_arms_hold_what_their_names_say(rng: Generator):
    """Numbers of images and labels of each pool; people stay whole, and a share is near what was asked."""
    task, _, _ = task_of(rng, 1.0)
    real = share_of_people(task, 0.25, rng)
    assert 55 <= len(real) <= 65
    assert all((np.array(task.people)[real] == who).sum() == 4 for who in {task.people[i] for i in real})
    assert set(task.truth[real]) == {0, 1}
    n = len(real)
    sizes = {arm: len(pool(task, arm, real, rng)[1]) for arm in ARMS}
    assert sizes[REAL] == n
    assert [sizes[arm] for arm in MIXED] == [2 * n, 3 * n]
    assert sizes[AUGMENTED] == 2 * n
    assert sizes[SYNTHETIC] == 400
    rare = replace(task, truth=np.where(np.arange(len(task.truth)) < 20, 1, 0))
    assert np.bincount(pool(rare, OVERSAMPLED, np.arange(len(rare.truth)), rng)[1]).tolist() == [220, 220]
    outcome = run_arms(replace(task, asked=np.zeros(400, int)), (0.25,), 1)
    assert outcome.missing == {SYNTHETIC: "'synthetic only' would learn from one label only"}
    assert (REAL, 0.25) in outcome.found


def test_areas_are_those_of_scikit_learn(rng: Generator):
    """Weighted AUC, ties included, and the mean over labels equal scikit-learn's to 1e-12."""
    scores, positive = rng.integers(12, size=80) / 4, rng.random(80) < 0.4
    weights = rng.integers(4, size=(5, 80)).astype(float)
    wanted = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auc(scores, positive, weights), wanted, atol=1e-12)
    probabilities, truth = rng.dirichlet(np.ones(3), 90), rng.integers(3, size=90)
    found = macro_auc(probabilities, truth, np.ones((1, 90)))
    assert found[0] == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr"), abs=1e-12)
    assert np.isnan(macro_auc(probabilities, np.zeros(90, int), np.ones((1, 90)))).all()


def test_an_auc_of_1_of_few_people_is_not_certain(rng: Generator):
    """Three people with a lesion and five without, told apart without a fault by two networks: Newcombe's interval of
    so few; and two such arms do not differ, within that width."""
    truth, people = np.repeat([1, 0], [9, 15]), [str(i // 3) for i in range(24)]
    probabilities = np.stack([np.stack([1 - truth, truth], axis=1).astype(float)] * 2)
    again = Again.of(people, 2, 4000, rng)
    one, other = (auc_of(probabilities, truth, again) for _ in range(2))
    limits, wanted = one.estimate(24), score_interval(1.0, 3, 5)
    assert limits.value == limits.high == 1
    assert limits.low == pytest.approx(wanted.low, abs=0.03)
    gain = one.minus(other).estimate(24)
    assert gain.low < -0.2 < 0.2 < gain.high
    assert one.minus(other).p_value() > 0.5


def test_an_auc_rests_on_the_people_of_the_rarer_label():
    """Three people with a lesion and 38 without, true AUC .9: over 200 sets 85 % or more of the intervals hold it,
    where 41 people for all gave 74 %."""
    held, who = 0, np.repeat(np.arange(41), 3)
    truth = (who < 3).astype(int)
    for i in range(200):
        rng = np.random.default_rng([5, i])
        x = np.sqrt(0.7) * rng.normal(size=41)[who] + np.sqrt(0.3) * rng.normal(size=123) + 1.812 * truth
        shown = 1 / (1 + np.exp(-x))
        again = Again.of([str(k) for k in who], 2, 300, rng)
        found = auc_of(np.stack([np.stack([1 - shown, shown], axis=1)] * 2), truth, again).estimate(123)
        held += found.low <= 0.9 <= found.high
    assert held / 200 >= 0.85


def test_equal_classifiers_are_told_apart_at_the_level(rng: Generator):
    """Two classifiers of one true AUC on the same people, slices alike: over 300 sets 2 to 9 % differ at 5 %."""
    rejected = 0
    for _ in range(300):
        truth = np.repeat(np.arange(50) % 2, 2)
        person = np.repeat(rng.normal(size=50), 2)
        one, other = (truth + person + rng.normal(size=100) for _ in range(2))
        again = Again.of([str(i // 2) for i in range(100)], 1, 200, rng)
        areas = [again.mean(weighted_auc(scores, truth == 1, again.weights)[None]) for scores in (one, other)]
        rejected += areas[0].minus(areas[1]).p_value() <= 0.05
    assert 0.02 <= rejected / 300 <= 0.09


@pytest.mark.parametrize("people", [8, 40])
def test_equal_arms_of_several_networks_are_told_apart_at_the_level(people: int):
    """What networks and people add to an arm by chance is no difference: over 400 sets at most 8 % at 5 %, of five
    networks; of one network, which says nothing of others, more than twice the level."""
    rejected = {1: 0, 5: 0}
    for i in range(400):
        rng = np.random.default_rng([people, i])
        for networks in rejected:
            again = Again.of([str(k) for k in range(people)], networks, 400, rng)
            arms = []
            for _ in range(2):
                each = rng.normal(0, 0.03, (networks, 1)) + rng.normal(0, 0.06, (networks, people))
                arms.append(again.mean(each @ again.weights.T / again.weights.sum(axis=1)))
            rejected[networks] += arms[0].minus(arms[1]).p_value() <= 0.05
    assert rejected[5] / 400 <= 0.08
    assert rejected[1] / 400 > 0.1


@pytest.mark.parametrize(("networks", "people"), [(2, 20), (5, 50)])
def test_what_networks_differ_by_is_not_taken_for_what_people_do(networks: int, people: int):
    """Two arms that differ by the chance of few networks alone, alike on all people: over 400 sets at most 7 % at 5 %,
    and 93 % or more of the intervals hold 0."""
    rejected = held = 0
    for i in range(400):
        rng = np.random.default_rng([networks, i])
        again = Again.of([str(k) for k in range(people)], networks, 200, rng)
        shown = 0.6 + rng.normal(0, 0.1, people)
        arms = [
            again.mean((shown + rng.normal(0, 0.03, (networks, 1))) @ again.weights.T / again.weights.sum(axis=1))
            for _ in range(2)
        ]
        gain = arms[0].minus(arms[1])
        limits = gain.interval()
        rejected += gain.p_value() <= 0.05
        held += limits.low <= 0 <= limits.high
    assert rejected / 400 <= 0.07
    assert held / 400 >= 0.93


def test_calibration_of_known_forecasts(rng: Generator):
    """Honest odds have no error, odds of .9 that come true in .6 have .3; sure and right has a Brier score of 0."""
    high = rng.uniform(0.5, 1, 40_000)
    truth = (rng.random(40_000) < high).astype(int)
    assert calibration_error(np.column_stack([1 - high, high]), truth) < 0.01
    boast = np.tile([0.1, 0.9], (1000, 1))
    assert calibration_error(boast, (np.arange(1000) < 600).astype(int)) == pytest.approx(0.3)
    assert brier(np.eye(2), np.array([0, 1])).tolist() == [0, 0]
    assert brier(np.array([[0.5, 0.5]]), np.array([0]))[0] == pytest.approx(0.5)


def test_augmented_copies_are_heads_still(rng: Generator):
    """Copies differ from their images but keep grey and size; the same seed makes the same copies."""
    images = np.stack([draw_phantom(rng, "CT", size=64)[0] for _ in range(6)])
    copies = classically_augmented(images, np.random.default_rng(1))
    assert copies.shape == images.shape
    assert copies.dtype == np.uint8
    assert (np.abs(copies.astype(float) - images).mean(axis=(1, 2)) > 3).all()
    assert np.abs(copies.mean(axis=(1, 2)) - images.mean(axis=(1, 2))).max() < 25
    np.testing.assert_array_equal(copies, classically_augmented(images, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def heads(shared_folder: Path) -> tuple[ImageSet, ImageSet]:
    """A corpus of 240 CT phantoms, and 120 of other heads as its synthetic images."""
    with one_at_a_time(shared_folder, "utility-heads") as folder:
        corpus, made = (
            make_phantoms(n, folder / str(n), seed=seed, size=64, slices_per_patient=1, modalities=("CT",))
            for n, seed in ((240, 0), (120, 5))
        )
    return ImageSet.open(corpus), ImageSet.open(made)


def audit(samples: ImageSet, corpus: ImageSet, attribute: str, folder: Path | None = None) -> Findings:
    settings = UtilityConfig(attribute=attribute, seeds=2, real_shares=(0.25, 1.0), bootstraps=100)
    return utility_audit(samples, corpus, EvaluateConfig(utility=settings), folder=folder)


def test_the_part_as_a_whole(heads: tuple[ImageSet, ImageSet], tmp_path: Path):
    """Every arm has AUC, Brier score and calibration error, all but the real ones a difference with p; notes tell.
    With kept features the same comes out again."""
    corpus, made = heads
    found = audit(made, corpus, "hemorrhage", tmp_path)
    groups = {score.group for score in found.scores if score.name == "auc"}
    assert len(groups) == 2 * 5 + 1
    for name in ("brier", "ece"):
        assert {score.group for score in found.scores if score.name == name} == groups
    deltas = [score for score in found.scores if score.name == "delta_auc"]
    assert len(deltas) == 2 * 4 + 1
    assert all(score.p is not None and score.low is not None and score.modality == "CT" for score in deltas)
    assert NORMAL in next(score.note for score in found.scores if SYNTHETIC in score.group)
    full = next(s for s in found.scores if s.name == "auc" and s.group == "hemorrhage: real, 100 % of real")
    assert full.value is not None
    assert full.value > 0.75
    assert any("only 120 synthetic images" in score.note for score in found.scores)
    assert "is shown to have raised a classifier's AUC in" in found.facts.sentence
    assert found.scores == audit(made, corpus, "hemorrhage", tmp_path).scores


def test_bad_input_says_why(heads: tuple[ImageSet, ImageSet]):
    """No attribute named, one that nobody has, none asked for, one label: a score without a value, and its reason."""
    corpus, made = heads
    assert "no attribute was named" in audit(made, corpus, "").scores[0].note
    assert "no real image says anything of 'colour'" in audit(made, corpus, "colour").scores[0].note
    silent = replace(made, rows=tuple(replace(row, attributes={}) for row in made.rows))
    assert "only 0 synthetic images were asked for it" in audit(silent, corpus, "hemorrhage").scores[0].note

    def one_sex(row: Row) -> Row:
        return replace(row, attributes={**row.attributes, "sex": "F"}) if row.split == "test" else row

    test = replace(corpus, rows=tuple(map(one_sex, corpus.rows)))
    assert "one label only" in audit(made, test, "sex").scores[0].note
