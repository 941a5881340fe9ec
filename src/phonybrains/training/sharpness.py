"""A distance between power spectra: what a mean error forgives, blur above all, it does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 16
FLOOR = 1e-5
"""Power below it counts as none: rounding to 8 bits leaves about as much."""


def spectral_distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of log power over 16 × 16 bands of frequency, (B,), for images (B, 1, H, W) in -1…1.

    The bands tile the half plane that a real image has, so a grid that a decoder leaves in one direction is seen too.
    Phases do not count: it goes beside a distance of pixels.  [after Durall 2020, sec. 4.3]
    """
    return (_log_power(x) - _log_power(y)).abs().mean(dim=(1, 2))


def _log_power(x: Tensor) -> Tensor:
    power = torch.fft.rfft2(x[:, 0].float(), norm="ortho").abs().square()
    return (F.adaptive_avg_pool2d(power, BANDS) + FLOOR).log()
