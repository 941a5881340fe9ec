"""Training the denoiser on cached latents: rectified flow, or the paper's noise prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from ..diffusion.objective import denoising_loss, draw_times, steps_at
from ..diffusion.process import Schedule, q_sample
from ..model.chains import Chain
from ..networks.condition_dropout import drop, hide
from .config import DenoiserConfig
from .corpus import Corpus
from .latents import Latents

SMALLEST = 0.01
"""Of an image: a mask that covers less has less weight, so that few places do not decide alone."""


def mask_weights(told: Tensor, share: float) -> Tensor:
    """Weights of places, (B, 1, h, w): `share` of them inside a mask as it is told, the rest everywhere.

    told: (B, MASK_CHANNELS, h, w). Their mean is 1, or less where a mask covers less than SMALLEST; all are 1 where
    none is told, or an empty one. They depend on nothing that the network is not told, so that what it learns to expect
    is the same.
    """
    inside = told[:, :-1].mean(dim=1, keepdim=True)
    area = inside.mean(dim=(1, 2, 3), keepdim=True)
    return 1 + share * (area > 0) * (inside / area.clamp(min=SMALLEST) - 1)


@dataclass
class DenoiserTask:
    """The denoiser on noisy latents; each image of a batch has its own version, time, noise and missing conditions."""

    network: nn.Module
    corpus: Corpus
    latents: Latents
    chain: Chain
    config: DenoiserConfig
    device: torch.device
    name: str = "denoiser"

    def __post_init__(self) -> None:
        self.values, self.parameters = self.latents.values.to(self.device), self.latents.parameters.to(self.device)
        self.encoded = self.corpus.encoded.to(self.device)
        self.embedded = None if self.latents.embedded is None else self.latents.embedded.to(self.device)
        self.masks = None if self.latents.masks is None else self.latents.masks.to(self.device)

    def mask(self, version: Tensor | int, rows: Tensor) -> tuple[Tensor, ...]:
        """What is told of the masks of these images, (B, MASK_CHANNELS, h, w), or nothing where none are."""
        return () if self.masks is None else (self.masks[version, rows].float(),)

    def condition(self, version: Tensor | int, rows: Tensor) -> Tensor:
        """All that these images show, (B, width), with their embeddings where these are told."""
        shown = self.encoded[rows]
        return shown if self.embedded is None else torch.cat([shown, self.embedded[version, rows]], dim=1)

    def times(self, n: int, rng: Generator) -> Tensor:
        """(n,) times of the same shares of noise for each process: steps of a chain drawn evenly are mostly noise."""
        process, times = self.chain.process, draw_times(n, rng)
        return steps_at(times, process) if isinstance(process, Schedule) else times

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        rows, version, t, local = self.examples(rng, share)
        x_0 = self.values[version, rows]
        condition = drop(self.condition(version, rows), self.corpus.conditions, local)
        mask = (hide(mask, local) for mask in self.mask(version, rows))
        return self.errors(network, x_0, t, condition, self.parameters[version, rows], local, *mask).mean()

    def examples(self, rng: Generator, share: slice) -> tuple[Tensor, Tensor, Tensor, Generator]:
        """This share of a batch: rows, versions and times, (B,) each, and the generator of all else."""
        size = self.config.loop.batch_size
        rows = self.corpus.train[torch.randint(len(self.corpus.train), (size,), generator=rng)][share].to(self.device)
        version = torch.randint(len(self.values), (size,), generator=rng)[share].to(self.device)
        t = self.times(size, rng)[share].to(self.device)
        local = Generator(self.device).manual_seed(int(torch.randint(2**62, (1,), generator=rng)) + (share.start or 0))
        return rows, version, t, local

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
        """The loss of each image, (B,)."""
        process, objective = self.chain.process, self.chain.objective
        noise, x_t = self.noisy(x_0, t, rng)
        output = network(x_t, process.fraction(t), condition, augmentation, *mask)
        share = self.config.mask_share
        weights = mask_weights(mask[0], share) if mask and share else 1.0
        return denoising_loss(output, x_0, noise, t, objective, process, weights)

    def noisy(self, x_0: Tensor, t: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """Noise, and x_0 covered by it as far as it is at t."""
        noise = torch.randn(x_0.shape, generator=rng, device=x_0.device)
        return noise, q_sample(x_0, t, self.chain.process, noise).contiguous(memory_format=torch.channels_last)

    def validate(self, network: nn.Module) -> float:
        """Loss on the validation images as they are, at the same times and with the same noise every time."""
        return self.mean_error(network, self.corpus.validation)

    def mean_error(self, network: nn.Module, rows: Tensor, most: int = 512) -> float:
        """Mean loss over up to `most` images, evenly picked, four times and noises each."""
        rows = rows[:: max(1, len(rows) // most)].to(self.device)
        rng, local = Generator().manual_seed(0), Generator(self.device).manual_seed(1)
        total, count = torch.zeros((), device=self.device), 0
        for part in rows.repeat(4).split(64):
            t = self.times(len(part), rng).to(self.device)
            total, count = total + self.plain_errors(network, part, t, local).sum(), count + len(part)
        return (total / count).item()

    def plain_errors(self, network: nn.Module, rows: Tensor, t: Tensor, rng: Generator) -> Tensor:
        """The loss of each of these images as it is, told all that is known of it, (B,)."""
        nothing = self.parameters.new_zeros(len(rows), self.parameters.shape[2])
        told = (self.condition(0, rows), nothing, rng, *self.mask(0, rows))
        return self.errors(network, self.values[0, rows], t, *told)
