"""Training the texture: generated images learn to have the texture of real ones, without being told which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..imageset import ImageSet
from ..model.latent_diffusion import LatentDiffusion
from ..model.sampling import FEW, Sampling
from ..networks.conditions import value_in
from ..networks.texture import Texture
from ..optimising.cache import keep, take
from .config import TextureConfig
from .corpus import Corpus
from .texture_statistics import GROUPS, energy_distance, shown, texture_statistics

AT_ONCE = 16
COMPARED = 96
"""Generated and real images of each modality whose statistics are compared in validation."""


@torch.inference_mode()
def draw_smooth(
    model: LatentDiffusion, images: ImageSet, corpus: Corpus, config: TextureConfig, seed: int, path: Path
) -> Iterator[int]:
    """Write what the decoder makes, before any texture, reporting how many are done; nothing to do if it is there.

    For `images` training images, evenly over the modalities, one that was asked to show the same: half in the model's
    own number of steps, the rest in 4 and 2. And `reconstructed` of them encoded and decoded.
    """
    if take(path):
        return
    chosen = _evenly(corpus, max(config.images, config.reconstructed), seed)
    counts = [model.steps, FEW, model.steps, FEW // 2]
    jobs = [(rows, counts[i % 4]) for i, rows in enumerate(chosen[: config.images].split(AT_ONCE))]
    jobs += [(rows, 0) for rows in chosen[: config.reconstructed].split(AT_ONCE)]
    decoded, done = [], 0
    for rows, steps in jobs:
        modalities = [corpus.modalities[i] for i in rows]
        if steps:
            names = [a.name for a in corpus.conditions.attributes]
            wanted = [{name: value_in(images.rows[i], name) for name in names} for i in rows.tolist()]
            *_, latents = model.walk(range(done, done + len(rows)), wanted, Sampling(seed, steps))
        else:
            latents = model.encode(corpus.images(rows).cpu().numpy(), modalities)
        decoded.append(model.decoded(latents, modalities)[:, 0].half().cpu())
        done += len(rows)
        yield done
    keep(path, {"images": torch.cat(decoded), "rows": torch.cat([rows for rows, _ in jobs])})


def _evenly(corpus: Corpus, n: int, seed: int) -> Tensor:
    """Up to n training rows at random, the modalities taking turns."""
    rng = Generator().manual_seed(seed)
    of = _by_modality(corpus.train, corpus).values()
    mixed = [[rows[i] for i in torch.randperm(len(rows), generator=rng)] for rows in of]
    turns = [row for turn in zip_longest(*mixed) for row in turn if row is not None]
    return torch.tensor(turns[:n])


def _by_modality(rows: Tensor, corpus: Corpus) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i in rows.tolist():
        found.setdefault(corpus.modalities[i], []).append(i)
    return found


@dataclass
class TextureTask:
    """The network on smooth images, of one modality a step: what single images measure is to be spread as in real ones.

    No image has a partner, so there is no error of pixels to blur it: only statistics of many images are compared, and
    means over 8×8 pixels are held where the decoder put them.
    """

    network: nn.Module
    corpus: Corpus
    smooth: Tensor
    """Decoded images (N, H, W), and the training row that each answers."""
    rows: Tensor
    config: TextureConfig
    device: torch.device
    name: str = "texture"
    weights: Tensor = field(init=False)
    style: int = field(init=False)

    def __post_init__(self) -> None:
        assert isinstance(self.network, Texture)
        self.style = int(self.network.config["style"])
        self.weights = torch.cat([torch.full((n,), 1 / (n * len(GROUPS))) for n in GROUPS]).to(self.device)
        self.modalities = list(self.network.config["modalities"])
        answered = [self.corpus.modalities[i] for i in self.rows.tolist()]
        self.made = [torch.tensor([i for i, m in enumerate(answered) if m == name]) for name in self.modalities]
        train, held = (_by_modality(rows, self.corpus) for rows in (self.corpus.train, self.corpus.validation))
        self.real = [torch.tensor(train[name]) for name in self.modalities]
        self.held = [torch.tensor(held.get(name, train[name])) for name in self.modalities]
        self.scales = [self._scale(rows) for rows in self.real]

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size = self.config.loop.batch_size
        which = int(torch.randint(len(self.modalities), (), generator=rng))
        pools = self.made[which], self.real[which]
        picked, answered = (rows[torch.randint(len(rows), (size,), generator=rng)] for rows in pools)
        turned = torch.rand(size, 2, generator=rng) < 0.5
        noise, style = torch.randn(size, 1, *self.smooth.shape[1:], generator=rng), self._styles(size, rng)
        smooth = _mirrored(self.smooth[picked].float()[:, None], turned[:, 0])[share].to(self.device)
        real = _mirrored(self.corpus.images(answered).cpu(), turned[:, 1])[share].to(self.device)
        told = self._told(which, len(smooth))
        made = network(smooth, noise[share].to(self.device), style[share].to(self.device), told)
        moved = F.avg_pool2d(made.clamp(-1, 1) - smooth.clamp(-1, 1), 8).abs()
        faithful = F.relu(moved - 0.5 / 127.5).mean()  # half a grey level is free
        outside = (made - made.clamp(-1.05, 1.05)).abs().mean()  # where no other gradient reaches
        return self.distance(shown(made), real, which) + self.config.faithful * faithful + outside

    def distance(self, made: Tensor, real: Tensor, which: int) -> Tensor:
        """The energy distance of the statistics of images of one modality, each in units of its deviation."""
        mean, deviation = self.scales[which]
        a, b = (((texture_statistics(x) - mean) / deviation).asinh() for x in (made, real))
        return energy_distance(a, b, self.weights)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> float:
        """The distance to validation images, the mean over modalities, with the same noise every time."""
        found = []
        for which, held in enumerate(self.held):
            rng, made = Generator().manual_seed(0), []
            for rows in self.made[which][:COMPARED].split(AT_ONCE):
                smooth = self.smooth[rows].float()[:, None]
                noise, style = torch.randn(smooth.shape, generator=rng), self._styles(len(rows), rng)
                given = (x.to(self.device) for x in (smooth, noise, style))
                made.append(shown(network(*given, self._told(which, len(rows)))))
            real = self.corpus.images(held[:: max(1, len(held) // COMPARED)]).to(self.device)
            found.append(self.distance(torch.cat(made), real, which))
        return torch.stack(found).mean().item()

    def _styles(self, n: int, rng: Generator) -> Tensor:
        return torch.randn(n, self.style, generator=rng)

    def _told(self, which: int, n: int) -> Tensor:
        return F.one_hot(torch.tensor(which), len(self.modalities)).float().expand(n, -1).to(self.device)

    @torch.no_grad()
    def _scale(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the statistics over up to 512 training images."""
        picked = rows[:: max(1, len(rows) // 512)]
        found = torch.cat([texture_statistics(self.corpus.images(part).to(self.device)) for part in picked.split(32)])
        return found.mean(dim=0), found.std(dim=0).clamp(min=0.01)


def _mirrored(images: Tensor, which: Tensor) -> Tensor:
    """Images (B, 1, H, W), some of them mirrored."""
    return torch.where(which[:, None, None, None], images.flip(3), images)
