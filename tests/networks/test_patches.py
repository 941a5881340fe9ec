"""Pixels as latents."""

from __future__ import annotations

import pytest
import torch

from phonybrains.networks.patches import Patches


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
def test_patches_lose_nothing(patch: int):
    """Decoding gives back every pixel to the bit, and a place of the latents holds the pixels of its own square."""
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    codec = Patches(patch, patch**2)
    (latents,) = codec.encode(images)
    assert latents.shape == (3, patch**2, 32 // patch, 32 // patch)
    assert torch.equal(codec.decode(latents)[0], images)
    square = images[0, 0, 16 : 16 + patch, 24 : 24 + patch].flatten()
    assert torch.equal(latents[0, :, 16 // patch, 24 // patch], square)


def test_patches_of_another_number_of_pixels_are_refused():
    """A configuration that contradicts itself builds nothing."""
    with pytest.raises(ValueError, match="patches of 4×4 pixels are not 8 channels"):
        Patches(4, 8)
