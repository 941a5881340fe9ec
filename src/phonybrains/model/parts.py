"""What a model folder holds, in memory: networks, schema and numbers; what is done with them is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from torch import Tensor

from ..networks.conditions import Conditions, Value
from ..networks.denoiser import Denoiser
from ..networks.patches import Patches
from ..networks.texture import Texture
from .chains import CHAINS, Chain
from .masks import MaskFacts


@dataclass(frozen=True)
class LatentScale:
    """Mean and standard deviation of each latent channel over the whole corpus, for each modality."""

    statistics: Mapping[str, tuple[Sequence[float], Sequence[float]]]

    def columns(self, modalities: Sequence[Value], like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation for each image, (B, C, 1, 1)."""
        chosen = [self.statistics.get(str(name)) or next(iter(self.statistics.values())) for name in modalities]
        table = torch.tensor(chosen, dtype=like.dtype, device=like.device)
        return table[:, 0, :, None, None], table[:, 1, :, None, None]

    def standardise(self, latents: Tensor, modalities: Sequence[Value]) -> Tensor:
        mean, deviation = self.columns(modalities, latents)
        return (latents - mean) / deviation

    def restore(self, latents: Tensor, modalities: Sequence[Value]) -> Tensor:
        mean, deviation = self.columns(modalities, latents)
        return latents * deviation + mean


@dataclass
class ModelParts:
    """Autoencoder, denoiser, conditions, latent scale and diffusion chain.

    few_step: the denoiser tuned for sampling in up to FEW steps, if the model has one; steps: taken if none are asked.
    units: slope, intercept and unit of generated pixels, for each modality whose training images agree on them.
    card: free for facts about the model; masks: what the masks outline that it takes, None for a model that takes none.
    texture: what gives decoded images their fine grain, if the model has it.
    classifier: reads the model's classifier of noisy latents, a NoisyClassifier, if it has one.
    embedding: of images, an ImageEmbedding, which the denoiser can be told, if the model has one.
    """

    autoencoder: AutoencoderDC | Patches
    denoiser: Denoiser
    conditions: Conditions
    scale: LatentScale
    chain: Chain = CHAINS["flow"]
    size: int = 256
    few_step: Denoiser | None = None
    steps: int = 16
    units: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    masks: MaskFacts | None = None
    texture: Texture | None = None
    classifier: Callable[[], Any] | None = None
    embedding: Any = None
