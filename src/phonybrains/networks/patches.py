"""No autoencoder: an image's own pixels as latents, as a component of diffusers. Model folders hold a copy of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class Patches(ModelMixin, ConfigMixin):
    """Patches of pixels as channels, called as an autoencoder is; exact both ways, with nothing to learn.

    patch: side of a patch in pixels; latent_channels, its pixels, is in the configuration as autoencoders have it.
    """

    @register_to_config
    def __init__(self, patch: int = 4, latent_channels: int = 16) -> None:
        super().__init__()
        if latent_channels != patch**2:
            raise ValueError(f"patches of {patch}×{patch} pixels are not {latent_channels} channels")
        self.spatial_compression_ratio = patch
        self.register_buffer("side", torch.tensor([float(patch)]))  # diffusers loads no component without a tensor

    def encode(self, x: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """(B, 1, H, W) to (B, patch², H/patch, W/patch)."""
        return (F.pixel_unshuffle(x, self.spatial_compression_ratio),)

    def decode(self, z: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        """(B, patch², h, w) to (B, 1, h · patch, w · patch)."""
        return (F.pixel_shuffle(z, self.spatial_compression_ratio),)
