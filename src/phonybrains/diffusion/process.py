"""The forward process q and the reverse process p (the paper's equations 1-3 and Fig. 1), and rectified flow.

x: (B, C, H, W). t: (B,), integers 1…T for a Schedule, real numbers in (0, 1] for all others; t = 0 is clean data.
Coefficients are float64 and cast last: 1 - alpha_bar cancels in float32.
Both processes draw x_t = a(t) x_0 + s(t) ε with ε ~ N(0, I); a is the signal's share, s the noise's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

Rng = Generator | Sequence[Generator]
"""One generator for the batch, or one for each image: then an image does not depend on its neighbours."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""predict(x_t, t) is the clean image a network expects behind x_t: E[x_0 | x_t]."""


class Process(Protocol):
    """How noise is mixed in: signal and noise shares a(t), s(t) as float64, and t as a fraction of its end."""

    def signal(self, t: Tensor) -> Tensor: ...
    def noise(self, t: Tensor) -> Tensor: ...
    def fraction(self, t: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Schedule:
    """The discrete chain of DDPM: beta and alpha_bar = ∏(1 - beta), (T + 1,) float64, both with t = 0 in front."""

    beta: Tensor
    alpha_bar: Tensor

    @classmethod
    def from_beta(cls, beta: Tensor) -> Schedule:
        """Build from beta_1 … beta_T, each in (0, 1)."""
        beta = torch.cat([torch.zeros(1, dtype=torch.float64), beta.double()])
        return cls(beta, torch.cumprod(1 - beta, 0))

    @property
    def T(self) -> int:
        return len(self.beta) - 1

    def signal(self, t: Tensor) -> Tensor:
        return at(self.alpha_bar, t).sqrt()

    def noise(self, t: Tensor) -> Tensor:
        return (1 - at(self.alpha_bar, t)).sqrt()

    def fraction(self, t: Tensor) -> Tensor:
        return t.double() / self.T


@dataclass(frozen=True)
class Flow:
    """Rectified flow: the straight path x_t = (1 - t) x_0 + t ε, t in 0…1.  [Liu 2023, eq. 1; Lipman 2023]"""

    def signal(self, t: Tensor) -> Tensor:
        return 1 - column(t.double())

    def noise(self, t: Tensor) -> Tensor:
        return column(t.double())

    def fraction(self, t: Tensor) -> Tensor:
        return t.double()


def linear_schedule(T: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """beta rising linearly from `first` to `last`, scaled by 1000/T so that any T ends in noise.  [Ho 2020, sec. 4]"""
    return Schedule.from_beta((1000 / T * torch.linspace(first, last, T, dtype=torch.float64)).clamp(max=0.999))


def cosine_schedule(T: int = 1000, offset: float = 0.008) -> Schedule:
    """alpha_bar falling as a squared cosine.  [Nichol 2021, eq. 17]"""
    angle = (torch.arange(T + 1, dtype=torch.float64) / T + offset) / (1 + offset) * math.pi / 2
    alpha_bar = angle.cos() ** 2
    return Schedule.from_beta((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999))


def q_step(x_prev: Tensor, t: Tensor, s: Schedule, rng: Rng) -> Tensor:
    """Draw x_t ~ q(x_t|x_{t-1}) = N(√(1-β_t) x_{t-1}, β_t I).  [Ho 2020, eq. 2; the paper's eq. 1]"""
    beta = at(s.beta, t)
    return (1 - beta).sqrt().to(x_prev) * x_prev + beta.sqrt().to(x_prev) * normal_like(x_prev, rng)


def q_sample(x_0: Tensor, t: Tensor, process: Process, noise: Tensor) -> Tensor:
    """x_t ~ q(x_t|x_0) in closed form: a(t) x_0 + s(t) ε, given ε.  [Ho 2020, eq. 4]"""
    return process.signal(t).to(x_0) * x_0 + process.noise(t).to(x_0) * noise


def q_posterior(x_t: Tensor, x_0: Tensor, t: Tensor, s: Schedule) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_{t-1}|x_t, x_0).  [Ho 2020, eq. 6-7]"""
    beta, a, a_prev = at(s.beta, t), at(s.alpha_bar, t), at(s.alpha_bar, t - 1)
    from_x0 = a_prev.sqrt() * beta / (1 - a)
    from_xt = (1 - beta).sqrt() * (1 - a_prev) / (1 - a)
    variance = (1 - a_prev) / (1 - a) * beta
    return from_x0.to(x_t) * x_0 + from_xt.to(x_t) * x_t, variance.to(x_t)


def p_step(x_t: Tensor, t: Tensor, s: Schedule, predict: Predict, rng: Rng) -> Tensor:
    """Draw x_{t-1} ~ p(x_{t-1}|x_t).  At t = 1, ᾱ_0 = 1 makes the variance 0.  [the paper's eq. 2-3]"""
    mean, variance = q_posterior(x_t, predict(x_t, t), t, s)
    return mean + variance.sqrt() * normal_like(x_t, rng)


def normal_like(x: Tensor, rng: Rng) -> Tensor:
    """Standard normal noise of x's shape, type and device, from one generator or from one for each image."""
    if isinstance(rng, Generator):
        return torch.randn(x.shape, generator=rng, dtype=x.dtype, device=rng.device).to(x)
    if len(rng) != len(x):
        raise ValueError(f"{len(rng)} generators for {len(x)} images")
    return torch.stack([torch.randn(x.shape[1:], generator=g, dtype=x.dtype, device=g.device) for g in rng]).to(x)


def as_times(times: Sequence[float], process: Process, x: Tensor) -> Tensor:
    """Times as a process counts them, on x's device: whole numbers of a Schedule, real ones of every other."""
    return torch.tensor(times, dtype=torch.long if isinstance(process, Schedule) else torch.float64, device=x.device)


def at(values: Tensor, t: Tensor) -> Tensor:
    """values[t] as a (B, 1, 1, 1) column, on t's device."""
    return column(values.to(t.device)[t])


def column(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to multiply images with."""
    return values.reshape(-1, 1, 1, 1)
