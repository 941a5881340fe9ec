"""Can a ruler tell? Known changes of texture give known figures, equal textures are within their null."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.ndimage import gaussian_filter
from scipy.stats import binom, kurtosis
from sklearn.metrics import roc_auc_score

from phonybrains.evaluation.config import EvaluateConfig, QualityConfig
from phonybrains.evaluation.features.spectrum import RINGS, spectrum_difference
from phonybrains.evaluation.features.texture import CEILING, FLAT, FLOOR, NAMES, texture_features
from phonybrains.evaluation.findings import Findings
from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.quality.nulls import other_people
from phonybrains.evaluation.quality.scores import Against
from phonybrains.evaluation.quality.texture import aucs, share_scores, spectrum_score, texture_audit, worst_feature
from phonybrains.evaluation.score import Score
from phonybrains.imageset import ImageSet, write_png
from phonybrains.phantom.corpus import make_phantoms
from tests.conftest import one_at_a_time

CONFIG = EvaluateConfig(quality=QualityConfig(null_draws=40))


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


@pytest.fixture(scope="module")
def corpus(shared_folder: Path) -> ImageSet:
    """240 MR phantoms of 60 people under the noise of a scanner, a fifth of the people held out."""
    with one_at_a_time(shared_folder, "texture-corpus") as folder:
        images = ImageSet.open(make_phantoms(240, folder, size=64, modalities=("MR",)))
    held = set(sorted({row.patient_id for row in images.rows})[::5])
    rows = (replace(row, split="test" if row.patient_id in held else "train") for row in images.rows)
    return replace(images, rows=tuple(rows))


@pytest.fixture(scope="module")
def samples(shared_folder: Path) -> ImageSet:
    """100 phantoms, each of another head: what a perfect generator would make."""
    with one_at_a_time(shared_folder, "texture-samples") as folder:
        return ImageSet.open(make_phantoms(100, folder, size=64, seed=7, modalities=("MR",), slices_per_patient=1))


def changed(samples: ImageSet, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> ImageSet:
    """A copy of a set, each of its images changed."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, row in enumerate(samples.rows):
        pixels = np.rint(change(samples.pixels(i).astype(float))).clip(0, 255).astype(np.uint8)
        rows.append(replace(row, sha256=write_png(folder / row.file_name, pixels)))
    return replace(samples, folder=folder, rows=tuple(rows))


def the(found: Findings, name: str) -> Score:
    (score,) = (score for score in found.scores if score.name == name)
    return score


def feature(images: np.ndarray, name: str) -> np.ndarray:
    return texture_features(images)[:, NAMES.index(name)]


def test_noise_of_known_power_gives_the_decibels_that_theory_says(rng: Generator):
    """Noise of deviation 6 on noise of 8: 10 log10(1 + 36/64) = 1.94 dB in every ring, rounding included."""
    base = 128 + 8 * rng.normal(size=(40, 128, 128))
    more = base + 6 * rng.normal(size=base.shape)
    apart = spectrum_difference(np.rint(more).astype(np.uint8), np.rint(base).astype(np.uint8))
    np.testing.assert_allclose(apart[2:], 10 * np.log10((64 + 36 + 1 / 12) / (64 + 1 / 12)), atol=0.2)


def test_each_feature_is_what_its_name_says(rng: Generator):
    """Ends, flat blocks, deviation, equal neighbours, kurtosis and grain of images of which they are known."""
    image = np.full((1, 64, 64), 3, np.uint8)
    image[0, :32] = rng.integers(100, 200, (32, 64))
    image[0, 63] = 255
    assert feature(image, FLOOR) == pytest.approx(31 / 64)
    assert feature(image, "pixels at 0") == 0
    assert feature(image, CEILING) == feature(image, "pixels at 255") == pytest.approx(1 / 64)
    assert feature(image, FLAT) == pytest.approx(3 / 8)
    assert feature(image, "flat blocks of 4") == pytest.approx(7 / 16)
    levels = len(np.unique(image))
    assert feature(image, "grey levels in use") == pytest.approx(levels / 256)
    noise = np.rint(128 + 10 * rng.normal(size=(8, 128, 128))).astype(np.uint8)
    blocks = noise.astype(float).reshape(8, 8, 16, 8, 16).std(axis=(2, 4)).reshape(8, -1)
    expected = np.quantile(blocks, 0.9, axis=1)
    np.testing.assert_allclose(feature(noise, "deviation in blocks of 16, quantile 0.9"), expected)
    across, down = np.diff(noise.astype(float), axis=2).reshape(8, -1), np.diff(noise.astype(float), axis=1)
    steps = np.concatenate([across, down.reshape(8, -1)], axis=1)
    found = feature(noise, "kurtosis of steps, 1 pixel")
    np.testing.assert_allclose(found, kurtosis(steps, axis=1, fisher=False), rtol=1e-3)
    np.testing.assert_allclose(feature(noise, "equal neighbours, 1 pixel"), (steps == 0).mean(axis=1), atol=1e-4)
    # fine = x - mean of four neighbours: variance 5/4, covariance with its neighbour -2/4 of white noise
    np.testing.assert_allclose(feature(noise, "grain, 1 pixel"), -0.4, atol=0.03)


def test_features_are_finite_and_small_images_are_refused():
    """Images that show nothing have finite features; below 32 pixels a side there are none."""
    empty = texture_features(np.stack([np.full((32, 40), level, np.uint8) for level in (0, 90, 255)]))
    assert empty.shape == (3, len(NAMES))
    assert np.isfinite(empty).all()
    assert len(set(NAMES)) == len(NAMES)
    with pytest.raises(ValueError, match="at least 32 pixels a side, not 31"):
        texture_features(np.zeros((1, 64, 31), np.uint8))


def test_the_area_under_the_curve_is_that_of_scikit_learn(rng: Generator):
    """With ties and with sides of unequal size."""
    made, real = rng.integers(0, 6, (30, 4)), rng.integers(1, 7, (50, 4))
    truth = np.repeat([1, 0], [30, 50])
    expected = [roc_auc_score(truth, np.concatenate([made[:, i], real[:, i]])) for i in range(4)]
    np.testing.assert_allclose(aucs(made, real), expected)


def test_equal_textures_are_within_their_null(samples: ImageSet, corpus: ImageSet):
    """Other phantoms of the same kind: no score is apart, and the worst feature's AUC is one that real ones reach."""
    found = texture_audit(samples, corpus, CONFIG)
    assert {score.name: outcome_of(score) for score in found.scores if outcome_of(score) == "apart"} == {}
    worst = the(found, "texture_worst_auc")
    assert worst.null is not None
    assert worst.null.draws == 40
    assert worst.null.value > 0.55  # the best of many tells something by chance
    assert (worst.value or 1) <= worst.null.high
    assert (worst.p or 0) > 0.05
    assert worst.versus == "test"


def test_a_blur_is_told_by_a_ruler(samples: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Blurred by .8 pixels: the spectrum falls as the Gaussian says where the picture, not rounding, has the power, all
    rings from a quarter on lie below the band, and the worst feature tells nearly all, beyond its null."""
    blurred = changed(samples, tmp_path / "blurred", lambda x: gaussian_filter(x, 0.8))
    sharp, found = (texture_audit(images, corpus, CONFIG) for images in (samples, blurred))
    fall = found.arrays["spectrum/MR/synthetic"] - sharp.arrays["spectrum/MR/synthetic"]
    omega = np.pi * (np.arange(RINGS) + 0.5) / 20
    np.testing.assert_allclose(fall[2:10], 10 * np.log10(np.exp(-((0.8 * omega[2:10]) ** 2))), atol=0.5)
    apart = found.arrays["spectrum/MR/synthetic"] - found.arrays["spectrum/MR/real"]
    assert (apart < found.arrays["spectrum/MR/low"])[5:].all()
    worst, spectrum = the(found, "texture_worst_auc"), the(found, "spectrum_worst_db")
    assert outcome_of(worst) == outcome_of(spectrum) == "apart"
    assert (worst.value or 0) > 0.95
    assert "dB at" in spectrum.note
    assert spectrum.note.startswith("−")
    rulers = (found.facts.rulers or {})["MR"]
    assert worst.note.startswith(rulers[0].feature)
    assert [abs(one.auc - 0.5) for one in rulers] == sorted([abs(one.auc - 0.5) for one in rulers], reverse=True)
    assert all(one.low <= one.auc <= one.high for one in rulers)


def test_a_floor_that_is_gone_is_named(rng: Generator):
    """Real images with flat air, made ones with faint noise in it: the shares of flat blocks and of the floor say how
    much, and one of the features that the air has tells all."""

    def heads(n: int, air: int) -> np.ndarray:
        images = np.zeros((n, 64, 64), np.uint8)
        images[:, 16:48, 16:48] = rng.integers(60, 200, (n, 32, 32))
        images[rng.random(images.shape) < 0.02] = 5
        return np.maximum(images, rng.integers(0, air + 1, images.shape).astype(np.uint8))

    made, real = texture_features(heads(40, 2)), texture_features(heads(120, 0))
    groups, held = [f"p{i // 4}" for i in range(120)], np.arange(40)
    x = Against(made, real, groups, held, list(other_people(groups, held, 40, 40)), {})
    flat, floor, _ = share_scores(x)
    assert flat.null is not None
    assert flat.value == 0
    assert flat.null.value == pytest.approx(0.75 * 0.98**64, abs=0.02)
    assert outcome_of(flat) == outcome_of(floor) == "apart"
    assert floor.value == pytest.approx(0.25, abs=0.02)
    assert f"{real[held][:, NAMES.index(FLAT)].mean():.3f} of the held-out" in flat.note
    score, rulers = worst_feature(x)
    assert score.value == 1
    assert outcome_of(score) == "apart"
    assert rulers[0].auc in (0, 1)


def simulated(rng: Generator, shift: float = 0.0) -> Against:
    """Features of 30 people, six slices each, of which six are held out, and of 60 images of other people: people
    differ as much as their slices do, and features go together."""
    width = len(NAMES)
    mixing = rng.normal(size=(20, width))

    def people(n: int, slices: int) -> np.ndarray:
        who = rng.normal(size=(n, 1, 20)) + rng.normal(size=(n, slices, 20))
        return (who @ mixing).reshape(n * slices, width)

    real, made = people(30, 6), people(60, 1)
    made[:, 40] += shift * real[:, 40].std()
    groups, held = [f"p{i // 6}" for i in range(180)], np.arange(36)
    return Against(made, real, groups, held, list(other_people(groups, held, 60, 39, int(rng.integers(2**31)))), {})


def test_the_null_of_the_worst_of_many_holds_its_level():
    """Of 60 sets of other people, p ≤ .05 in no more than chance gives (the 99th percentile of a fair test's count),
    though slices of few people are held out; a shift of three deviations in one of 78 features is found every time."""
    sets = [simulated(default_rng([1, i])) for i in range(60)]
    for score in (lambda x: worst_feature(x)[0], spectrum_score):
        assert sum((score(x).p or 0) <= 0.05 for x in sets) <= binom.ppf(0.99, 60, 0.05)
    shifted = [worst_feature(simulated(default_rng([3, i]), 3.0))[0] for i in range(10)]
    assert [outcome_of(score) for score in shifted] == ["apart"] * 10


def test_a_draw_is_of_other_people_as_they_come(rng: Generator):
    """No image of a held-out person is drawn; people come more than once and not at all, as in a bootstrap."""
    groups = [f"p{i // 5}" for i in range(100)]
    held = np.arange(20)
    draws = list(other_people(groups, held, 80, 30))
    assert len(draws) == 30
    for a, b in draws:
        assert len(a) == 80
        assert (b == held).all()
        assert not {groups[i] for i in a} & {groups[i] for i in held}
    shown = [len({groups[i] for i in a}) for a, _ in draws]
    assert np.mean(shown) == pytest.approx(16 * (1 - (1 - 1 / 16) ** 16), abs=0.8)
    with pytest.raises(ValueError, match="of 20 patients, only 4 are not held out: at least 5 are needed"):
        next(other_people(groups, np.arange(80), 10, 1))


def test_what_cannot_be_measured_is_said(samples: ImageSet, corpus: ImageSet, tmp_path: Path):
    """Too few images, another size, nobody but those held out: a reason each, no score of a value."""
    few = replace(samples, rows=samples.rows[:5])
    assert "only 5 synthetic MR images" in the(texture_audit(few, corpus, CONFIG), "texture").note
    small = ImageSet.open(make_phantoms(12, tmp_path / "small", size=48, seed=9, modalities=("MR",)))
    note = the(texture_audit(small, corpus, CONFIG), "texture").note
    assert note == "images of (48, 48) and of (64, 64) pixels have textures that cannot be compared"
    alone = replace(corpus, rows=tuple(replace(row, split="test") for row in corpus.rows))
    found = texture_audit(samples, alone, CONFIG)
    assert [score.value for score in found.scores] == [None]
