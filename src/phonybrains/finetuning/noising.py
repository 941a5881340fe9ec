"""What each family learns: which noise goes onto the latents, and what the network is to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from ..errors import ConfigError


class Noising(Protocol):
    """times: indices of n times (n,). noised: the noisy latents, what the network takes for time, and its target."""

    def times(self, n: int, rng: Generator) -> Tensor: ...
    def noised(self, x_0: Tensor, noise: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


@dataclass(frozen=True)
class DiffusionNoising:
    """Noise or velocity prediction, as the scheduler's configuration says, at even times.  [Ho 2020; Salimans 2022]"""

    scheduler: Any

    def times(self, n: int, rng: Generator) -> Tensor:
        return torch.randint(self.scheduler.config.num_train_timesteps, (n,), generator=rng)

    def noised(self, x_0: Tensor, noise: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        velocity = self.scheduler.config.prediction_type == "v_prediction"
        target = self.scheduler.get_velocity(x_0, noise, index) if velocity else noise
        return self.scheduler.add_noise(x_0, noise, index), index, target


@dataclass(frozen=True)
class FlowNoising:
    """Rectified flow with logit-normal times, shifted as the scheduler's configuration says.  [Esser 2024, sec. 3.1]"""

    scheduler: Any

    def times(self, n: int, rng: Generator) -> Tensor:
        return (torch.randn(n, generator=rng).sigmoid() * len(self.scheduler.sigmas)).long()

    def noised(self, x_0: Tensor, noise: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigma = self.scheduler.sigmas.to(x_0)[index, None, None, None]
        return (1 - sigma) * x_0 + sigma * noise, self.scheduler.timesteps.to(x_0)[index], noise - x_0


def noising_of(pipeline: Any) -> Noising:
    """The noising that a checkpoint was trained with. Raises ConfigError for one that is not known here."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    config = pipeline.scheduler.config
    if hasattr(pipeline, "transformer"):
        return FlowNoising(FlowMatchEulerDiscreteScheduler.from_config(config))
    scheduler = DDPMScheduler.from_config(config)
    kind = scheduler.config.prediction_type  # pyright: ignore[reportAttributeAccessIssue]
    if kind not in ("epsilon", "v_prediction"):
        raise ConfigError(f"the base predicts '{kind}'. Known: epsilon, v_prediction, the flow of Stable Diffusion 3.")
    return DiffusionNoising(scheduler)
