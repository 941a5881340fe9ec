"""The two-sample test: chance for equals, at its level, and certainty for strangers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.random import Generator, default_rng
from sklearn.metrics import roc_auc_score

from phonybrains.evaluation.quality.c2st import forest, logistic, two_sample
from phonybrains.evaluation.quality.convolution import Convolutional, grid, look
from phonybrains.evaluation.quality.nulls import deal_like


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def test_a_classifier_tells_sets_apart_only_if_they_differ(rng: Generator):
    """Chance for equals, certainty for strangers; intervals hold the values, and the AUC is that of scikit-learn."""
    x, y = rng.normal(size=(2, 100, 20))
    folds = np.arange(100) % 5
    same, apart = two_sample(x, y, folds, folds), two_sample(x, y + 2, folds, folds)
    assert abs(same.share - 0.5) < 0.1
    assert same.accuracy.low < same.accuracy.value < same.accuracy.high
    assert same.p > 0.05
    assert (apart.n, apart.folds, apart.accuracy.n) == (200, 5, 80)
    assert min(apart.share, apart.auc.value, apart.accuracy.value) > 0.97
    assert apart.p < 1e-15
    scores = np.concatenate([same.probability_real, same.probability_made])
    assert same.auc.value == pytest.approx(roc_auc_score(np.repeat([0, 1], 100), scores))


def test_equals_are_rejected_about_as_often_as_stated(rng: Generator):
    """At the level 5 % about 4 % of 400 pairs of equals (n = 95, d = 16) are told apart: the test is exact, so less."""
    rejected = 0
    for _ in range(400):
        x, y = rng.normal(size=(2, 95, 16))
        folds = rng.permutation(95) % 2
        rejected += two_sample(x, y, folds, deal_like(folds, 95, rng)).p <= 0.05
    assert 0.012 < rejected / 400 < 0.068


def test_slices_of_few_people_are_not_taken_for_so_many_people(rng: Generator):
    """Six people of ten slices each, and images of the same source: over 200 sets at most 7 % are told apart at 5 %,
    where the exact test of all slices does in 13 %."""
    who, rejected = np.repeat(np.arange(6), 10), 0
    for _ in range(200):
        real = (rng.normal(size=(6, 8))[who] + rng.normal(size=(60, 8))) / np.sqrt(2)
        folds, made = who % 2, rng.normal(size=(60, 8))
        found = two_sample(real, made, folds, deal_like(folds, 60, rng), patients=who.astype(str))
        assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high
        rejected += found.p <= 0.05
    assert rejected / 200 <= 0.07


def test_a_forest_sees_what_no_line_divides(rng: Generator):
    """Points within a ring: a line is at chance, a forest certain."""
    x, angle = rng.normal(0, 0.5, (150, 2)), rng.uniform(0, 2 * np.pi, 150)
    ring = np.stack([3 * np.cos(angle), 3 * np.sin(angle)], axis=1)
    folds = np.arange(150) % 5
    assert two_sample(x, ring, folds, folds, forest).auc.value > 0.99
    assert two_sample(x, ring, folds, folds, logistic).auc.value < 0.7


def test_patients_are_not_recognised(rng: Generator):
    """Real images of ten patients who each look their own way: with folds by patient, equals are not told apart."""
    people = np.arange(100) % 10
    looks = 5 * rng.normal(size=(10, 40))
    real = looks[people] + rng.normal(size=(100, 40))
    made = 5 * rng.normal(size=(100, 40))  # as varied, and nobody twice
    whole, torn = people % 5, rng.permutation(100) % 5
    by_patient = two_sample(real, made, whole, deal_like(whole, 100, rng), forest)
    by_image = two_sample(real, made, torn, deal_like(torn, 100, rng), forest)
    assert by_image.auc.value > by_patient.auc.value + 0.15
    assert by_image.auc.value > 0.9


def test_the_most_telling_images_are_those_that_differ(rng: Generator):
    """Eight of a hundred images are made strange; they come first."""
    x, y = rng.normal(size=(2, 100, 10))
    strange = rng.permutation(100)[:8]
    y[strange, :3] += 10
    folds = rng.permutation(100) % 5
    assert set(two_sample(x, y, folds, deal_like(folds, 100, rng)).telling(8)) == set(strange.tolist())


def test_sides_of_unequal_size_are_told_apart_by_looks_not_by_number(rng: Generator):
    """300 made against 60 real ones of the same kind: accuracy near one half, not near 300/360."""
    x, y = rng.normal(size=(60, 10)), rng.normal(size=(300, 10))
    folds = rng.permutation(60) % 5
    found = two_sample(x, y, folds, deal_like(folds, 300, rng))
    assert abs(found.share - 0.5) < 0.12
    assert abs(found.accuracy.value - 0.5) < 0.17
    assert found.accuracy.n == 48


def test_one_patient_alone_cannot_be_left_out(rng: Generator):
    """One fold, or a fold without one of the sides: an error that says what is needed."""
    x, y = rng.normal(size=(2, 10, 3))
    with pytest.raises(ValueError, match="at least two patients"):
        two_sample(x, y, np.zeros(10, int), np.zeros(10, int))
    with pytest.raises(ValueError, match="at least two patients"):
        two_sample(x, y, np.zeros(10, int), np.ones(10, int))


def test_a_network_sees_what_pixels_one_by_one_do_not(rng: Generator):
    """Fine grain of the same spread, lying in one set and upright in the other: a network tells them, a line through
    pixels does not. Equals it does not tell apart, and equal seeds give equal answers."""

    def grain(along: int, n: int) -> np.ndarray:
        drawn = rng.normal(size=(n, 48, 56))
        return np.clip(100 + 15 * (drawn + np.roll(drawn, 1, along)), 0, 255).astype(np.uint8)

    lying, others, upright = grain(2, 40), grain(2, 40), grain(1, 40)
    folds = np.arange(40) % 2
    seen = two_sample(lying, upright, folds, folds, lambda: Convolutional(0, 25))
    flat = two_sample(lying.reshape(40, -1), upright.reshape(40, -1), folds, folds)
    assert seen.auc.value > 0.95 > 0.75 > flat.auc.value
    assert seen.p < 1e-6
    same = two_sample(lying, others, folds, folds, lambda: Convolutional(0, 25))
    assert same.p > 0.01
    assert 0.35 < same.auc.value < 0.65
    one, two = (Convolutional(5, 8).fit(lying, folds > 0).predict_proba(upright) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one.sum(axis=1), 1)


@pytest.mark.parametrize(("height", "width"), [(256, 200), (100, 70), (24, 32)])
def test_a_grid_of_crops_reaches_every_edge(height: int, width: int):
    """Crops of 64 pixels, or three quarters of a smaller image's shorter side, from the first pixel to the last."""
    image = np.arange(height * width).reshape(height, width)
    side = min(64, 3 * min(height, width) // 4)
    crops = grid(image)[:, 0].numpy()
    assert crops.shape == (16, side, side)
    assert (crops[0, 0, 0], crops[-1, -1, -1]) == (0, height * width - 1)
    assert len({int(crop[0, 0]) for crop in crops}) == len(crops)


def test_what_a_network_sees_of_fine_detail_is_blind_to_contrast(rng: Generator):
    """Half the contrast changes the fine detail little, the grey by half."""
    image = torch.from_numpy(rng.integers(0, 256, (1, 1, 32, 32)).astype(np.uint8))
    whole, half = look(image)[0], look(image // 2)[0]
    assert (whole[1] - half[1]).abs().max() < 0.1
    torch.testing.assert_close(whole[0] + 1, 2 * (half[0] + 1), rtol=0, atol=0.02)
