"""Few-step weights that look real: they learn against heads that see images with the denoiser's own eyes.

A jump along a path is right on average, and what the path would settle later is blurred in it. Heads on the features of
the denoiser, which itself stays as it is, compare where jumps end with real latents.  [Sauer 2024, LADD, sec. 3]
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d, leaky_relu, silu

from ..diffusion.process import q_sample
from ..errors import ConfigError
from ..imageset import ImageSet
from ..model.latent_diffusion import LatentDiffusion
from ..networks.condition_dropout import drop, hide
from ..networks.conditions import near
from ..networks.critic import SLOPE
from ..networks.denoiser import Denoiser
from .config import AdversarialConfig, TrainConfig
from .corpus import Corpus, rows_in
from .gan import energy_distance
from .latents import Latents

FASTER = 30
"""So many times as fast as the few-step weights do the heads learn."""
COARSE = 8
"""Side of the squares of latents whose means stay."""


class _Fast(nn.Conv2d):
    """A convolution that learns FASTER times as fast as the rate says.  [Karras 2018, sec. 4.1]"""

    def __init__(self, inputs: int, outputs: int, side: int = 1) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter /= FASTER

    def forward(self, input: Tensor) -> Tensor:
        return FASTER * super().forward(input)


class _Head(nn.Module):
    """How real each place of a feature map looks: (B, C, h, w) and what the network was told, (B, T), → (B, h·w)."""

    def __init__(self, channels: int, told: int, width: int) -> None:
        super().__init__()
        self.enter, self.told = _Fast(channels, width), _Fast(told, 2 * width)
        self.middle, self.judge = _Fast(width, width, 3), _Fast(width, 1)
        for parameter in self.told.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(silu(told)[:, :, None, None]).chunk(2, dim=1)
        x = x * (x.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-6).rsqrt()
        x = leaky_relu(self.enter(x) * (1 + scale) + shift, SLOPE)
        return self.judge(leaky_relu(self.middle(x), SLOPE) + x).flatten(1)


class FeatureHeads(nn.Module):
    """One for each map of `Denoiser.features`."""

    def __init__(self, denoiser: Denoiser, width: int = 64) -> None:
        super().__init__()
        widths = denoiser.unet.config["block_out_channels"]
        self.heads = nn.ModuleList(_Head(channels, 4 * widths[0], width) for channels in (*widths, widths[-1]))

    def forward(self, maps: Sequence[Tensor], told: Tensor) -> list[Tensor]:
        return [head(x, told) for head, x in zip(self.heads, maps, strict=True)]


class Contest(nn.Module):
    """Few-step weights and the heads that judge them as one network, whose loss is what each has to lose.

    Neither learns from the other's share, as in a GAN's Adversaries. faithful: weight of what stays as it was.
    """

    def __init__(self, model: LatentDiffusion, faithful: float) -> None:
        super().__init__()
        assert model.few_step is not None
        self.student, self.heads, self.faithful = model.few_step, FeatureHeads(model.denoiser), faithful
        self.denoiser, self.before = model.denoiser, copy.deepcopy(model.few_step).requires_grad_(False)
        self.process = model.chain.process

    def train(self, mode: bool = True) -> Contest:
        """As in evaluation, always: what is dropped of features or jumps would be judged."""
        return super().train(False)

    def walk(self, network: nn.Module, noise: Tensor, times: Sequence[float], *told: Tensor) -> Tensor:
        """Where the jumps of a network between these times lead, told the condition and the mask, if any."""
        x, (condition, *mask) = noise, told
        for t, r in pairwise(times):
            length = x.new_full((len(x), 1), t - r)
            x = x - (t - r) * network(x, x.new_full((len(x),), t), condition, length, *mask)
        return x

    def features(self, latents: Tensor, noise: Tensor, t: Tensor, *told: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the denoiser sees in latents that are covered by noise as far as at t."""
        condition, *mask = told
        x_t = q_sample(latents, t, self.process, noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(latents.device.type, enabled=False):
            return self.denoiser.features(x_t.float(), t, condition, None, *mask)

    def forward(
        self, real: Tensor, noises: Tensor, t: Tensor, learns: Tensor, times: Sequence[float], *told: Tensor
    ) -> Tensor:
        """The loss of a batch of real latents and as many jumped to, under the same conditions.

        Hinges for the heads, and for the student the mean score of what it makes.  [Lim 2017, Geometric GAN, eq. 8]
        noises: (3, B, C, h, w), where jumps begin and what covers real and jumped latents as far as at t, (B,).
        learns: (B,) 1 for an image that is judged and 0 for one that stays as it was.
        """
        begin = noises[0].contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            was = self.walk(self.before, begin, times, *told).float()
            near = self.walk(self.student, begin, times[:-1], *told)
            maps, seen = self.features(real, noises[1], t, *told)
        made = self.walk(self.student, near, times[-2:], *told)
        found, heard = self.features(made, noises[2], t, *told)
        fake = self.heads([x.detach() for x in found], heard.detach())
        hinges = [(1 - a).relu() + (1 + b).relu() for a, b in zip(self.heads(maps, seen), fake, strict=True)]
        frozen = {name: weight.detach() for name, weight in self.heads.named_parameters()}
        scores = functional_call(self.heads, frozen, (found, heard))
        judged = torch.stack([a.mean(1) - b.mean(1) for a, b in zip(hinges, scores, strict=True)]).mean(0)
        coarse = (avg_pool2d(made.float(), COARSE) - avg_pool2d(was, COARSE)).square().mean((1, 2, 3))
        apart = (made.float() - was).square().mean((1, 2, 3))
        kept = torch.where(learns > 0, coarse, apart).mean()
        return (learns * judged).sum() / learns.sum().clamp(min=1) + self.faithful * kept


@dataclass
class AdversarialTask:
    """A contest over the last jump of each number of steps; jumps before it lead to where it begins."""

    network: nn.Module
    model: LatentDiffusion
    corpus: Corpus
    latents: Latents
    config: AdversarialConfig
    device: torch.device
    name: str = "adversarial"
    betas = (0.5, 0.99)

    def __post_init__(self) -> None:
        self.values, self.encoded = self.latents.values[0].to(self.device), self.corpus.encoded.to(self.device)
        self.masks = None if self.latents.masks is None else self.latents.masks[0].to(self.device)
        names = self.config.modalities or {*self.corpus.modalities}
        self.learns = torch.tensor([float(name in names) for name in self.corpus.modalities], device=self.device)

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size, counts = self.config.loop.batch_size, self.config.counts
        rows = self.corpus.train[torch.randint(len(self.corpus.train), (size,), generator=rng)][share].to(self.device)
        count = counts[int(torch.randint(len(counts), (1,), generator=rng))]
        local = Generator(self.device).manual_seed(int(torch.randint(2**62, (1,), generator=rng)) + (share.start or 0))
        t = (1.1 * torch.randn(len(rows), generator=local, device=self.device) - 0.7).sigmoid().clamp(0.02, 0.98)
        noises = torch.randn(3, *self.values[rows].shape, generator=local, device=self.device)
        condition = drop(self.encoded[rows], self.corpus.conditions, local)
        mask = [hide(mask, local) for mask in self._mask(rows)]
        return network(self.values[rows], noises, t, self.learns[rows], self.model.chain.times(count), condition, *mask)

    @torch.no_grad()
    def validate(self, network: nn.Module, most: int = 512) -> float:
        """The energy distance of latents that are jumped to from those of validation images, over `counts`."""
        assert isinstance(network, Contest)
        rows = self.corpus.validation
        rows = rows[:: max(1, len(rows) // most)][:most].to(self.device)
        noise = torch.randn(self.values[rows].shape, generator=Generator().manual_seed(0)).to(self.device)
        found = list[float]()
        for count in self.config.counts:
            times, ends = self.model.chain.times(count), list[Tensor]()
            for part in torch.arange(len(rows), device=self.device).split(64):
                told = (self.encoded[rows[part]], *self._mask(rows[part]))
                ends.append(network.walk(network.student, noise[part], times, *told))
            found.append(energy_distance(torch.cat(ends), self.values[rows]))
        return sum(found) / len(found)

    def _mask(self, rows: Tensor) -> tuple[Tensor, ...]:
        return () if self.masks is None else (self.masks[rows].float(),)


def check_adversarial(images: ImageSet, has_few_step: bool, config: TrainConfig) -> None:
    """Raise ConfigError where no few-step weights are there to learn, or a modality is none of the training images."""
    if not (has_few_step or (config.few_step.loop.steps and config.diffusion == "flow")):
        raise ConfigError("adversarial: there are no few-step weights to learn. Set few_step.loop.steps above 0.")
    known = sorted({images.rows[i].modality for i in rows_in(images, "train")})
    if unknown := [name for name in config.adversarial.modalities if name not in known]:
        raise ConfigError(f"adversarial.modalities: no training image is {unknown[0]}.{near(unknown[0], known)}")
