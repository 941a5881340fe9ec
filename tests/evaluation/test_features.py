"""Features of images: spectra and noise that are known, networks from files, shards that are taken up again."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.fft import fft2, ifft2
from numpy.random import Generator, default_rng
from safetensors.torch import save_file
from scipy.ndimage import fourier_gaussian, gaussian_filter
from skimage.feature import graycomatrix, graycoprops

from bench import fidelity, grey
from phonybrains.errors import ModelError
from phonybrains.evaluation.config import EvaluateConfig, QualityConfig
from phonybrains.evaluation.features.dinov2 import Dinov2
from phonybrains.evaluation.features.extractors import (
    Dinov2Features,
    Handcrafted,
    InceptionFeatures,
    SqueezeNetFeatures,
    extractors_of,
)
from phonybrains.evaluation.features.handcrafted import NAMES, PLAIN, handcrafted
from phonybrains.evaluation.features.spectrum import (
    RINGS,
    frequencies,
    log_power,
    noise,
    radial_power,
    spectrum_difference,
)
from tests.support.feature_weights import INCEPTION, dinov2_weights, inception_weights, squeezenet_file


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def textures(rng: Generator, n: int, side: int) -> np.ndarray:
    """Smooth random images, each unlike the others, over a bright disc that all have."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    disc = 90.0 * (np.hypot(x, y) < 0.35)
    noise = np.stack([gaussian_filter(image, side / 20) for image in rng.normal(size=(n, side, side))])
    return (disc + 70 + 60 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def test_spectrum_falls_as_the_blur_says(rng: Generator):
    """White noise under a Gaussian of σ pixels loses exp(-σ²ω²) of its power; twice the noise has 6 dB more."""
    noise = rng.normal(128, 30, (8, 128, 128))
    blurred = np.stack([ifft2(fourier_gaussian(fft2(image), 0.8)).real for image in noise])
    omega = np.pi * (np.arange(RINGS) + 0.5) / 20
    expected = 10 * np.log10(np.exp(-((0.8 * omega) ** 2)))
    np.testing.assert_allclose(spectrum_difference(blurred, noise), expected, atol=0.3)
    np.testing.assert_allclose(spectrum_difference(2 * noise, noise), 20 * math.log10(2), atol=1e-3)


def test_each_image_counts_alike_in_the_spectrum(rng: Generator):
    """One image a hundred times stronger than the rest hides nothing: a gain of -3 dB on all others is seen as that."""
    images = rng.normal(0, 10, (20, 64, 64))
    weaker = images * np.where(np.arange(20) == 0, 100, 10 ** (-3 / 20))[:, None, None]
    images[0] *= 100
    np.testing.assert_allclose(spectrum_difference(weaker, images), -3 * 19 / 20, atol=1e-6)


def test_bands_of_frequency():
    """A sine of 0.3 cycles a pixel is 60 % of Nyquist: band 12 of 20. The bands' middles are in cycles a pixel. An
    image that shows nothing has the power that rounding leaves, 1/12 of a squared grey level a pixel."""
    wave = np.tile(128 + 100 * np.sin(2 * np.pi * 0.3 * np.arange(128)), (128, 1))
    assert set(np.argsort(radial_power(wave[None])[0])[-2:]) <= {11, 12}
    assert frequencies()[[0, -1]] == pytest.approx([0.0125, 0.4875])
    empty = log_power(np.full((1, 64, 64), 90, np.uint8))
    np.testing.assert_allclose(empty, 10 * math.log10(64**2 * (3 / 8) ** 2 / 12))


def test_handcrafted_features_see_what_changes(rng: Generator):
    """Finite numbers with a name each; a blur moves the spectrum and leaves the layout."""
    images = textures(rng, 4, 128)
    plain, blurred = handcrafted(images), handcrafted(grey.blur(images))
    assert plain.shape == (4, len(NAMES))
    assert NAMES[:PLAIN][-1] == "unlike 4"
    assert np.isfinite(plain).all()
    moved = np.abs(plain - blurred)
    assert moved[:, 26:36].min() > 0.3
    assert moved[:, 36:100].max() < 0.02
    level = grey.level(np.full((1, 8, 8), 30, np.uint8))
    assert level == {"mean": 30, "deviation_of_means": 0, "deviation": 0, "above": 1}


def test_noise_is_measured_through_the_picture(rng: Generator):
    """Gaussian noise of 4 and 12 grey levels on smooth images is found within 6 %; none where there is nothing."""
    images = textures(rng, 4, 128).astype(float) * 0.5 + 50
    for sigma in (4, 12):
        noisy = np.rint(images + rng.normal(0, sigma, images.shape)).clip(0, 255).astype(np.uint8)
        assert np.median(noise(noisy)) == pytest.approx(sigma, rel=0.06)
    assert noise(np.zeros((1, 16, 16), np.uint8)).tolist() == [0]


def test_cooccurrence_is_that_of_scikit_image(rng: Generator):
    """Contrast, homogeneity, energy and correlation of both directions together, as graycoprops has them."""
    image = textures(rng, 1, 64)
    counts = graycomatrix(image[0] >> 4, [1], [0, np.pi / 2], levels=16, symmetric=True)
    both = counts.sum(axis=3, keepdims=True) / counts.sum()
    found = dict(zip(NAMES, handcrafted(image)[0], strict=True))
    for name in ("contrast", "homogeneity", "energy", "correlation"):
        expected = float(graycoprops(both, name)[0, 0]) / (16 if name == "contrast" else 1)
        assert found[f"glcm {name}"] == pytest.approx(expected)


def test_wavelets_keep_the_power_of_the_picture(rng: Generator):
    """Each detail coefficient of white noise has the power of a pixel, at each scale; a constant image has none."""
    image = rng.integers(0, 256, (1, 256, 256)).astype(np.uint8)
    first = [NAMES.index(f"wavelet {i}") for i in (1, 2, 3)]
    found = handcrafted(image)[0, first]
    np.testing.assert_allclose(10**found, (image / 255).var(), rtol=0.1)
    np.testing.assert_allclose(handcrafted(np.full((1, 64, 64), 90, np.uint8))[0, first], -6)


def test_images_that_show_nothing_have_finite_features():
    """Black, white and odd sizes: numbers all the same."""
    for image in (np.zeros((1, 64, 64), np.uint8), np.full((1, 70, 50), 255, np.uint8)):
        assert np.isfinite(handcrafted(image)).all()


@pytest.fixture
def squeezenet(tmp_path: Path) -> Path:
    return squeezenet_file(tmp_path)


def test_squeezenet_does_not_depend_on_the_batch(squeezenet: Path, rng: Generator):
    """(n, 512) float32, the same one by one and together; its name has the weights' SHA-256."""
    images, extract = textures(rng, 6, 64), SqueezeNetFeatures(squeezenet)
    found = extract(images)
    assert (found.shape, found.dtype) == ((6, 512), np.float32)
    np.testing.assert_allclose(extract(images[4:5]), found[4:5], rtol=1e-4, atol=1e-5)
    assert extract.identity == f"squeezenet1_1 sha256:{hashlib.sha256(squeezenet.read_bytes()).hexdigest()[:12]}"


def test_dinov2_equals_that_of_timm(rng: Generator):
    """The class token of a tiny transformer with the same weights in timm, to 1e-4."""
    try:
        with fidelity.without_torchvision():
            from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
    except (ImportError, RuntimeError, AttributeError) as error:
        pytest.skip(f"timm cannot be imported: {error}")
    weights = dinov2_weights()
    theirs = VisionTransformer(
        img_size=224, patch_size=14, embed_dim=64, depth=2, num_heads=1, num_classes=0, init_values=1e-5
    ).eval()
    theirs.load_state_dict(checkpoint_filter_fn(dict(weights), theirs, antialias=True, interpolation="bicubic"))
    x = torch.from_numpy(rng.random((2, 1, 224, 224), np.float32))
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = theirs.forward_features((x - mean) / deviation)[:, 0]
        torch.testing.assert_close(Dinov2(weights)(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_dinov2_from_a_file(tmp_path: Path, rng: Generator, suffix: str):
    """Safetensors or a state dictionary: features of images of any size, (n, width), the same for both."""
    path, images = tmp_path / f"tiny{suffix}", textures(rng, 3, 96)
    (save_file if suffix == ".safetensors" else torch.save)(dinov2_weights(), path)
    extract = Dinov2Features(path)
    found = extract(images)
    assert (found.shape, extract.width, extract.identity[:14]) == ((3, 64), 64, "dinov2 sha256:")
    assert len(np.unique(found[:, 0])) == 3
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None].float() / 255, (224, 224), mode="bicubic", antialias=True
    ).clamp(0, 1)
    np.testing.assert_allclose(found, Dinov2(dinov2_weights())(resized).detach().numpy(), atol=1e-4)


def test_inception_is_that_of_torch_fidelity(tmp_path: Path, rng: Generator):
    """Grey images as three equal colours, features as its own extractor gives them."""
    torch.save(inception_weights(), tmp_path / "inception.pth")
    images = textures(rng, 2, 64)
    found = InceptionFeatures(tmp_path / "inception.pth")(images)
    module = fidelity.metric("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    theirs = module(INCEPTION, ["2048"], str(tmp_path / "inception.pth"))
    assert found.shape == (2, 2048)
    colours = torch.from_numpy(np.repeat(images[:, None], 3, axis=1))
    np.testing.assert_allclose(found, theirs(colours)[0].numpy(), rtol=1e-5, atol=1e-6)


class Malicious:
    """What a file of weights must not be able to do."""

    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_files_that_are_no_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Missing, text, other weights, code in a pickle: one line that names the file, and the code does not run."""
    monkeypatch.chdir(tmp_path)
    text, others, code = (tmp_path / name for name in ("text.safetensors", "others.pth", "code.pth"))
    text.write_text("not weights")
    torch.save({"conv.weight": torch.zeros(3)}, others)
    torch.save({"x": Malicious()}, code)
    kinds = [Dinov2Features, *([] if fidelity.is_missing() else [InceptionFeatures])]
    for path in (tmp_path / "nowhere.safetensors", text, others, code):
        for kind in kinds:
            with pytest.raises(ModelError) as caught:
                kind(path)
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_what_is_missing_is_named(squeezenet: Path, tmp_path: Path):
    """Handcrafted features always; a network without weights that can be read is listed with the reason."""
    found = extractors_of(
        EvaluateConfig(features=squeezenet, quality=QualityConfig(dinov2=tmp_path / "no.safetensors"))
    )
    assert [extractor.name for extractor in found.found] == ["handcrafted", "squeezenet1_1"]
    assert "quality.inception" in found.missing["inception-v3-compat"]
    assert "no.safetensors" in found.missing["dinov2"]
    assert Handcrafted().identity == "handcrafted-3"
