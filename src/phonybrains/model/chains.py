"""The kinds of diffusion a model can be trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.objective import Objective, PredictNoise, PredictVelocity
from ..diffusion.process import Flow, Schedule, linear_schedule
from ..diffusion.sampler import quadratic_times
from ..diffusion.times import flow_times
from ..errors import ConfigError
from .sampling import GAN


@dataclass(frozen=True)
class Chain:
    """A process, what the network predicts in it, and the sampler that suits both.

    shift: how much finer than near data the steps of the flow's sampling are near noise, 1 for equal ones.
    """

    name: str
    process: Flow | Schedule
    objective: Objective
    sampler: str
    shift: float = 1.0

    def times(self, steps: int) -> Sequence[float]:
        """The `steps` + 1 times that sampling passes. Raises ConfigError for more steps than the process has."""
        if isinstance(self.process, Flow):
            return flow_times(steps, self.shift)
        if steps > self.process.T:
            raise ConfigError(f"steps {steps}: this model's chain has {self.process.T} steps.")
        return quadratic_times(self.process, steps)

    def time(self, fraction: float) -> Tensor:
        """(1,) the time at a fraction 0…1 of the way to pure noise."""
        if isinstance(self.process, Schedule):
            return torch.tensor([round(fraction * self.process.T)])
        return torch.tensor([fraction], dtype=torch.float64)


CHAINS = {
    "flow": Chain("flow", Flow(), PredictVelocity(), "adams", shift=4.0),
    "ddpm": Chain("ddpm", linear_schedule(1000), PredictNoise(), "ddim"),
    GAN: Chain(GAN, Flow(), PredictVelocity(), "euler"),
}
"""A GAN's generator is the network of a flow that knows t = 1 alone, and one step leads from there to an image."""
