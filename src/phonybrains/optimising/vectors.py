"""Training a diffusion over vectors: a task for the loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from ..diffusion.objective import denoising_loss, draw_steps, draw_times
from ..diffusion.process import Schedule, q_sample
from ..model.vectors import VectorDiffusion

MOST = 4096
"""Pairs of vector, time and noise that a validation looks at."""


@dataclass
class VectorTask:
    """A vector diffusion on pairs of vectors (N, D) and conditions (N, K): train, and validation (the same if none).

    The units of both are settled here, from the training pairs. Give it to `fit`, or to `Run.follow`.
    """

    model: VectorDiffusion
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None = None
    batch_size: int = 128
    device: torch.device | None = None
    name: str = "vectors"

    def __post_init__(self) -> None:
        self.network: nn.Module = self.model.network.to(self.device)
        self.model.network.standardise(*self.train)
        self.learnt, self.held = (self._in_units(*pairs) for pairs in (self.train, self.validation or self.train))

    def _in_units(self, values: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        dim, centre, spread = self.model.network.dim, self.model.network.centre, self.model.network.spread
        return (values.to(centre) - centre[:dim]) / spread[:dim], conditions.to(centre)

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        rows = torch.randint(len(self.learnt[0]), (self.batch_size,), generator=rng)
        return self._errors(network, self.learnt, rows, rng)[share].mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> float:
        """Loss on validation pairs, at the same times and with the same noise every time."""
        n = len(self.held[0])
        rows = torch.arange(max(1, min(MOST // n, 64)) * n)[:: max(1, n // MOST)] % n
        return self._errors(network, self.held, rows, Generator().manual_seed(0)).mean().item()

    def _errors(self, network: nn.Module, pairs: tuple[Tensor, Tensor], rows: Tensor, rng: Generator) -> Tensor:
        """The loss of each of these pairs, (B,)."""
        process, n, (values, conditions) = self.model.chain.process, len(rows), pairs
        rows, x_0 = rows.to(values.device), values[rows.to(values.device), :, None, None]
        t = draw_steps(n, process.T, rng) if isinstance(process, Schedule) else draw_times(n, rng)
        t, noise = t.to(x_0.device), torch.randn(x_0.shape, generator=rng).to(x_0)
        output = network(q_sample(x_0, t, process, noise), process.fraction(t), conditions[rows])
        return denoising_loss(output, x_0, noise, t, self.model.chain.objective, process)
