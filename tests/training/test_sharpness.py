"""Power spectra, blind to where things are and keen on how sharp they are; and the grid of a decoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from phonybrains.training.sharpness import spectral_distance, unevenness


@pytest.fixture
def images() -> Tensor:
    """(4, 1, 64, 64) noise with the spectrum of pictures: power that falls with the square of frequency."""
    noise = torch.fft.rfft2(torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    fy, fx = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    return torch.fft.irfft2(noise / (fx**2 + fy**2 + 1e-3).sqrt()) / 10


def blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, stride=1)


def test_equal_spectra_are_at_no_distance(images: Tensor) -> None:
    """An image, its mirror and itself moved around the edge have one spectrum."""
    for same in (images, images.roll((5, 9), (2, 3)), -images):
        assert spectral_distance(images, same).abs().max() < 1e-4


def test_blur_is_far_though_its_error_is_small(images: Tensor) -> None:
    """A blur and noise of the same squared error: the blur, which takes whole bands away, is farther off."""
    soft = blurred(images)
    error = (soft - images).square().mean().sqrt()
    noisy = images + error * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert (spectral_distance(soft, images) > 1.5 * spectral_distance(noisy, images)).all()


def test_twice_the_contrast_is_log_four(images: Tensor) -> None:
    """Power goes with the square of contrast, in every band alike."""
    assert spectral_distance(2 * images, images) == pytest.approx([torch.tensor(4.0).log().item()] * 4, rel=0.01)


def test_a_grid_in_one_direction_is_seen(images: Tensor) -> None:
    """Stripes 8 pixels apart, whichever way they run, raise the bands that they fall into."""
    stripes = (torch.arange(64) % 8 == 0).float() * 0.3
    for grid in (stripes[:, None], stripes[None, :]):
        assert (spectral_distance(images + grid, images) > 0.01).all()


def test_gradients_sharpen(images: Tensor) -> None:
    """Steps down the gradient bring a blurred image's spectrum back."""
    x = blurred(images).requires_grad_(True)
    first = spectral_distance(x, images).mean()
    optimizer = torch.optim.Adam([x], lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        spectral_distance(x, images).mean().backward()
        optimizer.step()
    assert spectral_distance(x, images).mean() < 0.5 * first


def test_images_without_a_grid_are_even(images: Tensor) -> None:
    """Many images, wherever they are cut, are about as rough at every place of the grid."""
    many = torch.cat([images.roll((i, j), (2, 3)) for i in range(8) for j in range(8)])
    assert unevenness(many) < 1e-3


@pytest.mark.parametrize("period", [4, 8])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_grid_of_four_or_eight_pixels_is_uneven(images: Tensor, period: int, axis: int) -> None:
    """Noise that is a tenth stronger in every fourth or eighth column or row."""
    places = torch.arange(64) % period == 0
    stripes = 1 + 0.1 * places.float().reshape(-1, 1) if axis == 2 else 1 + 0.1 * places.float()
    noise = 0.02 * torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    assert unevenness(noise * stripes) > 3 * unevenness(noise)


def test_images_smaller_than_a_cell_have_no_grid(images: Tensor) -> None:
    """Shrunken crops of the tiny preset are 8 pixels a side: nothing can be said of them, and nothing is."""
    assert unevenness(images[:, :, :8, :8]) == 0
