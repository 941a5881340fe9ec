"""What texture is, in numbers that a network can learn from: smooth functions of single images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

RINGS = 32
"""Rings of spatial frequency, of equal width up to the Nyquist frequency."""
SPREADS = (0.35, 0.7, 1.4, 2.8, 5.6, 11.0, 22.0, 44.0)
"""Grey levels below which shares of deviations and differences are counted."""
DARK, BRIGHT = (0.5, 1.5, 2.5, 4.5, 8.5, 16.5), (254.5, 250.5, 240.5)
GROUPS = (RINGS, 3 * len(SPREADS), len(DARK) + len(BRIGHT), 2 * len(SPREADS))
"""How many statistics are of the spectrum, of blocks, of the ends of the histogram and of neighbours, in this order."""
FAINT = 1e-3


def texture_statistics(images: Tensor) -> Tensor:
    """Statistics of each image's texture, (B, sum(GROUPS)), for images (B, 1, H, W) in -1…1.

    Log power in rings of frequency; how many blocks of 2, 4 and 8 pixels deviate by less than so many grey levels; how
    many pixels are nearly black or white; how many neighbours differ, and how many pixels are rough, by less than so
    much. A count is smooth over a part of its level, so that every pixel has a gradient.
    """
    grey = (images.float() + 1) * 127.5
    found = [_log_power(grey)]
    for side in (2, 4, 8):
        mean = F.avg_pool2d(grey, side)
        variance = (F.avg_pool2d(grey.square(), side) - mean.square()).clamp(min=0)
        found.append(_shares(variance))
    pixels = grey.flatten(1)
    found += [torch.sigmoid((level - pixels) / 0.3).mean(1, keepdim=True) for level in DARK]
    found += [torch.sigmoid((pixels - level) / 0.3).mean(1, keepdim=True) for level in BRIGHT]
    across, down = grey.diff(dim=3)[..., ::2, ::2], grey.diff(dim=2)[..., 1::2, 1::2]
    found.append(_shares(torch.cat([across.flatten(1), down.flatten(1)], dim=1).square()))
    inner = 4 * grey[..., 1:-1, 1:-1] - grey[..., :-2, 1:-1] - grey[..., 2:, 1:-1] - grey[..., 1:-1, :-2]
    found.append(_shares((inner - grey[..., 1:-1, 2:])[..., ::2, 1::2].square()))
    return torch.cat(found, dim=1)


def energy_distance(made: Tensor, real: Tensor, weights: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| of each column of made (m, F) and real (n, F), weighted and summed: unbiased.

    Zero, on average, where both have one distribution, whatever its shape.  [Székely 2013, eq. 2.5]
    """
    between = (made[:, None] - real).abs().mean(dim=(0, 1))
    return ((2 * between - _within(made) - _within(real)) * weights).sum()


def shown(images: Tensor) -> Tensor:
    """Images as 8 bits hold them, cut off and rounded; gradients pass as if nothing was done.  [Bengio 2013, sec. 4]"""
    stored = ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return images + (stored - images).detach()


def _within(x: Tensor) -> Tensor:
    """Mean difference of two different rows, by column: E|x - x'| from sorted values."""
    n = len(x)
    rank = torch.arange(1 - n, n, 2, device=x.device, dtype=x.dtype)[:, None]
    return 2 * (rank * x.sort(dim=0).values).sum(0) / (n * (n - 1))


def _shares(squares: Tensor) -> Tensor:
    """Shares of deviations, given as squares, that lie below each of SPREADS, (B, 8)."""
    logs = (squares.flatten(1) + 0.01).log() / 2
    return torch.stack([torch.sigmoid((math.log(level) - logs) / 0.35).mean(1) for level in SPREADS], dim=1)


def _log_power(grey: Tensor) -> Tensor:
    """Mean power in each ring under a Hann window, in bels, (B, RINGS); no mean grey."""
    x, (height, width) = grey[:, 0], grey.shape[2:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(x)
    centred = x - ((x * window).sum(dim=(1, 2)) / window.sum())[:, None, None]
    power = torch.fft.rfft2(centred * window).abs().square().flatten(1)
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]) / 0.5
    ring = (radius * RINGS).long().clamp(max=RINGS).flatten()
    ring[0] = RINGS
    member = F.one_hot(ring, RINGS + 1)[:, :RINGS].to(x)
    return (power @ (member / member.sum(0).clamp(min=1)) + FAINT).log10()
