"""The kinds of diffusion a model can be trained for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..diffusion.objective import Objective, PredictNoise, PredictV, PredictVelocity
from ..diffusion.process import Flow, Schedule, linear_schedule
from ..diffusion.sampler import quadratic_times, schedule_times
from ..diffusion.times import flow_times
from ..errors import ConfigError
from .sampling import GAN


@dataclass(frozen=True)
class Chain:
    """A process, what the network predicts in it, and the sampler that suits both.

    shift: how much finer than near data the steps of the flow's sampling are near noise, 1 for equal ones.
    clip: how many deviations from its mean a clean latent may be predicted at most.  [Ho 2020's code, clip_denoised]
    """

    name: str
    process: Flow | Schedule
    objective: Objective
    sampler: str
    shift: float = 1.0
    clip: float = math.inf

    def predicted(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that an output of the network stands for."""
        return self.objective.to_x0(output, x_t, t, self.process).clamp(-self.clip, self.clip)

    def times(self, steps: int, sampler: str = "") -> Sequence[float]:
        """The `steps` + 1 times that a sampler, or its own, passes: even ones by the chain, else closer near 0.

        Raises ConfigError for more steps than the process has.
        """
        if isinstance(self.process, Flow):
            return flow_times(steps, self.shift)
        if steps > self.process.T:
            raise ConfigError(f"steps {steps}: this model's chain has {self.process.T} steps.")
        return (schedule_times if (sampler or self.sampler) == "ddpm" else quadratic_times)(self.process, steps)

    def time(self, fraction: float) -> Tensor:
        """(1,) the time at a fraction 0…1 of the way to pure noise."""
        if isinstance(self.process, Schedule):
            return torch.tensor([round(fraction * self.process.T)])
        return torch.tensor([fraction], dtype=torch.float64)


CHAINS = {
    "flow": Chain("flow", Flow(), PredictVelocity(), "adams", shift=4.0),
    "ddpm": Chain("ddpm", linear_schedule(1000), PredictNoise(), "ddpm", clip=4.0),
    GAN: Chain(GAN, Flow(), PredictVelocity(), "euler"),
}
"""A GAN's generator is the network of a flow that knows t = 1 alone, and one step leads from there to an image."""
PREDICTIONS: dict[str, Objective] = {"epsilon": PredictNoise(), "v_prediction": PredictV()}
"""What diffusers calls the objectives of a chain of DDPM."""


def chain_to_learn(name: str, prediction: str = "noise") -> Chain:
    """The chain of a training; prediction: what the network of a DDPM is to predict, "noise" or "v"."""
    return replace(CHAINS[name], objective=PredictV()) if prediction == "v" else CHAINS[name]


def chain_of(name: str, scheduler: Mapping[str, Any]) -> Chain:
    """The chain of a model, as the configuration of its scheduler has it; the first models had no shift and no clip."""
    clip = float(scheduler["clip_sample_range"]) if scheduler.get("clip_sample") else math.inf
    objective = PREDICTIONS.get(scheduler.get("prediction_type", ""), CHAINS[name].objective)
    return replace(CHAINS[name], objective=objective, shift=scheduler.get("shift", 1.0), clip=clip)
