"""Shortcuts: a network that is told how far to jump learns the jumps along the sampling paths of the flow.

Its output is the mean velocity between two points of a path, so a jump is one step of Euler's method, and one network
serves every number of steps that it has learnt.  [Frans 2025, shortcut models; Boffi 2024, flow map matching]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .process import Flow, Predict
from .sampler import adams
from .times import flow_times


def jump_times(counts: Sequence[int], shift: float = 1.0) -> tuple[Tensor, Tensor]:
    """Where the jumps of sampling in each of these numbers of steps begin and end: t and r < t, (Σ counts,) each."""
    pairs = [pair for n in counts for pair in pairwise(flow_times(n, shift))]
    t, r = torch.tensor(pairs, dtype=torch.float64).T
    return t, r


@torch.no_grad()
def path_points(teacher: Predict, noise: Tensor, times: Sequence[float]) -> Tensor:
    """(len(times), B, C, H, W): the path from noise (t = 1) to its clean end (t = 0), at these times."""
    return torch.stack([noise, *adams(teacher, noise, times, Flow())])


def jumps(points: Tensor, times: Sequence[float], t: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Where each jump begins and its mean velocity (x_t - x_r) / (t - r), each (B · jumps, C, H, W), path by path.

    points: as path_points gives them at `times`, with every t and r among these.
    """
    grid = torch.tensor(times, dtype=t.dtype, device=t.device)
    begin, end = ((grid - time[:, None]).abs().argmin(dim=1) for time in (t, r))
    x_t, x_r = points[begin].transpose(0, 1), points[end].transpose(0, 1)
    velocity = (x_t - x_r) / (t - r).to(points).reshape(1, -1, 1, 1, 1)
    return x_t.flatten(0, 1), velocity.flatten(0, 1)


def pseudo_huber(found: Tensor, target: Tensor, c: float = 0.03) -> Tensor:
    """√(d² + c²) - c with d² the mean squared difference of each image, (B,), in float32.  [Song 2024, eq. 8]"""
    square = (found.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (square + c**2).sqrt() - c
