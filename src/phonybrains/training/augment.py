"""Augmentation as numbers: parameters are drawn apart from their application, and the denoiser is told them.

Because it is told, it learns what a turned image is instead of drawing turned images.  [Karras 2022, app. F.2]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

FLIP, ROTATION, SCALE, SHIFT_X, SHIFT_Y, GAMMA = range(6)
WIDTH = 6
SPANS = (1.0, 0.1745, 0.1, 0.0625, 0.0625, 0.25)
"""Largest flip (yes), rotation (rad, 10°), log scale, shifts (fraction of half the image) and log gamma."""


def draw_parameters(n: int, chance: float, rng: Generator) -> Tensor:
    """(n, 6) parameters in -1…1, zero where an augmentation is not applied (with probability 1 - chance)."""
    values = torch.rand(n, WIDTH, generator=rng) * 2 - 1
    values[:, FLIP] = 1.0
    return values * (torch.rand(n, WIDTH, generator=rng) < chance)


def augment(images: Tensor, parameters: Tensor) -> Tensor:
    """Apply (B, 6) parameters to images (B, 1, H, W) in -1…1; what comes in from outside is black."""
    flip, angle, scale, shift_x, shift_y, gamma = (parameters * parameters.new_tensor(SPANS)).unbind(1)
    mirrored = 1 - 2 * flip
    cos, sin, zoom = angle.cos(), angle.sin(), (-scale).exp()
    rows = torch.stack([cos * zoom * mirrored, -sin * zoom, shift_x, sin * zoom * mirrored, cos * zoom, shift_y], dim=1)
    grid = F.affine_grid(rows.reshape(-1, 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(images + 1, grid, mode="bicubic", align_corners=False).clamp(0, 2) / 2
    plain = (parameters == 0).all(dim=1)[:, None, None, None]
    return torch.where(plain, images, moved ** gamma.exp()[:, None, None, None] * 2 - 1)


def augment_masks(masks: Tensor, parameters: Tensor) -> Tensor:
    """Masks (B, 1, H, W) in 0…1, moved as their images are; they have no gamma, and what comes in is outside."""
    moves = parameters.clone()
    moves[:, GAMMA] = 0
    return (augment(masks * 2 - 1, moves) + 1) / 2
