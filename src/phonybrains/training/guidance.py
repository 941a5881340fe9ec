"""Guidance built into the denoiser: it learns what it would predict if pushed away from a worse prediction."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from .denoiser import DenoiserTask


@dataclass
class GuidanceTask(DenoiserTask):
    """The denoiser learns its own guided predictions, so that sampling needs one network and no more time.

    worse: the network it is pushed away from (autoguidance), told as much; None for itself, told no conditions and no
    mask (classifier-free).
    strength: 1 changes nothing.  [Karras 2024, eq. 3; Meng 2023, sec. 3.1]
    """

    worse: nn.Module | None = None
    strength: float = 1.0
    name: str = "guidance"
    teacher: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.teacher = copy.deepcopy(self.network).eval().requires_grad_(False)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # targets are exact

    def errors(
        self,
        network: nn.Module,
        x_0: Tensor,
        t: Tensor,
        condition: Tensor,
        augmentation: Tensor,
        rng: Generator,
        *mask: Tensor,
    ) -> Tensor:
        """The squared distance to the guided prediction, (B,)."""
        x_t, time = self.noisy(x_0, t, rng)[1], self.chain.process.fraction(t)
        beside = (augmentation, *mask)
        with torch.no_grad():
            good = self.teacher(x_t, time, condition, *beside).float()
            if self.worse is None:
                hidden = (torch.zeros_like(one) for one in mask)
                null = self.corpus.conditions.null(len(x_t)).to(condition)
                worse = self.teacher(x_t, time, null, augmentation, *hidden)
            else:
                worse = self.worse(x_t, time, condition, *beside)
            target = worse.float() + self.strength * (good - worse.float())
        return (network(x_t, time, condition, *beside).float() - target).square().mean(dim=(1, 2, 3))
