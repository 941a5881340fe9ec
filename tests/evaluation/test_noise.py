"""Noise: what is put in is found, and sets of equal noise are not told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from phonybrains.evaluation.bias.noise import (
    background_sigma,
    compare,
    measure,
    soft_tissue,
    tissue_noise,
    tissue_spread,
)
from phonybrains.imageset import ImageSet
from phonybrains.phantom.corpus import draw_phantom


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(2)


def mean_over(n: int, draw: Callable[[], Any]) -> float:
    return float(np.mean([draw() for _ in range(n)]))


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_rician_noise_of_the_background(rng: Generator, size: int, noise: float):
    """Phantoms have σ = 4 per unit of noise and a signal of 2 in the air: √(σ² + 2²/2), within 3 %."""

    def found() -> float:
        return background_sigma(draw_phantom(rng, "MR", size=size, noise=noise)[0].astype(np.float32))

    assert mean_over(8, found) == pytest.approx(np.hypot(4 * noise, np.sqrt(2)), rel=0.03)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_noise_of_tissue_in_hounsfield_units(rng: Generator, noise: float):
    """Phantoms have 2.5 HU per unit of noise; structure adds less than a tenth. A blur takes most of it away."""
    images = [draw_phantom(rng, "CT", size=128, noise=noise)[0].astype(np.float32) * (80 / 255) for _ in range(6)]
    tissue = [soft_tissue(image, "CT", "HU", 80.0) for image in images]
    found = np.mean([tissue_noise(image, mask) for image, mask in zip(images, tissue, strict=True)])
    assert 2.45 * noise < found < 2.75 * noise
    blurred = [tissue_noise(gaussian_filter(image, 1), mask) for image, mask in zip(images, tissue, strict=True)]
    assert np.mean(blurred) < 0.3 * found


def test_spread_of_tissue(rng: Generator):
    """The robust deviation of normal values is their σ, whatever a few outliers do; too little tissue gives NaN."""
    values = rng.normal(35, 4, (64, 64)).astype(np.float32)
    values[:4] = 900
    assert tissue_spread(values, np.ones((64, 64), dtype=bool)) == pytest.approx(4, rel=0.15)
    assert np.isnan(tissue_spread(values, np.zeros((64, 64), dtype=bool)))
    no_air = np.full((64, 64), 200, np.float32)
    no_air[:3, :3] = 0
    assert np.isnan(background_sigma(no_air))


def test_every_image_of_a_set_is_measured(phantom_corpus: Path):
    """MR by background and tissue, CT by tissue; each number belongs to its image."""
    corpus = ImageSet.open(phantom_corpus)
    for modality, names in (("MR", {"noise_background", "noise_tissue"}), ("CT", {"noise_tissue", "spread_tissue"})):
        numbers = [i for i, row in enumerate(corpus.rows) if row.modality == modality]
        found = measure(corpus, numbers)
        assert set(found) == names
        assert all(len(values) == len(numbers) and np.isfinite(values).all() for values in found.values())


def test_equal_noise_is_not_accused_and_lost_noise_is_found(rng: Generator, monkeypatch: pytest.MonkeyPatch):
    """Over 300 pairs of equal sets 2 to 9 % are told apart at 5 %; a tenth less noise is found and named lower."""
    monkeypatch.setattr("phonybrains.evaluation.bias.noise.DRAWS", 250)
    people = [f"p{i // 4}" for i in range(80)]

    def real() -> np.ndarray:
        return np.repeat(rng.normal(4, 0.2, 20), 4) + rng.normal(0, 0.3, 80)

    same = [compare(rng.normal(4, 0.36, 90), real(), people, rng)[2] for _ in range(300)]
    assert 0.02 <= np.mean([p <= 0.05 for p in same]) <= 0.09
    less, known, p = compare(rng.normal(3.6, 0.36, 90), real(), people, rng)
    assert less.high < known.low
    assert p < 0.01
    assert (less.n, known.n) == (90, 80)


def test_sets_that_cannot_be_measured_say_so(rng: Generator):
    """NaN does not count, and fewer than five images a side are refused with their numbers."""
    values = np.array([1.0, np.nan, 2.0, 3.0])
    with pytest.raises(ValueError, match="only 3 generated and 10 real"):
        compare(values, rng.normal(size=10), [str(i) for i in range(10)], rng)
