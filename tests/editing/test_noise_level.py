"""Noise of known size put into known heads is found again, and what it makes of a pixel is what a closed form says."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import rice

from phonybrains.editing.noise_level import LAWS, NoiseLevel, add_noise, expected, noise_level, variance
from phonybrains.phantom.corpus import draw_phantom


@cache
def heads(modality: str, n: int = 6) -> list[np.ndarray]:
    return [draw_phantom(np.random.default_rng(seed), modality, size=256, noise=0)[0] for seed in range(n)]


def in_hu(image: np.ndarray) -> np.ndarray:
    """A CT phantom of 0…80 HU as an image of 16 bits that holds HU + 1024, with air at -1000."""
    hu = image * (80 / 255)
    hu[image == 0] = -1000
    return np.rint(hu + 1024).astype(np.uint16)


@pytest.mark.parametrize("sigma", [5, 10, 20, 40])
@pytest.mark.parametrize(("modality", "law"), [("MR", "gaussian"), ("MR", "rician"), ("CT", "gaussian")])
def test_known_noise_is_found_again(modality, law, sigma):
    """σ within 5 % in the mean and 10 % in each image, clipped air and bone notwithstanding; the law in each."""
    rng = np.random.default_rng(sigma)
    found = [noise_level(add_noise(head, sigma, law, rng)) for head in heads(modality)]
    share = np.array([level.sigma for level in found]) / sigma
    assert abs(share.mean() - 1) < 0.05
    assert np.abs(share - 1).max() < 0.1
    assert [level.law for level in found] == [law] * len(found)


def test_sixteen_bits_are_measured_in_stored_values():
    """Noise of 6 stored values in an image of HU + 1024 is found within 5 %."""
    rng = np.random.default_rng(0)
    found = [noise_level(add_noise(in_hu(head), 6, "gaussian", rng)).sigma for head in heads("CT")]
    assert np.mean(found) == pytest.approx(6, rel=0.05)


def test_no_air_is_measured_on_what_there_is():
    """A ramp that fills the image: the noise on it is found, as Gaussian under either law."""
    ramp = np.tile(np.linspace(90, 160, 96), (96, 1)).astype(np.uint8)
    for law in LAWS:
        found = noise_level(add_noise(ramp, 8, law, np.random.default_rng(1)))
        assert found.law == "gaussian"
        assert found.sigma == pytest.approx(8, rel=0.05)


def test_tissue_and_bone_without_air_are_measured_on_tissue():
    """Two thirds bone at the end of the range, the rest tissue: its noise, though it is the darkest there is."""
    image = np.full((128, 192), 255, dtype=np.uint8)
    image[:, :64] = 100
    assert noise_level(add_noise(image, 10, "gaussian", np.random.default_rng(0))).sigma == pytest.approx(10, rel=0.05)


def test_dark_tissue_is_not_taken_for_rician_air():
    """Gaussian noise on tissue of 2 σ, whose mean and deviation are near those of Rayleigh's law, is Gaussian."""
    for dark in (12, 16, 20, 24):
        image = np.full((128, 128), dark, dtype=np.uint8)
        image[32:96, 32:96] = 120
        found = noise_level(add_noise(image, 10, "gaussian", np.random.default_rng(dark)))
        assert found.law == "gaussian"
        assert found.sigma == pytest.approx(10, rel=0.1)


def scene(air: float, tissue: float, shell: float = 0) -> np.ndarray:
    """A square of tissue, (160, 160) uint8, in air, perhaps with a shell around it."""
    image = np.full((160, 160), air)
    image[32:128, 32:128] = shell or tissue
    image[44:116, 44:116] = tissue
    return image.astype(np.uint8)


def test_flat_air_is_not_what_is_measured():
    """Air of one grey value that is not 0, larger than the tissue: the noise of the tissue is found."""
    image = scene(2, 120)
    image[image == 120] = add_noise(image, 6, "gaussian", np.random.default_rng(0))[image == 120]
    found = noise_level(image)
    assert found.law == "gaussian"
    assert found.sigma == pytest.approx(6, rel=0.05)


def test_faint_tissue_beside_air_is_not_air():
    """A shell of 1.2 σ around the tissue leaves the σ of air within 4 %."""
    image = scene(0, 180, shell=24)
    found = [noise_level(add_noise(image, 20, "rician", np.random.default_rng(i))) for i in range(4)]
    assert {level.law for level in found} == {"rician"}
    assert np.mean([level.sigma for level in found]) == pytest.approx(20, rel=0.04)


def test_air_that_does_not_agree_with_tissue_is_not_believed():
    """Air of Rayleigh's law with σ = 12 around tissue whose noise is 4: the noise is the tissue's."""
    image = scene(0, 120)
    noisy = add_noise(image, 12, "rician", np.random.default_rng(0))
    noisy[image > 0] = add_noise(image, 4, "gaussian", np.random.default_rng(1))[image > 0]
    found = noise_level(noisy)
    assert found.law == "gaussian"
    assert found.sigma == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_has_no_noise(value):
    """Black, grey and white without structure: σ is 0, without a warning."""
    assert noise_level(np.full((64, 64), value, dtype=np.uint8)) == NoiseLevel(0.0, "gaussian")


def test_a_head_without_noise_is_quiet():
    """Edges are not taken for noise: of a clean head less than one grey level."""
    assert max(noise_level(head).sigma for modality in ("MR", "CT") for head in heads(modality, 3)) < 1


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sigma", [3.0, 20.0, 60.0])
def test_expected_and_variance_are_those_of_simulated_pixels(law, sigma):
    """Of 400,000 draws of dark to bright pixels, clipped at both ends: five standard errors and 0.5 % of σ."""
    values, n = np.array([0.0, 4.0, 30.0, 128.0, 240.0, 255.0]), 400_000
    rng = np.random.default_rng(0)
    real, imaginary = rng.normal(0, sigma, (2, n, 1))
    drawn = values + real if law == "gaussian" else np.hypot(values + real, imaginary)
    drawn = np.clip(drawn, 0, 255)
    closeness = 5 / np.sqrt(n) + 0.005
    np.testing.assert_allclose(expected(values, sigma, law), drawn.mean(0), rtol=0, atol=closeness * sigma)
    np.testing.assert_allclose(variance(values, sigma, law), drawn.var(0), rtol=0, atol=2 * closeness * sigma**2)


def test_expected_of_no_signal_has_its_closed_form():
    """Clipped Gaussian air reads σ/√(2π), Rayleigh's σ√(π/2), with variances (1/2 - 1/2π)σ² and (2 - π/2)σ²."""
    zero = np.zeros(1)
    assert expected(zero, 10, "gaussian") == pytest.approx(10 / np.sqrt(2 * np.pi))
    assert variance(zero, 10, "gaussian") == pytest.approx(100 * (0.5 - 0.5 / np.pi))
    assert expected(zero, 10, "rician") == pytest.approx(10 * np.sqrt(np.pi / 2), rel=1e-6)
    assert variance(zero, 10, "rician") == pytest.approx(100 * (2 - np.pi / 2), rel=1e-6)


def test_without_noise_a_pixel_reads_what_it_is():
    """σ = 0: the values, clipped, without variance."""
    values = np.array([-5.0, 12.5, 300.0])
    for law in LAWS:
        np.testing.assert_array_equal(expected(values, 0, law), [0, 12.5, 255])
        np.testing.assert_array_equal(variance(values, 0, law), 0)


@pytest.mark.parametrize("law", LAWS)
def test_added_noise_reads_as_expected_and_comes_of_its_seed(law):
    """The mean and variance of added noise are `expected` and `variance`; one seed, one image; σ = 0 changes no bit."""
    image = np.repeat(np.array([[0, 60, 250]], dtype=np.uint8), 3000, axis=0).repeat(30, axis=1)
    noisy = add_noise(image, 15, law, np.random.default_rng(4))
    assert noisy.dtype == np.uint8
    for value in (0, 60, 250):
        read, true = noisy[image == value].astype(float), np.array([float(value)])
        assert read.mean() == pytest.approx(expected(true, 15, law)[0], abs=0.25)
        assert read.var() == pytest.approx(variance(true, 15, law)[0], rel=0.03)
    np.testing.assert_array_equal(noisy, add_noise(image, 15, law, np.random.default_rng(4)))
    np.testing.assert_array_equal(image, add_noise(image, 0, law, np.random.default_rng(4)))


def test_what_cannot_be_measured_is_refused():
    """A colour image, floats, a negative σ, another law: each is named."""
    with pytest.raises(ValueError, match=r"\(H, W\) uint8 or uint16, not \(8, 8, 3\)"):
        noise_level(np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="float64"):
        noise_level(np.zeros((8, 8)))
    image = np.zeros((8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="not -1"):
        add_noise(image, -1, "gaussian", np.random.default_rng(0))
    with pytest.raises(ValueError, match="not 'poisson'"):
        add_noise(image, 1, "poisson", np.random.default_rng(0))  # pyright: ignore[reportArgumentType]


def test_clipped_rice_is_near_its_integral():
    """Where the range ends at 4.25 σ, mean and variance are those of the survival function, to 0.004 σ and 0.02 σ²."""
    sigma, levels = 60.0, np.linspace(0, 255, 4001)
    for value in (0.0, 80.0, 160.0, 255.0):
        beyond = rice.sf(levels, value / sigma, scale=sigma)
        mean, square = np.trapezoid(beyond, levels), np.trapezoid(2 * levels * beyond, levels)
        true = np.array([value])
        assert expected(true, sigma, "rician")[0] == pytest.approx(mean, abs=0.004 * sigma)
        assert variance(true, sigma, "rician")[0] == pytest.approx(square - mean**2, abs=0.02 * sigma**2)
