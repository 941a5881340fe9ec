"""What a network is trained to predict, and how its output is read as clean data.

With x_t = a x_0 + s ε (process.py), knowing x_t and any one of ε, v or the flow's velocity gives x_0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from .process import Process, Schedule


class Objective(Protocol):
    """A training target and its inverse."""

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor, process: Process) -> Tensor: ...
    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Tensor: ...


@dataclass(frozen=True)
class PredictNoise:
    """ε, the paper's choice.  [Ho 2020, eq. 14]"""

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor, process: Process) -> Tensor:
        return noise

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Tensor:
        return (x_t - process.noise(t).to(x_t) * output) / process.signal(t).to(x_t)


@dataclass(frozen=True)
class PredictV:
    """v = a ε - s x_0; where a² + s² is not 1, as in the Flow, its inverse divides by it.  [Salimans 2022, app. D]"""

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor, process: Process) -> Tensor:
        return process.signal(t).to(x_0) * noise - process.noise(t).to(x_0) * x_0

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Tensor:
        a, s = process.signal(t), process.noise(t)
        return (a.to(x_t) * x_t - s.to(x_t) * output) / (a**2 + s**2).to(x_t)


@dataclass(frozen=True)
class PredictVelocity:
    """ε - x_0, the direction of the straight path from data to noise.  [Liu 2023, eq. 1]"""

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor, process: Process) -> Tensor:
        return noise - x_0

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Tensor:
        a, s = process.signal(t), process.noise(t)
        return (x_t - s.to(x_t) * output) / (a + s).to(x_t)


def denoising_loss(
    output: Tensor,
    x_0: Tensor,
    noise: Tensor,
    t: Tensor,
    objective: Objective,
    process: Process,
    weights: Tensor | float = 1.0,
) -> Tensor:
    """Squared error of each image's output against its target, (B,), in float32.  [Ho 2020, eq. 14]

    weights: of places, (B, 1, h, w), or one for all.
    """
    target = objective.target(x_0, noise, t, process)
    return (weights * (output.float() - target.float()).square()).mean(dim=(1, 2, 3))


def draw_steps(n: int, T: int, rng: Generator) -> Tensor:
    """(n,) integers, uniform in 1…T.  [Ho 2020, alg. 1]"""
    return torch.randint(1, T + 1, (n,), generator=rng, device=rng.device)


def steps_at(tau: Tensor, s: Schedule) -> Tensor:
    """The steps 1…T of a chain at which the noise has these shares τ = s / (a + s), such as times of the Flow."""
    steps = torch.arange(s.T + 1)
    noise, signal = s.noise(steps).flatten(), s.signal(steps).flatten()
    return torch.searchsorted((noise / (signal + noise)).to(tau.device), tau.double()).clamp(1, s.T)


def draw_times(n: int, rng: Generator, uniform_share: float = 0.2) -> Tensor:
    """(n,) times in (0, 1): logit-normal, which favours the middle, with a uniform share.  [Esser 2024, sec. 3.1]"""
    middle = torch.sigmoid(torch.randn(n, generator=rng, device=rng.device))
    flat = torch.rand(n, generator=rng, device=rng.device)
    pick = torch.rand(n, generator=rng, device=rng.device) < uniform_share
    return torch.where(pick, flat, middle).clamp(1e-4, 1 - 1e-4)
