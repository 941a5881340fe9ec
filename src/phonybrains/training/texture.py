"""Training the texture: generated images learn to have the texture of real ones, without being told which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..imageset import ImageSet
from ..model.latent_diffusion import LatentDiffusion
from ..model.sampling import FEW, GAN, Sampling
from ..networks.conditions import value_in
from ..networks.texture import Texture
from ..optimising.cache import keep, take
from .config import TextureConfig
from .corpus import Corpus
from .perceptual import PerceptualDistance
from .texture_statistics import GROUPS, energy_distance, shown, texture_statistics

AT_ONCE = 16
REAL, COMPARED = 512, 96
"""Real images of each modality that are compared with, and real and generated ones in validation."""
LEAST_DEVIATION = 0.01
"""Of a measure: shares that hardly differ between real images count no more than others."""

FLOORS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Grey levels below which air may be made flat."""
INSIDE = 1 - 3 / 127.5
"""Where means are held: three grey levels at either end are free, so that air the decoder left at 1 can be flat."""


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
    counts = [1] if model.chain.name == GAN else [model.steps, FEW, model.steps, FEW // 2]
    jobs = [(rows, counts[i % len(counts)]) for i, rows in enumerate(chosen[: config.images].split(AT_ONCE))]
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
    means over 8×8 pixels are held where the decoder put them, but at the very ends.
    """

    network: nn.Module
    corpus: Corpus
    smooth: Tensor
    """Decoded images (N, H, W), and the training row that each answers."""
    rows: Tensor
    config: TextureConfig
    perceptual: PerceptualDistance | None
    device: torch.device
    name: str = "texture"
    modalities: list[str] = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        assert isinstance(self.network, Texture)
        self.modalities, self.style = list(self.network.config["modalities"]), int(self.network.config["style"])
        answered = [self.corpus.modalities[i] for i in self.rows.tolist()]
        self.made = [torch.tensor([i for i, m in enumerate(answered) if m == name]) for name in self.modalities]
        train, held = (_by_modality(rows, self.corpus) for rows in (self.corpus.train, self.corpus.validation))
        found = [self._measured_rows(train[name], REAL) for name in self.modalities]
        self.scales = [(x.mean(dim=0), x.std(dim=0).clamp(min=LEAST_DEVIATION)) for x in found]
        self.real = [self._scaled(x, i) for i, x in enumerate(found)]
        held_out = [held.get(name, train[name]) for name in self.modalities]
        self.held = [self._scaled(self._measured_rows(rows, COMPARED), i) for i, rows in enumerate(held_out)]
        pooled = found[0].shape[1] - sum(GROUPS)
        weights = [torch.full((n,), 1 / (n * len(GROUPS))) for n in GROUPS]
        weights += [torch.full((pooled,), self.config.perceptual / pooled)] if pooled else []
        self.weights = torch.cat(weights).to(self.device)

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size = self.config.loop.batch_size
        which = int(torch.randint(len(self.modalities), (), generator=rng))
        rows = self.made[which][torch.randint(len(self.made[which]), (size,), generator=rng)]
        smooth, made = self._textured(network, rows, which, rng, share)
        moved = F.avg_pool2d(made.clamp(-INSIDE, INSIDE) - smooth.clamp(-INSIDE, INSIDE), 8).abs()
        faithful = F.relu(moved - 0.5 / 127.5).mean()  # half a grey level is free
        outside = (made - made.clamp(-1.05, 1.05)).abs().mean()  # where no other gradient reaches
        measured = self._scaled(self._measured(shown(made)), which)
        return energy_distance(measured, self.real[which], self.weights) + self.config.faithful * faithful + outside

    @torch.no_grad()
    def validate(self, network: nn.Module) -> float:
        """The distance to validation images, the mean over modalities, with the same noise every time."""
        found = []
        for which, held in enumerate(self.held):
            rng = Generator().manual_seed(0)
            parts = self.made[which][:COMPARED].split(AT_ONCE)
            made = [shown(self._textured(network, rows, which, rng, slice(None))[1]) for rows in parts]
            measured = torch.cat([self._scaled(self._measured(x), which) for x in made])
            found.append(energy_distance(measured, held, self.weights))
        return torch.stack(found).mean().item()

    @torch.no_grad()
    def find_floors(self, network: Texture) -> None:
        """Give each modality the floor, of FLOORS, with which generated images are least off those of training."""
        for which in range(len(self.modalities)):
            rng = Generator().manual_seed(0)
            parts = self.made[which][:COMPARED].split(AT_ONCE)
            made = torch.cat([self._textured(network, rows, which, rng, slice(None))[1] for rows in parts])
            network.floors[which] = min(FLOORS, key=partial(self._off, network, made, which))

    def _off(self, network: Texture, made: Tensor, which: int, floor: float) -> float:
        network.floors[which] = floor
        measured = texture_statistics(shown(network.with_flat_air(made, self._told(which, len(made)))))
        known = slice(measured.shape[1])
        real = self.real[which][:, known]
        return energy_distance(self._scaled(measured, which, known), real, self.weights[known]).item()

    def _textured(
        self, network: nn.Module, rows: Tensor, which: int, rng: Generator, share: slice
    ) -> tuple[Tensor, Tensor]:
        """This process's share of smooth images, before and after."""
        smooth = self.smooth[rows].float()[:, None]
        noise, style = torch.randn(smooth.shape, generator=rng), torch.randn(len(rows), self.style, generator=rng)
        smooth, noise, style = (x[share].to(self.device) for x in (smooth, noise, style))
        return smooth, network(smooth, noise, style, self._told(which, len(smooth)))

    def _told(self, which: int, n: int) -> Tensor:
        return F.one_hot(torch.tensor(which), len(self.modalities)).float().expand(n, -1).to(self.device)

    @torch.no_grad()
    def _measured_rows(self, rows: list[int], most: int) -> Tensor:
        """What up to `most` images of the corpus measure, evenly picked."""
        picked = torch.tensor(rows[:: max(1, len(rows) // most)])
        return torch.cat([self._measured(self.corpus.images(part).to(self.device)) for part in picked.split(32)])

    def _measured(self, images: Tensor) -> Tensor:
        """All that is compared of single images, (B, F)."""
        statistics = texture_statistics(images)
        return torch.cat([statistics, self.perceptual.pooled(images)], dim=1) if self.perceptual else statistics

    def _scaled(self, measured: Tensor, which: int, columns: slice = slice(None)) -> Tensor:
        """In units of the deviation over a modality's training images; large values by their logarithm."""
        mean, deviation = (values[columns] for values in self.scales[which])
        return ((measured - mean) / deviation).asinh()
