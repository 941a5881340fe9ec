"""The exact log-density of data under a diffusion model, by the change of variables along its probability flow.

The flow leads data to noise without chance, so log p(x) is that of the noise, plus what the way there stretches.
[Song 2021, sec. 4.3 and app. D.2; Chen 2018, eq. 8]  As in sampler.py all runs on the straight path y = x / (a + s),
τ = s / (a + s), where every process is the same one: dy/dτ = (y - x̂_0) / τ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .process import Predict, Process, Rng, Schedule, as_times, normal_like
from .sampler import straight_velocity


def log_likelihood(predict: Predict, x: Tensor, times: Sequence[float], process: Process, probes: Tensor) -> Tensor:
    """log p(x) in nats, (B,) float64, of clean data x (B, C, H, W) that are standardised; not in inference mode.

    times: rising from 0 to the end, two evaluations a step, one in the first. probes: of the trace, see `rademacher`
    and `every_direction`. At the end the noise is taken for N(0, (a² + s²) I).
    """
    y, stretch = transport(predict, x, times, process, probes)
    last, size = _tau(as_times(times, process, x)[-1], process), x[0].numel()
    variance = (1 - last) ** 2 + last**2
    return stretch - y.double().square().sum((1, 2, 3)) / (2 * variance) - size / 2 * math.log(2 * math.pi * variance)


def transport(
    predict: Predict, y: Tensor, times: Sequence[float], process: Process, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """y (B, C, H, W) of the straight path, led along the times, rising or falling, by Heun's method.

    Returns y at the last time, and (B,) float64 the log-determinant of the way: log p before = log p after + it.
    """
    stretch = y.new_zeros(len(y), dtype=torch.float64)
    for t, r in pairwise(as_times(times, process, y)):
        step = _tau(r, process) - _tau(t, process)
        here, trace_here = _flow(predict, y, t, process, probes)
        there, trace_there = _flow(predict, y + step * here, r, process, probes)
        y = y + step * (here + there) / 2
        stretch = stretch + step * (trace_here + trace_there) / 2
    return y, stretch


def rademacher(x: Tensor, n: int, rng: Rng) -> Tensor:
    """n probes of ±1 for x, (n, *x.shape): the mean of vᵀ J v is the trace of J on average.  [Hutchinson 1989]"""
    return torch.stack([torch.where(normal_like(x, rng) < 0, -1.0, 1.0).to(x) for _ in range(n)])


def every_direction(x: Tensor) -> Tensor:
    """A probe for each of the D numbers of an image, (D, *x.shape): with them the trace is exact. For few numbers."""
    size = x[0].numel()
    axes = math.sqrt(size) * torch.eye(size).to(x)
    return axes.reshape(size, 1, *x.shape[1:]).expand(size, *x.shape)


def rising_times(process: Process, steps: int, first: float = 0.01) -> list[float]:
    """0, `first`, and to the end in so many equal steps: of a network's data it is the density at `first` that counts.

    Of a Schedule: whole numbers from step 1 on, no more than it has, closer together near 0, where s(t) goes as √t.
    """
    shares = [i / steps for i in range(steps + 1)]
    if isinstance(process, Schedule):
        return [0, *sorted({max(1, round(process.T * share**2)) for share in shares})]
    return [0.0, *(first + (1 - first) * share for share in shares)]


def _flow(predict: Predict, y: Tensor, t: Tensor, process: Process, probes: Tensor) -> tuple[Tensor, Tensor]:
    """dy/dτ at one time, and (B,) float64 the trace of its derivative by y; at 0 it is -y."""
    if t == 0:
        return -y, torch.full((len(y),), -float(y[0].numel()), dtype=torch.float64, device=y.device)
    t = t.expand(len(y))
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        x = (process.signal(t) + process.noise(t)).to(y) * y
        velocity = straight_velocity(predict(x, t), x, t, process)
        pulled = [torch.autograd.grad(velocity, y, probe, retain_graph=True)[0] for probe in probes]
    traces = [(probe * pull).double().sum((1, 2, 3)) for probe, pull in zip(probes, pulled, strict=True)]
    return velocity.detach(), torch.stack(traces).mean(0)


def _tau(t: Tensor, process: Process) -> float:
    """τ at one time."""
    return float(process.noise(t) / (process.signal(t) + process.noise(t)))
