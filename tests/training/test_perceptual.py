"""The perceptual distance: zero for equal images, growing with what the eye sees, and only from the right weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from phonybrains.errors import ModelError
from phonybrains.imageset import ImageSet
from phonybrains.training.perceptual import PerceptualDistance
from tests.support.places import SHARED
from tests.support.tiny_training import save_squeezenet

WEIGHTS = SHARED / "weights" / "squeezenet1_1-imagenet-features.safetensors"
REAL = pytest.mark.needs("weights")


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance(WEIGHTS)


@pytest.fixture(scope="module")
def images(phantom_corpus: Path) -> torch.Tensor:
    """(6, 1, 64, 64) phantoms in -1…1."""
    return torch.from_numpy(next(ImageSet.open(phantom_corpus).batches(6)))


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    """A file with the names and shapes of SqueezeNet's features, and random numbers."""
    return save_squeezenet(tmp_path / "random.safetensors", seed=0)


@REAL
def test_equal_images_have_no_distance(distance: PerceptualDistance, images: torch.Tensor):
    """d(x, x) is 0 to the bit, d(x, y) is not, and d is symmetric; one number for each image."""
    assert torch.equal(distance(images, images), torch.zeros(6))
    there, back = distance(images, images.roll(1, 0)), distance(images.roll(1, 0), images)
    assert (there > 0.01).all()
    torch.testing.assert_close(there, back)


@REAL
def test_distance_grows_with_blur(distance: PerceptualDistance, images: torch.Tensor):
    """The more an image is blurred, the further it is from itself."""
    blurred = [torch.nn.functional.avg_pool2d(images, k, 1, k // 2, count_include_pad=False) for k in (3, 5, 9)]
    far = torch.stack([distance(images, b) for b in blurred])
    assert (far[0] > 0).all()
    assert (far.diff(dim=0) > 0).all()


@REAL
def test_distance_of_an_image_does_not_depend_on_the_batch(distance: PerceptualDistance, images: torch.Tensor):
    """The batch is compared image by image."""
    together = distance(images, -images)
    torch.testing.assert_close(together[2:3], distance(images[2:3], -images[2:3]), rtol=1e-4, atol=1e-6)


@REAL
def test_gradient_reaches_the_images_only(distance: PerceptualDistance, images: torch.Tensor):
    """The features are fixed; what is compared learns from them, and following the gradient brings it nearer."""
    x = (images * 0.5).requires_grad_()
    before = distance(x, images).sum()
    before.backward()
    assert x.grad is not None
    assert not any(p.requires_grad for p in distance.parameters())
    with torch.no_grad():
        assert distance(x - 0.002 * x.grad / x.grad.abs().max(), images).sum() < before


@REAL
def test_the_real_weights_tell_more_than_random_ones(distance: PerceptualDistance, random_weights: Path):
    """The file of the right names is loaded as it is: real and random weights disagree."""
    x, y = torch.rand(2, 4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert not torch.allclose(distance(x, y), PerceptualDistance(random_weights)(x, y), rtol=0.05)
    stored = load_file(WEIGHTS)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in distance.state_dict().items())


def test_wrong_files_are_refused(tmp_path: Path, random_weights: Path):
    """Missing, not safetensors, other weights, one tensor too few: an error in one line that says what is expected."""
    text, others, fewer = (tmp_path / f"{name}.safetensors" for name in ("text", "others", "fewer"))
    text.write_text("not weights")
    save_file({"conv.weight": torch.zeros(3)}, others)
    save_file(dict(list(load_file(random_weights).items())[1:]), fewer)
    for path in (tmp_path / "nowhere", text, others, fewer):
        with pytest.raises(ModelError, match=r"not SqueezeNet 1\.1 features \(.*\)\. Leave `features` out") as caught:
            PerceptualDistance(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    PerceptualDistance(random_weights)


def test_the_architecture_is_squeezenet(random_weights: Path):
    """722,496 parameters and taps of 64, 128, 256 and 512 channels: SqueezeNet 1.1's features."""
    network = PerceptualDistance(random_weights)
    assert sum(p.numel() for p in network.parameters()) == 722_496
    x, widths = torch.zeros(1, 3, 64, 64), []
    for depth, layer in enumerate(network.features):
        x = layer(x)
        if depth in (1, 4, 7, 12):
            widths.append(x.shape[1])
    assert widths == [64, 128, 256, 512]
