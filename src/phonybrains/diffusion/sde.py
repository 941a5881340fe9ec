"""Score-based diffusion: VP and VE in continuous time, and the reverse SDE that leads from noise to data.

dx = f(t) x dt + g(t) dw with t real in 0…1; so x_t = a(t) x_0 + s(t) ε as of every process.  [Song 2021, eq. 5]
Every sampler of sampler.py walks these processes too: its deterministic ones solve their probability-flow ODE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from .process import Predict, Process, Rng, as_times, column, normal_like


class Sde(Process, Protocol):
    """A process with its coefficients: f(t), what drifts, and g(t), how much noise comes in, as (B, 1, 1, 1)."""

    def drift(self, t: Tensor) -> Tensor: ...
    def diffusion(self, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class VariancePreserving:
    """β(t) rises linearly from `first` to `last`: DDPM's chain in continuous time.  [Song 2021, eq. 11 and app. C]"""

    first: float = 0.1
    last: float = 20.0

    def drift(self, t: Tensor) -> Tensor:
        return -self._beta(t) / 2

    def diffusion(self, t: Tensor) -> Tensor:
        return self._beta(t).sqrt()

    def signal(self, t: Tensor) -> Tensor:
        return (-self._integral(t) / 2).exp()

    def noise(self, t: Tensor) -> Tensor:
        return (-torch.expm1(-self._integral(t))).sqrt()

    def fraction(self, t: Tensor) -> Tensor:
        return t.double()

    def _beta(self, t: Tensor) -> Tensor:
        return self.first + column(t.double()) * (self.last - self.first)

    def _integral(self, t: Tensor) -> Tensor:
        """∫β from 0 to t."""
        t = column(t.double())
        return self.first * t + (self.last - self.first) * t**2 / 2


@dataclass(frozen=True)
class VarianceExploding:
    """Noise is added to data that stay: σ(t) rises geometrically, `last` above the distances between data.

    s² = σ(t)² - σ(0)², the exact variance, so that t = 0 is clean data.  [Song 2021, eq. 9 and app. C]
    """

    first: float = 0.01
    last: float = 50.0

    def drift(self, t: Tensor) -> Tensor:
        return torch.zeros_like(self.noise(t))

    def diffusion(self, t: Tensor) -> Tensor:
        return self.first * (self._rate * column(t.double())).exp() * math.sqrt(2 * self._rate)

    def signal(self, t: Tensor) -> Tensor:
        return torch.ones_like(self.noise(t))

    def noise(self, t: Tensor) -> Tensor:
        return self.first * torch.expm1(2 * self._rate * column(t.double())).sqrt()

    def fraction(self, t: Tensor) -> Tensor:
        return t.double()

    @property
    def _rate(self) -> float:
        return math.log(self.last / self.first)


def score(predict: Predict, x: Tensor, t: Tensor, process: Process) -> Tensor:
    """∇ log p_t(x) = (a x̂_0 - x) / s²: where an exact prediction says density rises.  [Robbins 1956; Efron 2011]"""
    a, s = process.signal(t).to(x), process.noise(t).to(x)
    return (a * predict(x, t) - x) / s**2


def reverse_sde(
    predict: Predict, x: Tensor, times: Sequence[float], sde: Sde, rng: Rng, corrections: int = 0, snr: float = 0.16
) -> Iterator[Tensor]:
    """Walk x down the given times, the last of them 0, by Euler and Maruyama's method; no noise in the last step.

    corrections: steps of Langevin's method after each of these, one evaluation apiece; snr: how small they are.
    [Song 2021, eq. 6; alg. 2-5; app. G]
    """
    for t, r in pairwise(as_times(times, sde, x)):
        t, r, step = t.expand(len(x)), r.expand(len(x)), (t - r).to(x)
        f, g = sde.drift(t).to(x), sde.diffusion(t).to(x)
        x = x - (f * x - g**2 * score(predict, x, t, sde)) * step
        if r[0] > 0:
            x = x + g * step.sqrt() * normal_like(x, rng)
            for _ in range(corrections):
                x = _corrected(predict, x, r, sde, rng, snr)
        yield x


def _corrected(predict: Predict, x: Tensor, t: Tensor, sde: Sde, rng: Rng, snr: float) -> Tensor:
    """One step of Langevin's method towards p_t: Song's length with s for |z| / |score|, which few numbers upset."""
    length = 2 * (snr * sde.noise(t).to(x)) ** 2
    return x + length * score(predict, x, t, sde) + (2 * length).sqrt() * normal_like(x, rng)
