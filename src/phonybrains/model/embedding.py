"""An embedding of images: what one looks like in a few numbers, and a prior that draws them given what it shows.

The denoiser is told it as one more condition.  [Ramesh 2022, sec. 2: the decoder P(x|z_i, y) and the prior P(z_i|y)]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from ..diffusion.process import Rng
from ..tensors import write_tensors
from .vectors import VectorDiffusion

PROJECTION = "projection.safetensors"
GRID = 4
"""Side of the grid of places over which latents are pooled."""
LEAST_VARIANCE = 1e-6
"""Of the largest component's: what varies less is rounding, and stays small."""


@dataclass(frozen=True)
class ImageEmbedding:
    """Pooled latents by principal components in units of their deviations: (features - centre) @ axes, (B, D).

    The denoiser is told these and a one, (B, D + 1), or zeros where an image's embedding is missing.
    prior: draws such vectors given encoded conditions.
    """

    centre: Tensor
    axes: Tensor
    prior: VectorDiffusion

    @classmethod
    def fit(cls, latents: Tensor, dim: int, condition_width: int, seed: int = 0) -> ImageEmbedding:
        """That of standardised latents (N, C, h, w), with a prior that has learnt nothing yet."""
        found = pooled(latents).double()
        centre = found.mean(dim=0)
        variances, axes = torch.linalg.eigh((found - centre).T @ (found - centre) / len(found))
        variances, axes = variances[-dim:].flip(0), axes[:, -dim:].flip(1)
        axes = axes / variances.clamp(min=LEAST_VARIANCE * float(variances[0])).sqrt()
        prior = VectorDiffusion.new(dim, condition_width, width=256, chain="flow", seed=seed)
        return cls(centre.float(), axes.float(), prior)

    @property
    def width(self) -> int:
        return self.axes.shape[1] + 1

    def of(self, latents: Tensor) -> Tensor:
        """What is told of standardised latents (B, C, h, w): (B, D + 1)."""
        return given((pooled(latents) - self.centre.to(latents)) @ self.axes.to(latents))

    def draw(self, conditions: Tensor, rng: Rng) -> Tensor:
        """What is told of images that show what these conditions (B, K) say, drawn by the prior: (B, D + 1)."""
        return given(self.prior.draw(conditions, rng))

    def save(self, folder: Path) -> None:
        """Write projection.safetensors, and the prior's files, into a folder that is made where it is missing."""
        folder.mkdir(exist_ok=True)
        write_tensors(folder / PROJECTION, {"centre": self.centre, "axes": self.axes})
        self.prior.save(folder)

    @classmethod
    def load(cls, folder: Path, channels: int, condition_width: int) -> ImageEmbedding:
        """Read what `save` wrote. Raises ModelError or ValueError for parts that do not fit each other or the model."""
        read: dict[str, Any] = load_file(folder / PROJECTION)
        own = cls(read["centre"], read["axes"], VectorDiffusion.load(folder))
        features, network = 2 * channels * GRID**2, own.prior.network
        if (own.centre.shape, own.axes.shape) != ((features,), (features, network.dim)):
            raise ValueError(f"{PROJECTION} is not one of {features} features to {network.dim} numbers")
        if network.condition_dim != condition_width:
            raise ValueError(f"the prior of embeddings knows {network.condition_dim} conditions, not {condition_width}")
        return own


def pooled(latents: Tensor) -> Tensor:
    """Mean and deviation of each channel over each place of the grid: (B, C, h, w) to (B, 2 C GRID²)."""
    parts = []
    for z in latents.split(1024):
        mean = adaptive_avg_pool2d(z, GRID)
        deviation = (adaptive_avg_pool2d(z.square(), GRID) - mean.square()).clamp(min=0).sqrt()
        parts.append(torch.cat([mean, deviation], dim=1).flatten(1))
    return torch.cat(parts)


def given(vectors: Tensor) -> Tensor:
    """Vectors (B, D) with a column of ones, which says that they are given."""
    return pad(vectors, (0, 1), value=1.0)
