"""Few-step weights: a copy of the denoiser learns to jump along the denoiser's own sampling paths, without images."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from ..diffusion.guidance import guide
from ..diffusion.sampler import sample
from ..diffusion.shortcut import jump_times, jumps, path_points, pseudo_huber
from ..model.latent_diffusion import LatentDiffusion
from ..networks.condition_dropout import drop, hide
from ..networks.denoiser import Denoiser, build_embedding
from .config import FewStepConfig
from .corpus import Corpus

PATHS = 48
"""Sampling paths whose ends are compared in validation."""


def few_step_copy(denoiser: Denoiser) -> Denoiser:
    """A copy that is told the length of a jump instead of an augmentation; no dropout, as targets are exact."""
    unet = copy.deepcopy(denoiser.unet)
    student = Denoiser(unet, build_embedding(unet, denoiser.condition_width, extra_width=1))
    weights = {name: tensor.clone() for name, tensor in denoiser.embed.state_dict().items()}
    known = weights["linear_1.weight"][:, : denoiser.condition_width]
    weights["linear_1.weight"] = torch.cat([known, known.new_zeros(len(known), 1)], dim=1)
    student.embed.load_state_dict(weights)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return student.requires_grad_(True).to(next(denoiser.parameters()).device)


@dataclass
class FewStepTask:
    """The student on the teacher's paths: every step draws its own noises and walks their paths once.

    masks: (N, MASK_CHANNELS, h, w), those of the images as they are; None where none are told.
    """

    network: nn.Module
    teacher: LatentDiffusion
    corpus: Corpus
    config: FewStepConfig
    device: torch.device
    name: str = "few_step"
    ends: list[Tensor] = field(default_factory=list)
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        self.encoded = self.corpus.encoded.to(self.device)
        chain = self.teacher.chain
        self.times = chain.times(self.config.path_steps)
        self.t, self.r = (time.to(self.device) for time in jump_times(self.config.counts, chain.shift))

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size = self.config.loop.batch_size
        rows = self.corpus.train[torch.randint(len(self.corpus.train), (size,), generator=rng)].to(self.device)
        local = Generator(self.device).manual_seed(int(torch.randint(2**62, (1,), generator=rng)))
        condition = drop(self.encoded[rows], self.corpus.conditions, local)[share]
        noise = torch.randn(size, *self.teacher.latent_shape, generator=local, device=self.device)[share]
        mask = [hide(mask, local)[share] for mask in self._mask(rows)]
        x_t, velocity = jumps(self._path(condition, noise, *mask), self.times, self.t, self.r)
        n, x_t = len(noise), x_t.contiguous(memory_format=torch.channels_last)
        condition, length = condition.repeat_interleave(len(self.t), 0), (self.t - self.r).float()[:, None].repeat(n, 1)
        mask = [one.repeat_interleave(len(self.t), 0) for one in mask]
        return pseudo_huber(network(x_t, self.t.repeat(n), condition, length, *mask), velocity).mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> float:
        """Mean distance between the ends of sampling in few steps and those of the teacher's paths, same noise."""
        rows = self.corpus.validation
        rows = rows[:: max(1, len(rows) // PATHS)][:PATHS].to(self.device)
        condition, mask = self.encoded[rows], self._mask(rows)
        rng, shape = Generator().manual_seed(0), (len(condition), *self.teacher.latent_shape)
        noise = torch.randn(shape, generator=rng).to(self.device).contiguous(memory_format=torch.channels_last)
        if not self.ends:
            self.ends = [self._path(condition, noise, *mask)[-1]]
        distances = []
        for count in self.config.counts:
            predict, chain = self.teacher.shortcut(network, condition, count, *mask), self.teacher.chain
            *_, found = sample(predict, noise, chain.times(count), chain.process, rng)
            distances.append(pseudo_huber(found, self.ends[0]).mean())
        return torch.stack(distances).mean().item()

    def _mask(self, rows: Tensor) -> tuple[Tensor, ...]:
        return () if self.masks is None else (self.masks[rows.cpu()].to(self.device).float(),)

    def _path(self, condition: Tensor, noise: Tensor, *mask: Tensor) -> Tensor:
        """The teacher's path, in float32 whatever the student learns in: bf16 leads it astray."""
        null = self.corpus.conditions.null(len(condition)).to(condition)
        with torch.autocast(self.device.type, enabled=False):
            predict = guide(self.teacher.predict, condition, null, self.config.guidance, *mask)
            return path_points(predict, noise, self.times)
