"""The figures that models are judged by: closed forms, other implementations, planted answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.ndimage import affine_transform, gaussian_filter, shift

from bench import comparison, grey
from bench.networks import Cache
from phonybrains.evaluation.inputs.patients import deal, patients
from phonybrains.evaluation.nearest import Gallery, Pose, prepared, reduced
from phonybrains.imageset import Row


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def test_folds_keep_groups_whole(rng: Generator):
    """A group is in one fold, folds are even, and there are no more folds than groups."""
    groups = [str(i // 7) for i in range(140)]
    folds = deal(groups, 5, rng)
    assert len({*zip(groups, folds.tolist(), strict=True)}) == 20
    assert np.bincount(folds).tolist() == [28] * 5
    assert set(deal(["a", "b", "b"], 5, rng)) == {0, 1}


def rows(*kinds: str, split: str = "train") -> list[Row]:
    return [Row(f"{i}.png", "", "MR", split=split, attributes={"plane": kind}) for i, kind in enumerate(kinds)]


def test_draws_have_the_composition_of_the_split(rng: Generator):
    """Each kind as often as wanted, no image twice; others fill up where a kind runs out."""
    stock = rows(*["axial"] * 6, *["sagittal"] * 4)
    drawn = comparison.matched(rows(*["axial"] * 2, *["sagittal"] * 3), stock, rng)
    assert sorted(stock[i]["plane"] for i in drawn) == ["axial"] * 2 + ["sagittal"] * 3
    assert len(set(comparison.matched(rows(*["sagittal"] * 6), stock, rng))) == 6


def test_unknown_patients_are_runs_of_neighbours():
    """A run ends where the split changes, and after thirty images."""
    found = patients([*rows(*["axial"] * 31), *rows(*["axial"] * 2, split="test")])
    assert len(set(found[:30])) == 1
    assert len(set(found)) == 3
    assert found[31] == found[32] != found[30]


def test_fidelity_of_known_errors(rng: Generator):
    """Five grey levels off are 34.15 dB; SSIM of two constants is its luminance term, of equals 1."""
    image = rng.integers(10, 200, (1, 64, 64)).astype(np.uint8)
    assert grey.psnr(image + np.uint8(5), image)[0] == pytest.approx(20 * math.log10(51), abs=1e-4)
    assert grey.ssim(image, image)[0] == pytest.approx(1)
    dark, light = (np.full((1, 32, 32), value, np.uint8) for value in (50, 60))
    assert grey.ssim(dark, light)[0] == pytest.approx((6000 + 6.5025) / (6100 + 6.5025))


def textures(rng: Generator, n: int, side: int) -> np.ndarray:
    """Smooth random images, each unlike the others, over a bright disc that all have."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    disc = 90.0 * (np.hypot(x, y) < 0.35)
    noise = np.stack([gaussian_filter(image, side / 20) for image in rng.normal(size=(n, side, side))])
    return (disc + 70 + 60 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def moved(image: np.ndarray, degrees: float = 0, scale: float = 1, down: float = 0, right: float = 0) -> np.ndarray:
    """An image turned, scaled and shifted about its middle, by scipy."""
    angle, middle = math.radians(degrees), (np.array(image.shape) - 1) / 2
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / scale
    offset = middle - matrix @ (middle + np.array([down, right]))
    return affine_transform(image.astype(float), matrix, offset, order=1, mode="nearest").astype(np.uint8)


def test_nearest_finds_planted_copies(rng: Generator):
    """Equal: exactly 1. Mirrored, turned, scaled, shifted, on the grid and off it, all at once: at least 0.95."""
    stock = textures(rng, 40, 128)
    gallery = Gallery(stock)
    exact = gallery.nearest(stock[3:4])
    assert exact.correlation[0] == pytest.approx(1, abs=1e-5)
    assert exact.poses[0] == Pose()
    queries = np.stack(
        [
            stock[5][:, ::-1],
            moved(stock[6], degrees=8),
            moved(stock[7], degrees=-5.5),
            moved(stock[8], scale=1.05),
            moved(stock[9], scale=0.97),
            shift(stock[10], (4, -4), mode="nearest"),
            moved(stock[11], down=3, right=1),
            moved(stock[12][:, ::-1], degrees=6, scale=1.03, down=-3, right=4),
        ]
    )
    found = gallery.nearest(np.ascontiguousarray(queries))
    assert found.index.tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    assert found.correlation.min() > 0.95
    assert found.correlation.max() < 1 + 1e-5


def test_strangers_are_no_copies(rng: Generator):
    """Images of the same kind but not in the gallery stay far below a copy."""
    stock = textures(rng, 44, 64)
    assert Gallery(stock[4:]).nearest(stock[:4]).correlation.max() < 0.8


def test_reduction_averages_over_areas(rng: Generator):
    """Without a move, a 256² image becomes the mean of each 4×4 square, a 64² image itself."""
    image = rng.integers(0, 256, (1, 256, 256)).astype(np.uint8)
    squares = image.reshape(64, 4, 64, 4).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(reduced(prepared(image), [Pose()])[0].numpy(), squares, atol=1e-5)
    small = image[:, :64, :64]
    np.testing.assert_allclose(reduced(prepared(small), [Pose()])[0].numpy(), small[0] / 255, atol=1e-5)


def test_the_cache_knows_its_images(tmp_path: Path):
    """What was made of the same images is read; other images, or another name, are made anew."""
    made = []

    def double(images: np.ndarray) -> np.ndarray:
        made.append(len(images))
        return images * 2.0

    cache, images = Cache(tmp_path / "cache"), np.ones((2, 4, 4), np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(cache.of("double", [images], double), images * 2.0)
    assert made == [2]
    cache.of("double", [images + np.uint8(1)], double)
    cache.of("other", [images], double)
    assert made == [2, 2, 2]
