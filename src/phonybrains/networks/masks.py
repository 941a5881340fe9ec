"""A mask as the denoiser is told it: how much of each place it covers, and that it was given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pixel_unshuffle

MASK_CHANNELS = 5
"""Input channels of the denoiser beside the latents: four shares of a place, and whether a mask was given."""


def encode_masks(masks: Tensor) -> Tensor:
    """(B, 1, H, W), 1 inside and 0 outside → (B, MASK_CHANNELS, H/8, W/8): the shares covered of a place's quarters; 1.

    A mask that is missing is zeros in all channels, one that is given and empty in all but the last.
    """
    shares = pixel_unshuffle(avg_pool2d(masks, 4), 2)
    return torch.cat([shares, torch.ones_like(shares[:, :1])], dim=1)
