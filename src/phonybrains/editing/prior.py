"""A trained model as a prior over heads: what edits ask of it, and how its latents and pixels lead to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..diffusion.guidance import guide
from ..diffusion.inverse import Codec
from ..diffusion.process import Flow, Predict, q_sample
from ..diffusion.sampler import FreshNoise, deterministic, heun, sample
from ..imageset import from_unit_range, to_unit_range
from ..model.latent_diffusion import LatentDiffusion
from ..networks.conditions import Value

Images = NDArray[np.uint8]
NEARLY_CLEAN = 0.02
"""Where an inversion begins: at 0 the direction of the flow is not defined."""


@dataclass(frozen=True)
class Prior:
    """A model and what the images of one batch show, in order: their modality at least.

    rngs: the generator of each image, of which all that is random is drawn.
    """

    model: LatentDiffusion
    wanted: Sequence[Mapping[str, Value]]
    rngs: Sequence[torch.Generator]
    guidance: float = 1.0

    @property
    def modalities(self) -> list[Value]:
        return [one.get("modality") for one in self.wanted]

    @property
    def codec(self) -> Codec:
        return Codec(self.encode, self.decode)

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B, 1, H, W) in about -1…1 to standardised latents (B, C, h, w)."""
        x = x.to(self.model.device).contiguous(memory_format=torch.channels_last)
        return self.model.scale.standardise(self.model.autoencoder.encode(x, return_dict=False)[0], self.modalities)

    def encode_images(self, images: Images) -> Tensor:
        """`encode` of (B, H, W) uint8."""
        return self.encode(as_pixels(images))

    def decode(self, z: Tensor) -> Tensor:
        """Latents to pixels (B, 1, H, W), without texture: what they say, and no more."""
        return self.model.decoded(z, self.modalities)

    def draw(self, z: Tensor) -> Tensor:
        """Latents to pixels (B, 1, H, W) with the texture that the model gives its images, if it gives one."""
        return self.model.decoded(z, self.modalities, self.rngs)

    def predict(self, wanted: Sequence[Mapping[str, Value]] | None = None, embedded: Tensor | None = None) -> Predict:
        """E[z_0 | z_t] of these images, or of images that show something else; embedded: told as well, (B, D + 1)."""
        told = self.model.told(self.wanted if wanted is None else wanted, embedded)
        return guide(self.model.predict, *told, self.guidance)

    def noise(self) -> Tensor:
        """Standard normal latents, each image's own."""
        drawn = torch.stack([torch.randn(self.model.latent_shape, generator=rng) for rng in self.rngs])
        return drawn.to(self.model.device).contiguous(memory_format=torch.channels_last)

    def of(self, index: int) -> Prior:
        """The prior of one image of the batch."""
        return replace(self, wanted=[self.wanted[index]], rngs=[self.rngs[index]])

    def signal(self, z: Tensor, time: float) -> Tensor:
        """Latents that have noise of their own, scaled to what they are at this time."""
        return self.model.chain.process.signal(self._time(time, z)).to(z) * z

    def noised(self, z: Tensor, time: float) -> Tensor:
        """Latents at this time of the diffusion, under noise of each image's own."""
        return q_sample(z, self._time(time, z), self.model.chain.process, self.noise())

    def _time(self, time: float, z: Tensor) -> Tensor:
        dtype = torch.float64 if isinstance(self.model.chain.process, Flow) else torch.long
        return torch.full((len(z),), time, dtype=dtype, device=z.device)

    def walk(self, predict: Predict, z: Tensor, times: Sequence[float], fresh: FreshNoise = deterministic) -> Tensor:
        """z at the first of these falling times, led to its clean end."""
        *_, clean = sample(predict, z, times, self.model.chain.process, list(self.rngs), fresh)
        return clean

    def descend(self, predict: Predict, z: Tensor, times: Sequence[float]) -> Tensor:
        """`walk` by Heun's method, which leads back where an inversion came from: two evaluations a step."""
        *_, clean = heun(predict, z, times, self.model.chain.process)
        return clean

    def times(self, start: float, steps: int) -> list[float]:
        """Falling times from a fraction 0…1 of the way to pure noise down to 0, as sampling passes them."""
        chain = self.model.chain
        if isinstance(chain.process, Flow):
            return [start * t for t in chain.times(steps)]
        return self.even_times(chain.process.T * start, steps)

    def even_times(self, first: float, steps: int) -> list[float]:
        """`first` … 0 in equal steps; of a chain that counts its steps, in whole numbers, and no more than it has."""
        even = [first * (1 - i / steps) for i in range(steps)]
        if isinstance(self.model.chain.process, Flow):
            return [*even, 0.0]
        return [*sorted({max(1, round(t)) for t in even}, reverse=True), 0]

    def rising(self, times: Sequence[float]) -> list[float]:
        """Falling times, the other way around from a nearly clean image on, for an inversion."""
        first = float(self.model.chain.time(NEARLY_CLEAN))
        return sorted({max(first, t) for t in times})


def as_pixels(images: Images) -> Tensor:
    """(B, H, W) uint8 as (B, 1, H, W) float32 in -1…1."""
    return torch.from_numpy(to_unit_range(images)[:, None])


def as_images(pixels: Tensor) -> Images:
    """(B, 1, H, W) in about -1…1 as (B, H, W) uint8, clipped and rounded."""
    return from_unit_range(pixels[:, 0].float().cpu().numpy())
