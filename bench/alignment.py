"""Representation alignment: the U-Net's middle learns to tell what a frozen network sees in the clean image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from phonybrains.networks.squeezenet import MEAN, SqueezeNet
from phonybrains.training.augment import WIDTH, augment
from phonybrains.training.corpus import Corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents

FEATURES = 64
"""The features are cast at random to so many numbers a place, which keeps their angles nearly."""


def features_of(corpus: Corpus, latents: Latents, weights: Path, side: int, device: torch.device) -> Iterator[Tensor]:
    """SqueezeNet's features of every version of every image, side × side, (N, FEATURES · side²), a version at a time.

    Each is freed of its mean over the places, which says what all heads have in common.  [iREPA, 2512.10794, sec. 4]
    """
    network = SqueezeNet(weights).to(device)
    cast = torch.randn(FEATURES, 512, generator=Generator().manual_seed(0)).to(device) / FEATURES**0.5
    mean = torch.tensor(MEAN, device=device)[:, None, None]
    with torch.no_grad():
        for parameters in latents.parameters:
            parts = []
            for rows in torch.arange(len(corpus.pixels)).split(32):
                x = augment(corpus.images(rows).to(device), parameters[rows].to(device))
                seen = F.adaptive_avg_pool2d(network.features(((x + 1) * 127.5).expand(-1, 3, -1, -1) - mean), side)
                seen = torch.einsum("fc,bchw->bfhw", cast, seen)
                seen = seen - seen.mean(dim=(2, 3), keepdim=True)
                parts.append((seen / (seen.std(dim=(2, 3), keepdim=True) + 1e-6)).flatten(1).cpu())
            yield torch.cat(parts)


@dataclass
class AlignedTask(DenoiserTask):
    """The denoiser's loss and 1 - cosine between its middle, convolved once, and `features`, place by place.

    features: (V, N, FEATURES · side²); they travel behind the numbers of the augmentation.  [U-REPA, 2503.18414, eq. 4;
    a convolution in place of its layers: iREPA, 2512.10794]
    """

    features: Tensor = field(kw_only=True)
    weight: float = field(kw_only=True)
    side: int = field(kw_only=True)

    def __post_init__(self) -> None:
        both = torch.cat([self.latents.parameters, self.features], dim=2)
        self.latents = replace(self.latents, parameters=both)
        super().__post_init__()
        unet: Any = self.network.unet
        self.projection = nn.Conv2d(unet.config["block_out_channels"][-1], FEATURES, 3, padding=1).to(self.device)
        self.network.projection = self.projection  # learnt with the denoiser
        self.hook = unet.mid_block.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, told: object, middle: Tensor) -> None:
        self.middle = middle

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
        """The loss of each image, (B,); without the likeness where it is validated."""
        found = super().errors(network, x_0, t, condition, augmentation[:, :WIDTH], rng, *mask)
        if not self.network.training:
            return found
        wanted = augmentation[:, WIDTH:].unflatten(1, (FEATURES, self.side, self.side))
        likeness = F.cosine_similarity(self.projection(self.middle).float(), wanted, dim=1)
        return found + self.weight * (1 - likeness.mean(dim=(1, 2)))

    def take_off(self) -> None:
        """Leave the denoiser as it was made, when the training is over."""
        del self.network.projection
        self.hook.remove()
