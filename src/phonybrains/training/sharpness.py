"""What a mean error forgives and a look or a count does not: blur, and the grid that a decoder leaves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 16
GRID = 8
"""Pixels that a latent stands for, along each axis."""
FLOOR = 1e-5
"""Power below it counts as none: rounding to 8 bits leaves about as much."""
CONTOUR, ROUGHNESS_FLOOR = 0.1, 1e-4


def spectral_distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of log power over 16 × 16 bands of frequency, (B,), for images (B, 1, H, W) in -1…1.

    Phases do not count, so it goes beside a distance of pixels; lines of a grid, thinner than a band, are left to
    `unevenness`.  [after Durall 2020, sec. 4.3]
    """
    return (_log_power(x) - _log_power(y)).abs().mean(dim=(1, 2))


def unevenness(x: Tensor) -> Tensor:
    """How unevenly a decoder's images (B, 1, H, W), H and W multiples of 8, are rough over the places of its grid.

    The variance of log roughness over the eight columns of a grid's cell, plus that over its rows: 0 for images whose
    pixels know no grid. Roughness is the mean third difference, cut where contours begin.  [after Gallagher 2005]
    """
    total = x.new_zeros((), dtype=torch.float32)
    for lines in (x[:, 0].float(), x[:, 0].float().transpose(1, 2)):
        third = lines.diff(n=3, dim=2).abs().clamp(max=CONTOUR)
        cells = third.shape[2] // GRID
        if cells:
            places = third[:, :, : cells * GRID].mean(dim=(0, 1)).unflatten(0, (cells, GRID)).mean(dim=0)
            total = total + (places + ROUGHNESS_FLOOR).log().var(unbiased=False)
    return total


def _log_power(x: Tensor) -> Tensor:
    power = torch.fft.rfft2(x[:, 0].float(), norm="ortho").abs().square()
    return (F.adaptive_avg_pool2d(power, BANDS) + FLOOR).log()
