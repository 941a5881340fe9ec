"""Adherence: what is asked and shown is found, what is asked and not shown is found missing, at known values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

from phonybrains.evaluation.bias.adherence import (
    BOX,
    Gauge,
    agreement,
    box_contrast,
    boxes_found,
    correlation,
    numbers_of,
)
from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.inputs.real import Real
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import make_phantoms
from tests.support.image_files import written


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(8)


def test_kappa_of_a_known_table():
    """Cohen's own example: 0.44, 0.05, 0.01; 0.07, 0.20, 0.03; 0.09, 0.05, 0.06 of 200 give κ = 0.492."""
    table = np.rint(200 * np.array([[0.44, 0.05, 0.01], [0.07, 0.20, 0.03], [0.09, 0.05, 0.06]])).astype(int)
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i, j])]
    asked, found = np.array([*pairs, (-1, 0)]).T
    result = agreement(asked, found, 3)
    assert result.table.tolist() == table.tolist()
    assert result.kappa is not None
    assert result.kappa.value == pytest.approx(0.492, abs=1e-3)
    assert (result.share.value, result.share.n) == (pytest.approx(0.7), 200)


def test_labels_that_are_ignored_have_no_kappa_above_chance(rng: Generator):
    """Over 200 sets in which what is asked changes nothing, the interval of κ leaves out 0 in about 5 %."""
    outside = 0
    for _ in range(200):
        kappa = agreement(rng.integers(3, size=90), rng.choice(3, size=90, p=[0.5, 0.3, 0.2]), 3).kappa
        assert kappa is not None
        outside += not kappa.low <= 0 <= kappa.high
    assert outside / 200 < 0.1
    assert agreement(np.zeros(20, int), np.zeros(20, int), 2).kappa is None


def test_correlation_has_fishers_interval(rng: Generator):
    """r of a known pair, an interval that holds the truth in 92 to 98 % of 400 draws, and NaN left out."""
    inside = 0
    for _ in range(400):
        x = rng.normal(size=60)
        found = correlation(np.append(x, np.nan), np.append(0.6 * x + 0.8 * rng.normal(size=60), 1.0))
        inside += found.low < 0.6 < found.high
        assert found.n == 60
    assert 0.92 <= inside / 400 <= 0.98


def test_bad_input_is_named():
    """Too few images, numbers that are all alike and a gauge of one person are refused with the reason."""
    with pytest.raises(ValueError, match="only 3 images were asked for a label"):
        agreement(np.array([0, 1, 0, -1]), np.array([0, 1, 1, 1]), 2)
    with pytest.raises(ValueError, match="asked for the same"):
        correlation(np.ones(30), np.arange(30.0))
    with pytest.raises(ValueError, match="measures alike"):
        correlation(np.arange(30.0), np.ones(30))
    with pytest.raises(ValueError, match="1 people"):
        Gauge.learn(np.ones((20, 2)), np.arange(20.0), ["a"] * 20)


def test_contrast_of_a_box():
    """A box 30 brighter than a ring of deviation 10 has contrast 3; outside the image there is none."""
    ring = np.where((np.indices((64, 64)).sum(axis=0) % 2) == 0, 90.0, 110.0)
    ring[24:40, 28:36] = 130
    assert box_contrast(ring, (0.5, 0.5, 8 / 64, 16 / 64)) == pytest.approx(3, abs=0.02)
    assert np.isnan(box_contrast(ring, (0.5, 0.5, 0.0, 0.0)))


def painted(out: Path, rng: Generator, shown: bool) -> ImageSet:
    """60 noisy images that are asked for a box, with a bright patch in it or somewhere else."""
    images, boxes = [], []
    for _ in range(60):
        image = np.clip(rng.normal(100, 15, (64, 64)), 0, 255)
        asked = rng.uniform(0.25, 0.75, 2)
        x, y = asked if shown else rng.uniform(0.25, 0.75, 2)
        image[int(64 * y) - 4 : int(64 * y) + 4, int(64 * x) - 4 : int(64 * x) + 4] += 60
        images.append(image.astype(np.uint8))
        boxes.append(dict(zip(BOX, (*map(float, asked), 0.125, 0.125), strict=True)))
    return written(out, images, modality="MR", attributes=boxes)


def test_lesions_in_their_boxes_are_found(rng: Generator, tmp_path: Path):
    """Lesions where they were asked stand out nearly always, lesions elsewhere as often as by chance."""
    inside = boxes_found(painted(tmp_path / "in", rng, True), range(60), rng)
    outside = boxes_found(painted(tmp_path / "out", rng, False), range(60), rng)
    assert inside.low > 0.9
    assert outside.low < 0.5 < outside.high
    assert outside.n == 60
    with pytest.raises(ValueError, match="only 5 images"):
        boxes_found(ImageSet.open(tmp_path / "in"), range(5), rng)


def test_ventricles_are_measured_on_heads_it_has_not_seen(tmp_path: Path):
    """On phantoms the gauge's area goes with the true one; for shuffled areas it finds nothing."""
    heads = ImageSet.open(make_phantoms(200, tmp_path / "heads", size=64, slices_per_patient=1, modalities=("CT",)))
    real = Real.of(heads, "CT", Handcrafted())
    area = numbers_of(real.rows, "ventricle_area_mm2")
    gauge = Gauge.learn(real.features[:130], area[:130], real.people[:130])
    fresh = correlation(area[130:], gauge.read(real.features[130:]))
    assert fresh.low > 0.6
    assert correlation(gauge.truth, gauge.found).value == pytest.approx(fresh.value, abs=0.15)
    shuffled = np.random.default_rng(1).permutation(area[:130])
    blind = Gauge.learn(real.features[:130], shuffled, real.people[:130])
    assert correlation(blind.truth, blind.found).value < 0.2 < 0.6 < correlation(gauge.truth, gauge.found).low
    assert np.isnan(numbers_of([replace(real.rows[0], attributes={})], "ventricle_area_mm2")).all()
