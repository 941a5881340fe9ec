"""The kinds of diffusion a model can be trained for, and the samplers that go with them, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.objective import Objective, PredictNoise, PredictVelocity
from ..diffusion.process import Flow, Predict, Process, Rng, Schedule, linear_schedule
from ..diffusion.sampler import adams, ancestral, flow_times, heun, quadratic_times, sample
from ..errors import ConfigError


@dataclass(frozen=True)
class Chain:
    """A process, what the network predicts in it, and the sampler that suits both."""

    name: str
    process: Process
    objective: Objective
    sampler: str

    def time(self, fraction: float) -> Tensor:
        """(1,) the time at a fraction 0…1 of the way to pure noise."""
        if isinstance(self.process, Schedule):
            return torch.tensor([round(fraction * self.process.T)])
        return torch.tensor([fraction], dtype=torch.float64)


CHAINS = {
    "flow": Chain("flow", Flow(), PredictVelocity(), "adams"),
    "ddpm": Chain("ddpm", linear_schedule(1000), PredictNoise(), "ddim"),
}

FEW = 4
"""Up to so many steps, a model with few-step weights uses them."""

SHORTCUT = "shortcut"

Walk = Callable[[Predict, Tensor, int, Process, Rng], Iterator[Tensor]]


def _times(process: Process, steps: int) -> list[float] | list[int]:
    if not isinstance(process, Schedule):
        return flow_times(steps)
    if steps > process.T:
        raise ConfigError(f"steps {steps}: this model's chain has {process.T} steps.")
    return quadratic_times(process, steps)


SAMPLERS: dict[str, Walk] = {
    "heun": lambda predict, x, steps, process, rng: heun(predict, x, _times(process, steps), process),
    "adams": lambda predict, x, steps, process, rng: adams(predict, x, _times(process, steps), process),
    "ddim": lambda predict, x, steps, process, rng: sample(predict, x, _times(process, steps), process, rng),
    "ddpm": lambda predict, x, steps, process, rng: sample(predict, x, _times(process, steps), process, rng, ancestral),
}
SAMPLERS["euler"] = SAMPLERS[SHORTCUT] = SAMPLERS["ddim"]  # for the Flow, DDIM is Euler's method


def sampler_named(name: str) -> Walk:
    """The sampler of this name. Raises ConfigError listing the known names."""
    if name not in SAMPLERS:
        raise ConfigError(f"sampler '{name}' is not known. Known: {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]
