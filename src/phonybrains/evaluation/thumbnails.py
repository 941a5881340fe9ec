"""Images made small, and what is seen of them without their brightness and contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..imageset import ImageSet

SIDE, COARSE = 64, 32
CHUNK = 256

Look = tuple[float, float, float]
"""Blur before all, width of the surroundings (pixels of SIDE), least level of what counts as variation."""
STRUCTURE: Look = (1.5, 6.0, 0.02)
EDGES: Look = (0.7, 4.0, 0.02)
DETAIL: Look = (0.5, 1.5, 0.05)


def thumbnails(images: NDArray[Any]) -> Tensor:
    """Images (n, H, W) of uint8 or uint16 as (n, 1, SIDE, SIDE) in 0…1, averaged over areas."""
    grey = torch.from_numpy(images.astype(np.float32))[:, None] / float(np.iinfo(images.dtype).max)
    return F.interpolate(grey, (SIDE, SIDE), mode="area")


def thumbnails_of(images: ImageSet, numbers: Sequence[int] | None = None) -> Tensor:
    """Thumbnails of a set's images, or of those with these numbers, read a few at a time."""
    which = list(range(len(images)) if numbers is None else numbers)
    parts = [thumbnails(np.stack([images.pixels(i) for i in which[start : start + CHUNK]]))
             for start in range(0, len(which), CHUNK)]  # fmt: skip
    return torch.cat(parts) if parts else torch.empty(0, 1, SIDE, SIDE)


def local(x: Tensor, look: Look) -> Tensor:
    """Images less their surroundings, over how much they vary there: blind to brightness, contrast and gamma."""
    blur, around, least = look
    x = _gaussian(x, blur)
    x = x - _gaussian(x, around)
    return x / (_gaussian(x * x, around) + least**2).sqrt()


def halved(x: Tensor) -> Tensor:
    """From SIDE to COARSE pixels."""
    return F.avg_pool2d(x, SIDE // COARSE)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weight = weight / weight.sum()
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), weight.view(1, 1, 1, -1))
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), weight.view(1, 1, -1, 1))
