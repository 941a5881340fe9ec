"""Classifier guidance: lead predictions to what a classifier of noisy data takes for what is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .process import Predict, Process

LogDensity = Callable[[Tensor, Tensor], Tensor]
"""log_density(x_t, t): log p(c | x_t), (B,), but for what does not depend on x_t; or that of a density ratio."""
LEAST_SIGNAL = 1e-3
"""Where a is less, as at the Flow's t = 1, x_t tells nothing: it is looked at as if the signal's share were this."""


def lead(
    predict: Predict, log_density: LogDensity, scale: float, process: Process, ancestral: Sequence[float] = ()
) -> Predict:
    """x̂_0 + scale · (s² / a) ∇ log p(c | x_t), by which ε̂ becomes ε̂ - scale · s ∇ log p.  [Dhariwal 2021, alg. 2]

    With an exact classifier and scale 1 it is E[x_0 | x_t, c], by Tweedie's formula, whatever the sampler.
    ancestral: the times that an ancestral sampler passes: s² / a is then that of the time stepped to, which shifts the
    mean of the step by scale · Σ ∇ log p, Σ being the variance of q(x_r | x_t, x_0).  [Dhariwal 2021, alg. 1]
    """
    later = dict(pairwise(ancestral))

    def led(x_t: Tensor, t: Tensor) -> Tensor:
        r = t.new_tensor([later[one] for one in t.tolist()]) if later else t
        weight = scale * process.noise(r) ** 2 / process.signal(r).clamp(min=LEAST_SIGNAL)
        with torch.inference_mode(False), torch.enable_grad():
            x, seen = x_t.detach().clone().requires_grad_(), t.clone()
            seen = seen.clamp(max=1 - LEAST_SIGNAL) if seen.is_floating_point() else seen
            (slope,) = torch.autograd.grad(log_density(x, seen).sum(), x)
        return predict(x_t, t) + weight.to(x_t) * slope

    return led
