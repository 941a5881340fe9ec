"""Images made small, and what is seen of them without their brightness and contrast."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...imageset import ImageSet
from ..arrays import Array

SIDE, COARSE = 64, 32
CHUNK = 256
LIT, SMALL = 0.12, 0.65
"""A head that takes a smaller share of the frame's side than SMALL, as 1 of 20 slices do, is looked at closely too."""

Look = tuple[float, float, float]
"""Blur before all, width of the surroundings (pixels of SIDE), least level of what counts as variation."""
STRUCTURE: Look = (1.5, 6.0, 0.02)
EDGES: Look = (0.7, 4.0, 0.02)
DETAIL: Look = (0.5, 1.5, 0.05)


def thumbnails(images: Array) -> Tensor:
    """Images (n, H, W) of uint8 or uint16 as (n, 1, SIDE, SIDE) in 0…1, averaged over areas."""
    return F.interpolate(_grey(images), (SIDE, SIDE), mode="area")


def _grey(images: Array) -> Tensor:
    return torch.from_numpy(images.astype(np.float32))[:, None] / float(np.iinfo(images.dtype).max)


def close_ups(images: Array) -> Tensor:
    """Thumbnails of what images (n, H, W) show, however large it is drawn, with a tenth of its side around it."""
    grey = _grey(images)
    (left, right), (top, bottom) = contents(F.interpolate(grey, (2 * SIDE, 2 * SIDE), mode="area"))
    half = 0.55 * torch.maximum(right - left, bottom - top)
    affine = torch.zeros(len(grey), 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = half
    affine[:, 0, 2], affine[:, 1, 2] = (left + right) / 2, (top + bottom) / 2
    grid = F.affine_grid(affine, [len(grey), 1, 2 * SIDE, 2 * SIDE], align_corners=False)
    return halved(F.grid_sample(grey, grid, align_corners=False, padding_mode="border"), SIDE)


def contents(x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Where what thumbnails show begins and ends, across and down: each (n,), -1…1.

    Between the places that leave one in a hundred of the pixels with a LIT share of the brightest on either side.
    """
    lit = (x >= LIT * x.amax(dim=(1, 2, 3), keepdim=True))[:, 0].float()
    ends = []
    for profile in (lit.sum(dim=1), lit.sum(dim=2)):
        passed, n = profile.cumsum(dim=1) / profile.sum(dim=1, keepdim=True), profile.shape[1]
        first, last = (passed < 0.01).sum(dim=1), (passed < 0.99).sum(dim=1) + 1
        ends.append((first / n * 2 - 1, last / n * 2 - 1))
    return ends[0], ends[1]


def is_small(x: Tensor) -> Tensor:
    """Which thumbnails show something that is drawn small in its frame, (n,)."""
    (left, right), (top, bottom) = contents(x)
    return torch.maximum(right - left, bottom - top) < 2 * SMALL


def thumbnails_of(
    images: ImageSet, numbers: Sequence[int] | None = None, make: Callable[[Array], Tensor] = thumbnails
) -> Tensor:
    """Thumbnails of a set's images, or of those with these numbers, read a few at a time."""
    which = list(range(len(images)) if numbers is None else numbers)
    parts = [
        make(np.stack([images.pixels(i) for i in which[start : start + CHUNK]]))
        for start in range(0, len(which), CHUNK)
    ]
    return torch.cat(parts) if parts else torch.empty(0, 1, SIDE, SIDE)


def local(x: Tensor, look: Look) -> Tensor:
    """Images less their surroundings, over how much they vary there: blind to brightness, contrast and gamma."""
    blur, around, least = look
    x = blurred(x, blur)
    x = x - blurred(x, around)
    return x / (blurred(x * x, around) + least**2).sqrt()


def halved(x: Tensor, side: int = COARSE) -> Tensor:
    """From twice as many pixels a side to `side`."""
    return F.avg_pool2d(x, x.shape[-1] // side)


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
