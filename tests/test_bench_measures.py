"""The figures that models are judged by: closed forms, other implementations, planted answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.fft import fft2, ifft2
from numpy.random import Generator, default_rng
from scipy.linalg import sqrtm
from scipy.ndimage import affine_transform, fourier_gaussian, gaussian_filter, shift
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import polynomial_kernel

import comparison
import grey
import measures
from nearest import Gallery, Pose, prepared, reduced
from networks import Cache
from phonybrains.evaluation.groups import deal, patients
from phonybrains.imageset import Row


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def expected_kernel(a: float, b: float, d: int) -> float:
    """E (x·y/d + 1)³ for x ~ N(a, I), y ~ N(b, I), by the cumulants of a coordinate's product."""
    first, second, third = a * b, (a * a + 1) * (b * b + 1), (a**3 + 3 * a) * (b**3 + 3 * b)
    variance, skew = (second - first**2) / d, (third - 3 * first * second + 2 * first**3) / d**2
    m = first + 1
    return m**3 + 3 * m * variance + skew


def test_kid_of_four_points_by_hand():
    """x = 0, 1 and y = 2, 3 on a line: 1 + 343 - 2 · (1 + 1 + 27 + 64) / 4 = 297.5."""
    value, _ = measures.kid(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert value == pytest.approx(297.5)


def test_kid_by_the_formula_with_the_kernel_of_scikit_learn(rng: Generator):
    """The unbiased MMD² with an independent kernel, for sets of unequal size."""
    x, y = rng.normal(size=(17, 5)), rng.normal(0.3, 2, size=(11, 5))
    k = [polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
    expected = (k[0].sum() - k[0].trace()) / (17 * 16) + (k[1].sum() - k[1].trace()) / (11 * 10) - 2 * k[2].mean()
    assert measures.kid(x, y)[0] == pytest.approx(expected)


def test_kid_of_shifted_gaussians(rng: Generator):
    """N(0, I) against N(0.25, I) in 64 dimensions is 0.202850; estimates scatter around it by their own error."""
    closed = expected_kernel(0, 0, 64) + expected_kernel(0.25, 0.25, 64) - 2 * expected_kernel(0, 0.25, 64)
    assert closed == pytest.approx(0.202850, abs=1e-6)
    found = np.array([measures.kid(rng.normal(size=(400, 64)), rng.normal(0.25, 1, (400, 64))) for _ in range(40)])
    spread = found[:, 0].std(ddof=1)
    assert found[:, 0].mean() == pytest.approx(closed, abs=3 * spread / math.sqrt(40))
    assert found[:, 1].mean() == pytest.approx(spread, rel=0.4)


def test_kid_of_equals_is_zero_on_average(rng: Generator):
    """n = 95 in 64 dimensions: unbiased, spread 0.012, which the jackknife does not understate."""
    found = np.array([measures.kid(*rng.normal(size=(2, 95, 64))) for _ in range(200)])
    assert abs(found[:, 0].mean()) < 0.003
    assert found[:, 0].std() == pytest.approx(0.012, rel=0.2)
    assert 0.9 < found[:, 1].mean() / found[:, 0].std() < 2


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_of_kid_is_the_jackknife(rng: Generator, paired: bool):
    """The closed form equals leaving out one image, or one pair, at a time."""
    x = rng.normal(size=(9, 4))
    y = x + rng.normal(size=(9, 4))

    def without(a: np.ndarray, i: int) -> np.ndarray:
        return np.delete(a, i, axis=0)

    if paired:
        rounds = [[measures.kid(without(x, i), without(y, i), True)[0] for i in range(9)]]
    else:
        rounds = [[measures.kid(without(x, i), y)[0] for i in range(9)],
                  [measures.kid(x, without(y, i))[0] for i in range(9)]]  # fmt: skip
    expected = math.sqrt(sum(8 * np.var(values) for values in rounds))
    assert measures.kid(x, y, paired)[1] == pytest.approx(expected)


def test_kid_of_pairs_is_not_misled_by_them(rng: Generator):
    """An image and what is all but itself: zero in pairs, far below zero otherwise."""
    x = rng.normal(size=(60, 16))
    assert measures.kid(x, x, paired=True)[0] == pytest.approx(0, abs=1e-12)
    assert measures.kid(x, x)[0] < -0.01


def test_frechet_distance_by_the_formula(rng: Generator):
    """The distance of two Gaussians with scipy's matrix root, and of two on a line: (1-3)² + (2-5)² = 13."""
    assert measures.frechet(*map(np.array, ([1.0], [[4.0]], [3.0], [[25.0]]))) == pytest.approx(13)
    a, b = rng.normal(size=(2, 12, 12))
    a, b, mean = a @ a.T, b @ b.T, rng.normal(size=12)
    expected = mean @ mean + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert measures.frechet(np.zeros(12), a, mean, b) == pytest.approx(expected)
    assert measures.frechet(mean, a, mean, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_few_images(rng: Generator):
    """With fewer images than features, sets further apart have the larger distance."""
    x, others = rng.normal(size=(60, 104)), [rng.normal(m, 1, (60, 104)) for m in (0, 0.3, 1)]
    near, far, further = (measures.frechet_of(x, y) for y in others)
    assert near < far < further


def test_a_classifier_tells_sets_apart_only_if_they_differ(rng: Generator):
    """Chance for equals, certainty for strangers; the interval of 0 in 10 is that of the tables, 0 to 0.3085."""
    x, y = rng.normal(size=(2, 100, 20))
    folds = np.arange(100) % 5
    same, apart = measures.two_sample(x, y, folds, folds), measures.two_sample(x, y + 2, folds, folds)
    assert abs(same["accuracy"] - 0.5) < 0.1
    assert same["accuracy_interval"][0] < same["accuracy"] < same["accuracy_interval"][1]
    assert apart["accuracy"] > 0.97
    assert apart["auc"] > 0.99
    value, interval = measures.auc(x[:, 0], y[:, 0] + 1)
    assert value == pytest.approx(roc_auc_score(np.repeat([0, 1], 100), [*x[:, 0], *(y[:, 0] + 1)]))
    assert interval[0] < value < interval[1] < interval[0] + 0.15
    assert measures.share_interval(0, 10) == pytest.approx([0, 0.3085], abs=1e-4)


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


def test_spectrum_falls_as_the_blur_says(rng: Generator):
    """White noise under a Gaussian of σ pixels loses exp(-σ²ω²) of its power."""
    noise = rng.normal(128, 30, (8, 128, 128))
    blurred = np.stack([ifft2(fourier_gaussian(fft2(image), 0.8)).real for image in noise])
    omega = np.pi * (np.arange(20) + 0.5) / 20
    expected = 10 * np.log10(np.exp(-((0.8 * omega) ** 2)))
    np.testing.assert_allclose(grey.spectrum_ratio(blurred, noise), expected, atol=0.3)
    np.testing.assert_allclose(grey.spectrum_ratio(2 * noise, noise), 20 * math.log10(2), atol=1e-3)


def test_a_wave_lies_in_its_band():
    """A sine of 0.3 cycles a pixel is 60 % of Nyquist: band 12 of 20."""
    wave = np.tile(128 + 100 * np.sin(2 * np.pi * 0.3 * np.arange(128)), (128, 1))
    assert set(np.argsort(grey.radial_power(wave[None])[0])[-2:]) <= {11, 12}


def test_fidelity_of_known_errors(rng: Generator):
    """Five grey levels off are 34.15 dB; SSIM of two constants is its luminance term, of equals 1."""
    image = rng.integers(10, 200, (1, 64, 64)).astype(np.uint8)
    assert grey.psnr(image + np.uint8(5), image)[0] == pytest.approx(20 * math.log10(51), abs=1e-4)
    assert grey.ssim(image, image)[0] == pytest.approx(1)
    dark, light = (np.full((1, 32, 32), value, np.uint8) for value in (50, 60))
    assert grey.ssim(dark, light)[0] == pytest.approx((6000 + 6.5025) / (6100 + 6.5025))


def test_handcrafted_features_see_what_changes(rng: Generator):
    """108 finite numbers; a blur moves the spectrum and leaves the layout."""
    images = textures(rng, 4, 128)
    plain, blurred = grey.handcrafted(images), grey.handcrafted(grey.blur(images))
    assert plain.shape == (4, 108)
    assert np.isfinite(plain).all()
    moved = np.abs(plain - blurred)
    assert moved[:, 26:36].min() > 0.3
    assert moved[:, 36:100].max() < 0.02
    assert grey.level(np.full((1, 8, 8), 30, np.uint8)) == {
        "mean": 30, "deviation_of_means": 0, "deviation": 0, "above": 1}  # fmt: skip


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
    queries = np.stack([
        stock[5][:, ::-1], moved(stock[6], degrees=8), moved(stock[7], degrees=-5.5), moved(stock[8], scale=1.05),
        moved(stock[9], scale=0.97), shift(stock[10], (4, -4), mode="nearest"), moved(stock[11], down=3, right=1),
        moved(stock[12][:, ::-1], degrees=6, scale=1.03, down=-3, right=4),
    ])  # fmt: skip
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
