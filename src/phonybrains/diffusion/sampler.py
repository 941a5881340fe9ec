"""From noise to an image: one formula for ancestral, DDIM and few-step sampling, and Heun's method for the flow.

A sampler is a generator: it yields x after every step, so that the caller can show progress, keep a film strip or stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .process import Flow, Predict, Process, Rng, Schedule, normal_like

FreshNoise = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""fresh(a_t, s_t, a_r, s_r): how much of the noise left at r < t is drawn anew, 0 … s_r."""


def deterministic(a_t: Tensor, s_t: Tensor, a_r: Tensor, s_r: Tensor) -> Tensor:
    """None: DDIM, which for the Flow is Euler's method.  [Song 2021, eq. 12 with σ = 0]"""
    return torch.zeros_like(s_r)


def ancestral(a_t: Tensor, s_t: Tensor, a_r: Tensor, s_r: Tensor) -> Tensor:
    """The standard deviation of q(x_r|x_t, x_0): DDPM's chain, whole or with steps left out.  [Song 2021, eq. 16]"""
    return s_r / s_t * (s_t**2 - (a_t / a_r * s_r) ** 2).clamp(min=0).sqrt()


def renewed(a_t: Tensor, s_t: Tensor, a_r: Tensor, s_r: Tensor) -> Tensor:
    """All of it: multistep consistency sampling.  [Song 2023, alg. 1]"""
    return s_r


def step(x_t: Tensor, x_0: Tensor, t: Tensor, r: Tensor, process: Process, fresh: FreshNoise, rng: Rng) -> Tensor:
    """x_r = a_r x_0 + √(s_r² - σ²) ε̂ + σ z, with ε̂ the noise that x_t and x_0 imply.  [Song 2021, eq. 12]"""
    a_t, s_t, a_r, s_r = process.signal(t), process.noise(t), process.signal(r), process.noise(r)
    sigma = fresh(a_t, s_t, a_r, s_r)
    kept = (s_r**2 - sigma**2).clamp(min=0).sqrt() / s_t
    x_r = (a_r - kept * a_t).to(x_t) * x_0 + kept.to(x_t) * x_t
    return x_r + sigma.to(x_t) * normal_like(x_t, rng) if bool((sigma > 0).any()) else x_r


def sample(predict: Predict, x: Tensor, times: Sequence[float], process: Process, rng: Rng,
           fresh: FreshNoise = deterministic) -> Iterator[Tensor]:  # fmt: skip
    """Walk x down the given times, the last of them 0, with one evaluation a step."""
    for t, r in _pairs(x, times, process):
        x = step(x, predict(x, t), t, r, process, fresh, rng)
        yield x


def heun(predict: Predict, x: Tensor, times: Sequence[float], process: Process) -> Iterator[Tensor]:
    """Walk x down the given times by Heun's second-order method: two evaluations a step, one in the last.

    Any process becomes the straight path when x is divided by a + s; τ = s / (a + s).  [Karras 2022, alg. 1]
    """
    for t, r in _pairs(x, times, process):
        scale_t, scale_r = _span(t, process), _span(r, process)
        tau_t, tau_r = process.noise(t) / scale_t, process.noise(r) / scale_r
        u = x / scale_t.to(x)
        velocity = (u - predict(x, t)) / tau_t.to(x)
        ahead = u + (tau_r - tau_t).to(x) * velocity
        if bool((tau_r > 0).all()):
            velocity_ahead = (ahead - predict(ahead * scale_r.to(x), r)) / tau_r.to(x)
            ahead = u + (tau_r - tau_t).to(x) * (velocity + velocity_ahead) / 2
        x = ahead * scale_r.to(x)
        yield x


def flow_times(steps: int) -> list[float]:
    """1 … 0 in equal steps: `steps` + 1 numbers."""
    return [1 - i / steps for i in range(steps)] + [0.0]


def schedule_times(schedule: Schedule, steps: int) -> list[int]:
    """T … 0 in about equal steps: `steps` + 1 whole numbers."""
    return [round(schedule.T * (1 - i / steps)) for i in range(steps + 1)]


def quadratic_times(schedule: Schedule, steps: int) -> list[int]:
    """T … 0 as `steps` + 1 falling whole numbers, closer together near 0, where s(t) goes as √t.

    Equal steps end in one large one there, which costs Heun its second order.  [Song 2021, app. D.2]
    """
    squared = [round(schedule.T * (1 - i / steps) ** 2) for i in range(steps + 1)]
    return [max(t, steps - i) for i, t in enumerate(squared)]


def _pairs(x: Tensor, times: Sequence[float], process: Process) -> Iterator[tuple[Tensor, Tensor]]:
    dtype = torch.float64 if isinstance(process, Flow) else torch.long
    grid = torch.tensor(times, dtype=dtype, device=x.device)
    if len(grid) < 2 or grid[-1] != 0 or bool((grid.diff() >= 0).any()):
        raise ValueError("times must fall strictly and end in 0")
    for t, r in pairwise(grid):
        yield t.expand(len(x)), r.expand(len(x))


def _span(t: Tensor, process: Process) -> Tensor:
    return process.signal(t) + process.noise(t)
