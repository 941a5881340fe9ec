"""The denoiser of vectors: a residual network of linear layers, told a condition and how noisy the vector is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 32
"""Sines and cosines of the time, from a tenth of a turn to thirty over the whole way."""


class VectorBlock(nn.Module):
    """Two linear layers beside a short cut, scaled and shifted by the time between; at first it changes nothing.

    Nothing is normalised: how large x_t is, and times what, is what a denoiser has to know.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.told = nn.Linear(width, 2 * width)
        self.enter, self.leave = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.told(time).chunk(2, dim=1)
        return x + self.leave(nn.functional.silu(self.enter(x) * (1 + scale) + shift))


class VectorDenoiser(nn.Module):
    """forward(x_t (B, D, 1, 1), fraction of time (B,), condition (B, K)) → (B, D, 1, 1).

    Vectors are images of one pixel, so that processes and samplers serve them too. The condition may be in any units:
    it is standardised here, as `standardise` has found them.
    """

    turns: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, dim: int, condition_dim: int, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        self.dim, self.condition_dim, self.width, self.layers = dim, condition_dim, width, layers
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.enter, self.leave = nn.Linear(dim + condition_dim, width), nn.Linear(width, dim)
        self.blocks = nn.ModuleList(VectorBlock(width) for _ in range(layers))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("turns", 2 * math.pi * torch.logspace(-1, 1.5, FREQUENCIES), persistent=False)
        self.register_buffer("centre", torch.zeros(dim + condition_dim))
        self.register_buffer("spread", torch.ones(dim + condition_dim))

    def standardise(self, values: Tensor, conditions: Tensor) -> None:
        """Take mean and deviation of vectors (N, D) and of their conditions (N, K) as units; constant ones keep 1."""
        joined = torch.cat([values, conditions], dim=1).double()
        deviation = joined.std(dim=0, correction=0)
        self.centre.copy_(joined.mean(dim=0))
        self.spread.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, x_t: Tensor, fraction: Tensor, condition: Tensor) -> Tensor:
        told = (condition - self.centre[self.dim :]) / self.spread[self.dim :]
        angle = fraction.to(x_t)[:, None] * self.turns
        time = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        x = self.enter(torch.cat([x_t.flatten(1), told], dim=1))
        for block in self.blocks:
            x = block(x, time)
        return self.leave(nn.functional.silu(x))[:, :, None, None]
