"""Latents and text embeddings, computed once and kept, so that the text encoders leave the memory for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from ..imageset import ImageSet, to_unit_range
from ..model.stable_diffusion import encode_texts
from ..optimising.cache import keep, take

BATCH = 8


@dataclass(frozen=True)
class LatentDistributions:
    """Mean and deviation of each image's latents (N, C, h, w), in the scale that the network works in."""

    mean: Tensor
    deviation: Tensor

    def draw(self, rows: Tensor, rng: Generator) -> Tensor:
        """Latents of these rows, drawn from what the encoder says of them."""
        mean, deviation = (part[rows].float().to(rng.device) for part in (self.mean, self.deviation))
        return mean + deviation * torch.randn(mean.shape, generator=rng, device=rng.device)


@dataclass(frozen=True)
class Texts:
    """Embeddings of each distinct caption, and last those of no words; captions: the number of each image's."""

    values: dict[str, Tensor]
    captions: Tensor

    @property
    def nothing(self) -> int:
        return len(self.values["prompt_embeds"]) - 1

    def of(self, numbers: Tensor) -> dict[str, Tensor]:
        """The embeddings with these numbers, as a pipeline names them."""
        return {name: tensor[numbers].float() for name, tensor in self.values.items()}

    def guided(self, numbers: Tensor) -> dict[str, Tensor]:
        """The same beside those of no words, for a pipeline that guides."""
        empty = self.of(torch.full_like(numbers, self.nothing))
        return self.of(numbers) | {f"negative_{name}": tensor for name, tensor in empty.items()}


@torch.no_grad()
def encode_latents(vae: Any, images: ImageSet, rows: Sequence[int], size: int, path: Path) -> Iterator[int]:
    """Encode these images, gray as three equal channels, at `size` pixels a side, reporting how many are done."""
    if take(path):
        return
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
    means, deviations = [], []
    for start in range(0, len(rows), BATCH):
        pixels = to_unit_range(np.stack([images.pixels(i) for i in rows[start : start + BATCH]]))
        x = torch.from_numpy(pixels)[:, None].to(vae.device)
        if x.shape[-1] != size:
            x = interpolate(x, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        found = vae.encode(x.expand(-1, 3, -1, -1)).latent_dist
        means.append(((found.mean - shift) * scale).half().cpu())
        deviations.append((found.std * scale).half().cpu())
        yield min(start + BATCH, len(rows))
    keep(path, {"mean": torch.cat(means), "deviation": torch.cat(deviations)})


def encode_captions(pipeline: Any, captions: Sequence[str], path: Path) -> Iterator[int]:
    """Encode captions, each once, and no words, reporting how many are done."""
    found: list[dict[str, Tensor]] = []
    for number, caption in enumerate(captions, start=1):
        found.append(encode_texts(pipeline, [caption]))
        yield number
    names = [name for name in found[0] if not name.startswith("negative_")]
    stacked = {name: torch.cat([*(one[name] for one in found), found[0][f"negative_{name}"]]) for name in names}
    keep(path, {name: tensor.half() for name, tensor in stacked.items()})


def load_latents(path: Path) -> LatentDistributions:
    """Read what `encode_latents` wrote."""
    return LatentDistributions(**load_file(path))


def load_texts(path: Path, captions: Sequence[int]) -> Texts:
    """Read what `encode_captions` wrote; captions: the number of each image's."""
    return Texts(load_file(path), torch.tensor(captions))
