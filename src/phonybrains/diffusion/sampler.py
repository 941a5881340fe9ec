"""From noise to an image: one formula for ancestral, DDIM and few-step sampling, and Heun's method for the flow.

A sampler is a generator: it yields x after every step, so that the caller can show progress, keep a film strip or stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from .process import Predict, Process, Rng, Schedule, as_times, column, normal_like

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


def sample(
    predict: Predict, x: Tensor, times: Sequence[float], process: Process, rng: Rng, fresh: FreshNoise = deterministic
) -> Iterator[Tensor]:
    """Walk x down the given times, the last of them 0, with one evaluation a step."""
    for t, r in _pairs(x, times, process):
        x = step(x, predict(x, t), t, r, process, fresh, rng)
        yield x


def heun(predict: Predict, x: Tensor, times: Sequence[float], process: Process) -> Iterator[Tensor]:
    """Walk x down the given times by Heun's second-order method: two evaluations a step, one in the last."""
    for t, r in _pairs(x, times, process):
        x = heun_step(predict, x, t, r, process)
        yield x


def heun_step(predict: Predict, x: Tensor, t: Tensor, r: Tensor, process: Process) -> Tensor:
    """One step of Heun's method from t to r, (B,) each; where r is 0, of Euler's.  [Karras 2022, alg. 1]"""
    velocity = straight_velocity(predict(x, t), x, t, process)
    ahead = move(x, velocity, t, r, process)
    if not bool((r > 0).any()):
        return ahead
    later = r.clamp(min=torch.finfo(r.dtype).tiny if r.is_floating_point() else 1)
    velocity_ahead = straight_velocity(predict(ahead, later), ahead, later, process)
    mean = torch.where(column(r) > 0, (velocity + velocity_ahead) / 2, velocity)
    return move(x, mean, t, r, process)


def adams(predict: Predict, x: Tensor, times: Sequence[float], process: Process) -> Iterator[Tensor]:
    """Walk x down the given times by the second-order Adams-Bashforth method: one evaluation a step.

    The velocity halfway is guessed from those here and one step back.  [Zhang 2023, DEIS; Liu 2022, PNDM]
    """
    before: tuple[Tensor, Tensor] | None = None
    for t, r in _pairs(x, times, process):
        velocity = straight_velocity(predict(x, t), x, t, process)
        tau_t, tau_r = _tau(t, process), _tau(r, process)
        halfway = velocity
        if before:
            tau_before, velocity_before = before
            share = (tau_t - tau_r) / (2 * (tau_before - tau_t))
            halfway = velocity + share.to(x) * (velocity - velocity_before)
        before = tau_t, velocity
        x = move(x, halfway, t, r, process)
        yield x


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
    grid = as_times(times, process, x)
    if len(grid) < 2 or grid[-1] != 0 or bool((grid.diff() >= 0).any()):
        raise ValueError("times must fall strictly and end in 0")
    for t, r in pairwise(grid):
        yield t.expand(len(x)), r.expand(len(x))


def straight_velocity(x_0: Tensor, x_t: Tensor, t: Tensor, process: Process) -> Tensor:
    """(x_t / (a + s) - x_0) / τ: any process runs along a straight path when x is divided by a + s; τ = s / (a + s)."""
    return (x_t / _span(t, process).to(x_t) - x_0) / _tau(t, process).to(x_t)


def move(x_t: Tensor, velocity: Tensor, t: Tensor, r: Tensor, process: Process) -> Tensor:
    """x_r, from x_t along a velocity of the straight path."""
    ahead = x_t / _span(t, process).to(x_t) + (_tau(r, process) - _tau(t, process)).to(x_t) * velocity
    return ahead * _span(r, process).to(x_t)


def _span(t: Tensor, process: Process) -> Tensor:
    return process.signal(t) + process.noise(t)


def _tau(t: Tensor, process: Process) -> Tensor:
    return process.noise(t) / _span(t, process)


Walk = Callable[[Predict, Tensor, Sequence[float], Process, Rng], Iterator[Tensor]]

SAMPLERS: dict[str, Walk] = {
    "heun": lambda predict, x, times, process, rng: heun(predict, x, times, process),
    "adams": lambda predict, x, times, process, rng: adams(predict, x, times, process),
    "ddim": sample,
    "ddpm": partial(sample, fresh=ancestral),
    "euler": sample,  # for the Flow, DDIM is Euler's method
    "shortcut": sample,  # of few-step weights
}
"""A new one is named in model/sampling.py too, which does without torch."""
