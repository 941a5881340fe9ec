"""Heads get the noise of others: as strong, as coarse, under the same law, and no more than they lack."""

from functools import cache

import numpy as np
import pytest
from scipy.fft import dct
from scipy.linalg import toeplitz
from scipy.ndimage import convolve

from phonybrains.editing.noise import BLOCK, COARSE, COUNT, RING, RINGS, NoiseProfile, adapt, deviation, tissue_power
from phonybrains.editing.noise_level import Law, add_noise, noise_level
from phonybrains.phantom.corpus import draw_phantom

SMOOTH = np.outer([1, 2, 1], [1, 2, 1]) / 16


@cache
def drawn(modality: str, seed: int, noise: float) -> np.ndarray:
    return draw_phantom(np.random.default_rng(seed), modality, noise=noise)[0]


def heads(modality: str, n: int = 5, first: int = 0, noise: float = 0) -> list[np.ndarray]:
    return [drawn(modality, first + i, noise) for i in range(n)]


def coarse_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Noise of σ, smoothed by a binomial, on what is not black."""
    white = np.random.default_rng(seed).normal(0, sigma, image.shape)
    noisy = image + convolve(white, SMOOTH, mode="wrap") * (image > 0)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def noisy_profile(modality: str, sigma: float, law: Law) -> NoiseProfile:
    """The profile of heads with white noise."""
    rng = np.random.default_rng(100)
    return NoiseProfile.of([add_noise(head, sigma, law, rng) for head in heads(modality)])


def decibels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return 10 * np.log10(one / other)


def test_power_of_coloured_noise_is_that_of_its_covariance():
    """On a grey field the power in each ring is the variance of the cosines, D C Dᵀ of the known covariance C."""
    field = np.full((512, 512), 128, dtype=np.uint8)
    covariance = 20 * toeplitz(np.pad([6, 4, 1], (0, BLOCK - 3)) / 16)
    cosines = np.asarray(dct(np.eye(BLOCK), axis=0, norm="ortho"))
    along = np.diag(cosines @ covariance @ cosines.T)
    exact = np.outer(along, along) + 1 / 12  # rounding
    wanted = np.bincount(RING.ravel(), exact.ravel())[:RINGS] / COUNT
    found = tissue_power(coarse_noise(field, 20, 0))
    assert found is not None
    assert np.abs(decibels(found, wanted)).max() < 0.4
    assert deviation(found) == pytest.approx(
        np.sqrt(exact[RING >= COARSE][RING[RING >= COARSE] < RINGS].sum()) / 8, rel=0.04
    )


def test_a_profile_of_white_noise_is_flat():
    """White noise of σ on a grey field: every ring has σ², and the law is Gaussian."""
    rng = np.random.default_rng(1)
    field = np.full((256, 256), 100, dtype=np.uint8)
    profile = NoiseProfile.of([add_noise(field, 12, "gaussian", rng) for _ in range(5)])
    assert (profile.law, profile.n) == ("gaussian", 5)
    np.testing.assert_allclose(profile.power, 144, rtol=0.1)


def test_what_is_clipped_is_not_measured():
    """Bone at the end of the range has no noise to show: with two thirds of it, power is the rest's."""
    field = np.full((256, 256), 255, dtype=np.uint8)
    field[:, :80] = add_noise(np.full((256, 80), 100, dtype=np.uint8), 12, "gaussian", np.random.default_rng(1))
    found = tissue_power(field)
    assert found is not None
    np.testing.assert_allclose(found, 144, rtol=0.2)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("sigma", [12, 24])
def test_adapted_heads_have_the_noise_of_the_target(modality, sigma):
    """Clean heads after adaptation: tissue noise within 3 %, each ring above the coarse within 10 %, or rounding."""
    target = NoiseProfile.of([coarse_noise(head, sigma, i) for i, head in enumerate(heads(modality, first=10))])
    adapted = [adapt(head, target, np.random.default_rng(i)) for i, head in enumerate(heads(modality))]
    found = NoiseProfile.of([each.image for each in adapted])
    assert not any(each.noisier for each in adapted)
    assert found.sigma == pytest.approx(target.sigma, rel=0.03)
    np.testing.assert_allclose(found.power[COARSE:], target.power[COARSE:], rtol=0.1, atol=0.05)


def test_half_noisy_heads_get_what_lacks():
    """Heads with noise of their own end with the target's, and `added` is the root of the difference of variances."""
    target = NoiseProfile.of(
        [add_noise(head, 10, "gaussian", np.random.default_rng(i)) for i, head in enumerate(heads("CT"))]
    )
    for i, head in enumerate(heads("CT", 3, first=20)):
        noisy = add_noise(head, 6, "gaussian", np.random.default_rng(50 + i))
        adapted = adapt(noisy, target, np.random.default_rng(i))
        power = tissue_power(adapted.image)
        assert power is not None
        assert adapted.added == pytest.approx(np.sqrt(target.sigma**2 - adapted.sigma**2))
        assert deviation(power) == pytest.approx(target.sigma, rel=0.03)
        assert noise_level(adapted.image).sigma == pytest.approx(10, rel=0.1)


def test_noise_that_is_coarser_already_gets_no_more_in_all():
    """Where coarser rings have more than the target's, finer ones get less, so that the deviation is the target's."""
    field = np.full((256, 256), 128, dtype=np.uint8)
    target = NoiseProfile.of([add_noise(field, 6, "gaussian", np.random.default_rng(0))])
    coarse = coarse_noise(field, 15, 1)
    before = tissue_power(coarse)
    assert before is not None
    assert before[COARSE] > 1.5 * target.power[COARSE]
    after = tissue_power(adapt(coarse, target, np.random.default_rng(2)).image)
    assert after is not None
    assert deviation(after) == pytest.approx(target.sigma, rel=0.03)


def test_anatomy_in_the_coarse_rings_is_not_drawn_as_noise():
    """What the target has more in its coarse rings is not added: they get no more than the first that counts."""
    field = np.full((256, 256), 128, dtype=np.uint8)
    target = NoiseProfile.of([coarse_noise(field, 20, 0)])
    assert target.power[0] > 2 * target.power[COARSE]
    after = tissue_power(adapt(field, target, np.random.default_rng(2)).image)
    assert after is not None
    assert after[:COARSE].max() < 1.4 * after[COARSE]


def test_rician_noise_makes_rician_images():
    """Adapted to magnitudes with Rician noise of 10, clean heads are found to have it, air and all: 5 % in the mean."""
    target = NoiseProfile.of(
        [add_noise(head, 10, "rician", np.random.default_rng(i)) for i, head in enumerate(heads("MR"))]
    )
    assert target.law == "rician"
    found = [
        noise_level(adapt(head, target, np.random.default_rng(i)).image)
        for i, head in enumerate(heads("MR", 6, first=30))
    ]
    assert {level.law for level in found} == {"rician"}
    assert np.mean([level.sigma for level in found]) == pytest.approx(10, rel=0.05)


def test_what_is_noisier_is_left_to_the_bit_and_said():
    """Noise is only added: heads noisier than the target come back as they are, marked."""
    target = NoiseProfile.of(
        [add_noise(head, 4, "gaussian", np.random.default_rng(i)) for i, head in enumerate(heads("CT"))]
    )
    noisy = add_noise(heads("CT")[0], 12, "gaussian", np.random.default_rng(9))
    adapted = adapt(noisy, target, np.random.default_rng(0))
    assert (adapted.noisier, adapted.added) == (True, 0)
    np.testing.assert_array_equal(adapted.image, noisy)


def test_nothing_lacking_changes_no_bit():
    """An image adapted to its own profile, and one without tissue, come back to the bit, and are not called noisier."""
    head = add_noise(heads("MR")[0], 5, "gaussian", np.random.default_rng(3))
    own = NoiseProfile.of([head])
    for image in (head, np.zeros((64, 64), dtype=np.uint8), np.full((8, 8), 9, dtype=np.uint8)):
        adapted = adapt(image, own, np.random.default_rng(0))
        assert (adapted.noisier, adapted.added) == (False, 0)
        np.testing.assert_array_equal(adapted.image, image)


def test_air_and_bone_at_the_ends_of_the_range_stay():
    """In CT, air is below the window and bone above it: where all is at one end, no pixel changes."""
    target = NoiseProfile.of(heads("CT", noise=1))
    head = heads("CT", 1, first=40)[0]
    changed = adapt(head, target, np.random.default_rng(0)).image != head
    for end in (0, 255):
        inside = convolve((head == end).astype(int), np.ones((3, 3), int)) == 9
        assert inside.sum() > 1000
        assert not changed[inside].any()
    assert changed[(head > 40) & (head < 200)].mean() > 0.8


def test_air_gets_the_noise_of_the_targets_air():
    """Grey air with noise of 3 beside tissue with noise of 9: after adaptation each has its own, within 15 %."""

    def scene(seed: int, tissue: float, air: float) -> np.ndarray:
        image = np.full((192, 192), 12.0)
        image[48:144, 48:144] = 150
        spread = np.where(image > 20, tissue, air)
        noise = np.random.default_rng(seed).normal(0, 1, image.shape) * spread
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)

    target = NoiseProfile.of([scene(i, 9, 3) for i in range(5)])
    adapted = adapt(scene(9, 0.6, 0.6), target, np.random.default_rng(0)).image.astype(float)
    assert adapted[56:136, 56:136].std() == pytest.approx(9, rel=0.15)
    assert adapted[:40].std() == pytest.approx(3, rel=0.15)


def test_adaptation_comes_of_its_seed():
    """One seed, one image; another seed, another image."""
    target = NoiseProfile.of(heads("MR", noise=2))
    head = heads("MR", 1)[0]
    one, again, other = (adapt(head, target, np.random.default_rng(seed)).image for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.2


def test_sixteen_bits_are_adapted_in_stored_values():
    """A head stored as HU + 1024 gets the deviation of a target in the same values, within 3 %."""

    def stored(head: np.ndarray) -> np.ndarray:
        return np.where(head == 0, 0, np.rint(head * (80 / 255) + 1024)).astype(np.uint16)

    rng = np.random.default_rng(2)
    target = NoiseProfile.of([add_noise(stored(head), 7, "gaussian", rng) for head in heads("CT", 3)])
    adapted = adapt(stored(heads("CT", 1, first=50)[0]), target, rng)
    power = tissue_power(adapted.image)
    assert power is not None
    assert adapted.image.dtype == np.uint16
    assert deviation(power) == pytest.approx(target.sigma, rel=0.03)


def test_a_target_without_tissue_is_refused():
    """Black images have no noise to be like: the error says how many were looked at and what was missing."""
    with pytest.raises(ValueError, match="none of 2 images shows 25 blocks of tissue"):
        NoiseProfile.of([np.zeros((64, 64), dtype=np.uint8)] * 2)
