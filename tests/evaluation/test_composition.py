"""Composition: planted biases are found with the right sign and interval, and a fair generator is not accused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

from phonybrains.evaluation.bias.composition import asked_shares, corrected, found_shares
from phonybrains.evaluation.inputs.labels import LabelClassifier, Scale, telling
from phonybrains.imageset import Row

TRAINING = ["none"] * 70 + ["lesion"] * 30
NAMES = ["lesion", "none"]


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(5)


def row(**attributes: str | float | None) -> Row:
    return Row("a.png", "", "MR", attributes=attributes)


def confusion_of(rng: Generator, people: int, each: int, rates: list[list[float]]) -> np.ndarray:
    """How a classifier with these rates calls the images of some people, (people, K, K)."""
    table = np.zeros((people, len(rates), len(rates)))
    for person in range(people):
        label = int(rng.integers(len(rates)))
        table[person, label] = rng.multinomial(each, rates[label])
    return table


def votes_of(rng: Generator, n: int, shares: list[float], rates: list[list[float]]) -> np.ndarray:
    """What it calls n generated images that show labels with these shares, (n, K)."""
    truth = rng.choice(len(shares), size=n, p=shares)
    return np.stack([rng.multinomial(1, rates[label]) for label in truth]).astype(float)


def test_a_halved_class_is_found():
    """15 of 100 where training has 30 %: ratio 1/2, amplification log(.15/.85) - log(.3/.7), intervals below fair."""
    lesion, none = asked_shares(["lesion"] * 15 + ["none"] * 85 + [""] * 9, TRAINING, NAMES)
    assert lesion.ratio.value == pytest.approx(0.5)
    assert lesion.amplification.value == pytest.approx(math.log(0.15 / 0.85) - math.log(0.3 / 0.7))
    assert lesion.amplification.value == pytest.approx(-none.amplification.value)
    assert lesion.ratio.low < 0.5 < lesion.ratio.high < 1
    assert lesion.amplification.high < 0 < none.amplification.low
    limits = lesion.share.low, lesion.share.high
    assert limits == pytest.approx((0.08645, 0.23531), abs=1e-5)  # Clopper & Pearson's 15 of 100
    assert lesion.p_value < 0.01
    assert lesion.share.n == 100


def test_a_class_that_vanished_has_an_interval():
    """None of 60 is a share of 0 with an upper limit, and a finite amplification."""
    lesion = asked_shares(["none"] * 60, TRAINING, NAMES)[0]
    assert lesion.share.value == 0 < lesion.share.high < 0.06
    assert math.isfinite(lesion.amplification.low)
    assert math.isfinite(lesion.amplification.value)
    assert lesion.amplification.high < -1


def test_a_fair_generator_is_not_accused(rng: Generator):
    """The exact test rejects at most 5 % of fair generators, and the interval holds the truth in at least 95 %."""
    fair = [asked_shares(rng.choice(NAMES, 80, p=[0.3, 0.7]).tolist(), TRAINING, NAMES)[0] for _ in range(1000)]
    assert 0.02 < np.mean([one.p_value <= 0.05 for one in fair]) <= 0.065
    assert np.mean([one.share.low <= 0.3 <= one.share.high for one in fair]) >= 0.95


def test_two_labels_are_corrected_as_rogan_and_gladen_do(rng: Generator):
    """(q + specificity - 1)/(sensitivity + specificity - 1); and what lies outside 0…1 is cut off."""
    confusion = np.array([[80.0, 20.0], [30.0, 270.0]])
    assert corrected(confusion, np.array([0.31, 0.69]))[0] == pytest.approx((0.31 + 0.9 - 1) / (0.8 + 0.9 - 1))
    assert corrected(confusion, np.array([0.05, 0.95])).tolist() == [0, 1]
    shares = rng.dirichlet(np.ones(4), 50)
    rates = rng.dirichlet(np.ones(4), 4) + 2 * np.eye(4)
    called = shares @ (rates / rates.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(corrected(rates, called), shares, atol=1e-9)


def test_a_poor_classifier_does_not_hide_or_make_a_bias(rng: Generator):
    """With a classifier right in 75 %, the uncorrected share of a fair generator is off, the corrected one is not."""
    rates = [[0.75, 0.25], [0.2, 0.8]]
    confusion = confusion_of(rng, 150, 10, rates)
    fair = found_shares(confusion, votes_of(rng, 1500, [0.1, 0.9], rates), np.array([0.1, 0.9]), NAMES, rng)[0]
    halved = found_shares(confusion, votes_of(rng, 1500, [0.15, 0.85], rates), np.array([0.3, 0.7]), NAMES, rng)[0]
    assert fair.share.low < 0.1 < fair.share.high < 0.2 < 0.75 * 0.1 + 0.2 * 0.9
    assert fair.p_value > 0.05
    assert halved.amplification.high < 0
    assert halved.share.low < 0.15 < halved.share.high
    assert halved.p_value < 0.01


def test_corrected_shares_of_fair_generators_are_not_accused(rng: Generator, monkeypatch: pytest.MonkeyPatch):
    """Over 200 fair generators, read by a classifier of known rates, few more than 5 % are accused at 5 %."""
    monkeypatch.setattr("phonybrains.evaluation.bias.composition.DRAWS", 400)
    rates, truth = [[0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]], np.array([0.2, 0.3, 0.5])
    drawn = ((confusion_of(rng, 60, 8, rates), votes_of(rng, 150, truth.tolist(), rates)) for _ in range(200))
    found = [found_shares(confusion, votes, truth, ["a", "b", "c"], rng)[0] for confusion, votes in drawn]
    assert np.mean([one.p_value <= 0.05 for one in found]) <= 0.09
    assert np.mean([one.share.low <= 0.2 <= one.share.high for one in found]) >= 0.91


def test_a_classifier_that_guesses_is_refused(rng: Generator):
    """Where calls do not depend on the truth, no share can be had, and the reason says so."""
    rates = [[0.5, 0.5], [0.5, 0.5]]
    confusion = confusion_of(rng, 200, 10, rates)
    assert telling(confusion) < 0.1
    with pytest.raises(ValueError, match="cannot tell it"):
        found_shares(confusion, votes_of(rng, 100, [0.5, 0.5], rates), np.array([0.3, 0.7]), NAMES, rng)


def test_a_classifier_that_takes_each_label_for_the_other_tells_nothing():
    """Singular values of a swap are those of a perfect table; only the order tells. Three labels in a ring too."""
    right = np.array([[9.0, 1.0], [2.0, 8.0]])
    assert telling(right) > 0.6
    assert telling(right[::-1]) == 0
    assert telling(np.roll(np.eye(3), 1, axis=0)) == 0
    assert telling(np.eye(3)) == 1
    with pytest.raises(ValueError, match="cannot tell it"):
        found_shares(right[None, ::-1], np.eye(2)[[0, 1]], np.array([0.3, 0.7]), NAMES, np.random.default_rng(0))


def test_labels_are_read_from_people_it_has_not_seen(rng: Generator):
    """Features that name the person but not the label give chance on other people; features that name the label do not.

    A leak across people would give nearly all right in the first case.
    """
    people, each = 40, 6
    groups = [f"p{i}" for i in range(people) for _ in range(each)]
    truth = np.repeat(rng.permutation(np.arange(people) % 2), each)
    mark = np.repeat(rng.normal(size=(people, 30)), each, axis=0) + 0.01 * rng.normal(size=(len(truth), 30))
    leaky = LabelClassifier.learn(mark, truth, groups)
    assert 0.2 < (leaky.found == truth).mean() < 0.75
    told = LabelClassifier.learn(np.column_stack([mark[:, :5], 5 * truth + rng.normal(size=len(truth))]), truth, groups)
    assert (told.found == truth).mean() > 0.9
    assert told.confusion.shape == (people, 2, 2)
    assert told.confusion.sum() == len(truth)
    assert all(len(set(told.folds[i * each : (i + 1) * each].tolist())) == 1 for i in range(people))


def test_numbers_become_thirds_and_words_stay():
    """A number is low, middle or high by the thirds of real images; an unknown word or a missing value has no label."""
    ages = Scale.of("age", [row(age=float(age)) for age in range(30)])
    values = [row(age=0.0), row(age=15.0), row(age=40.0), row(), row(age="old")]
    assert ages.labels(values) == ["low", "middle", "high", "", ""]
    plane = Scale.of("plane", [row(plane="axial"), row(plane="coronal"), row(plane=None)])
    assert plane.names == ("axial", "coronal")
    assert plane.codes([row(plane="coronal"), row(plane="oblique"), row()]).tolist() == [1, -1, -1]
    blood = Scale.of("blood", [row(blood="none"), row(blood="epidural"), row(blood="epidural;subdural")])
    assert blood.names == ("epidural", "none", "several")
    some = replace(blood, names=("any", "none"), only_any=True)
    assert some.labels([row(blood="none"), row(blood="a;b"), row()]) == ["none", "any", ""]
    with pytest.raises(ValueError, match="no real image says anything of 'sex'"):
        Scale.of("sex", [row()])
    with pytest.raises(ValueError, match="the same 'sex'"):
        Scale.of("sex", [row(sex="F"), row(sex="F")])


def test_one_person_or_one_label_is_refused(rng: Generator):
    """A classifier without people to test on is refused with a reason."""
    with pytest.raises(ValueError, match="fewer than two people"):
        LabelClassifier.learn(rng.normal(size=(10, 3)), np.arange(10) % 2, ["a"] * 10)
    with pytest.raises(ValueError, match="so few people"):
        LabelClassifier.learn(rng.normal(size=(12, 3)), np.repeat([0, 1], [9, 3]), list("aaabbbcccddd"))
