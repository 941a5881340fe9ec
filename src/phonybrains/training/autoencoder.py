"""Training the autoencoder: errors of pixels, features and spectrum; noisy and shrunken latents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from torch import Generator, Tensor, nn

from ..networks.patches import Patches
from .config import AutoencoderConfig
from .corpus import Corpus
from .perceptual import PerceptualDistance
from .sharpness import spectral_distance, unevenness


class Reconstruction(nn.Module):
    """The autoencoder as one forward pass, so that it can be trained on several processes."""

    def __init__(self, autoencoder: AutoencoderDC | Patches) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, x: Tensor, noise: Tensor | None = None, scale: float = 1.0) -> Tensor:
        """Reconstruct x; the latents are first shrunk by `scale` and given `noise` in units of their deviation."""
        z = self.autoencoder.encode(x, return_dict=False)[0]
        if noise is not None:
            z = z + noise * z.detach().std()
        if scale != 1:
            z = F.interpolate(z, scale_factor=scale, mode="bilinear", antialias=True)
        return self.autoencoder.decode(z, return_dict=False)[0]


@dataclass
class AutoencoderTask:
    """The autoencoder on random crops of the training images."""

    network: nn.Module
    corpus: Corpus
    config: AutoencoderConfig
    perceptual: PerceptualDistance | None
    device: torch.device
    name: str = "autoencoder"

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        size, config = self.config.loop.batch_size, self.config
        rows = self.corpus.train[torch.randint(len(self.corpus.train), (size,), generator=rng)]
        corner = torch.randint(self.corpus.pixels.shape[1] - config.crop + 1, (size, 2), generator=rng)
        turned = torch.rand(size, generator=rng) < 0.5
        seed = int(torch.randint(2**62, (1,), generator=rng))
        shrink = 0.5 if float(torch.rand((), generator=rng)) < config.equivariance else 1.0
        x = self.corpus.crops(rows[share], corner[share], turned[share], config.crop).to(self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        side, channels = config.crop // 8, config.shape.latent_channels
        local = Generator(self.device).manual_seed(seed + (share.start or 0))
        noise = torch.randn(len(x), channels, side, side, generator=local, device=self.device) * config.latent_noise
        y = network(x, noise, shrink)
        wanted = x if shrink == 1 else F.interpolate(x, scale_factor=shrink, mode="bilinear", antialias=True)
        return self.distance(y, wanted)

    def distance(self, y: Tensor, x: Tensor) -> Tensor:
        """The loss of reconstructions y against images x, averaged over the batch."""
        error = y.float() - x
        loss = error.abs().mean() + self.config.squared * error.square().mean()
        if self.perceptual is not None and self.config.perceptual > 0:
            loss = loss + self.config.perceptual * self.perceptual(y, x).float().mean()
        if self.config.spectral > 0:
            loss = loss + self.config.spectral * spectral_distance(y, x).mean()
        if self.config.evenness > 0:
            loss = loss + self.config.evenness * unevenness(y)
        return loss

    def validate(self, network: nn.Module) -> float:
        return sum(self.distance(y, x).item() for x, y in self.reconstructions(network)) / self.batches

    def psnr(self, network: nn.Module) -> dict[str, float]:
        """Peak signal-to-noise ratio in dB on whole validation images, for each modality."""
        errors = torch.cat(
            [(y.clamp(-1, 1) - x).square().mean(dim=(1, 2, 3)).cpu() for x, y in self.reconstructions(network)]
        )
        decibel = 10 * torch.log10(4 / errors.clamp(min=1e-10))
        found = [self.corpus.modalities[i] for i in self.validation_rows]
        return {m: decibel[[f == m for f in found]].mean().item() for m in dict.fromkeys(found)}

    @property
    def validation_rows(self) -> list[int]:
        rows = self.corpus.validation
        return rows[:: max(1, len(rows) // 256)].tolist()

    @property
    def batches(self) -> int:
        return -(-len(self.validation_rows) // 16)

    @torch.no_grad()
    def reconstructions(self, network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of whole validation images and their reconstructions, both float32, in batches."""
        for rows in torch.tensor(self.validation_rows).split(16):
            x = self.corpus.images(rows).to(self.device).contiguous(memory_format=torch.channels_last)
            yield x, network(x).float()
