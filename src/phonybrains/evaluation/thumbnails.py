"""Images made small, and what is seen of them without their brightness and contrast."""

from __future__ import annotations

import functools
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
    x = blurred(x, blur)
    x = x - blurred(x, around)
    return x / (blurred(x * x, around) + least**2).sqrt()


def halved(x: Tensor) -> Tensor:
    """From SIDE to COARSE pixels."""
    return F.avg_pool2d(x, SIDE // COARSE)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Images (n, 1, h, w) blurred; the border goes on outwards."""
    across = (x @ _weights(x.shape[3], sigma).T).mT
    return (across @ _weights(x.shape[2], sigma).T).mT.contiguous()


@functools.cache
def _weights(n: int, sigma: float) -> Tensor:
    """What each of n places in a row gets from each, (n, n): a matrix product is several times faster than a filter."""
    offsets = torch.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    weight = torch.exp(-0.5 * (offsets / sigma) ** 2)
    sources = (torch.arange(n)[:, None] + offsets).clamp(0, n - 1)
    return torch.zeros(n, n).scatter_add_(1, sources, (weight / weight.sum()).expand(n, -1))
