"""The arms of bench/ablation.py: ways to train a model that differ in one thing, and their networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from phonybrains.imageset import Row
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.networks.shapes import AutoencoderShape, DenoiserShape
from phonybrains.training import augment
from phonybrains.training.autoencoder import Reconstruction

EIGHTH, SIXTEENTH = 8, 16
"""How many times smaller a side of the latents is than one of the image."""


@dataclass(frozen=True)
class Arm:
    """One way to train a model; the defaults are those of the presets.

    told: the attributes it is told besides the modality, all that the shipped model knows if None.
    latents: channels and factor of latents of its own autoencoder, the shipped one's if None.
    sampled: steps, guidance and sampler (empty: the chain's own) of each judgement; averages: those judged.
    people, sources: the share of the training people of each modality that it learns from, and the numbers of the
    sources, all if none. share: how many images it sees, of those of the first arm; for equal compute if None.
    aligned: weight of the likeness between the U-Net's middle and SqueezeNet's features of the clean image.
    """

    name: str
    diffusion: str = "flow"
    dropout: float = 0.1
    augmented: bool = True
    told: tuple[str, ...] | None = None
    patch: int = 1
    widths: tuple[int, ...] = (64, 96, 128)
    latents: tuple[int, int] | None = None
    sampled: tuple[tuple[int, float, str], ...] = ((16, 1.0, ""),)
    averages: tuple[float, ...] = (0.998,)
    people: float = 1.0
    sources: tuple[int, ...] = ()
    share: float | None = None
    aligned: float = 0.0

    @property
    def factor(self) -> int:
        return self.latents[1] if self.latents else EIGHTH


GUIDANCES = ((16, 1.0, ""), (16, 1.5, ""), (16, 2.0, ""), (16, 3.0, ""))
ARMS = (
    Arm("as shipped", sampled=GUIDANCES, averages=(0.0, 0.9, 0.99, 0.998)),
    Arm("the paper's DDPM, noise prediction", diffusion="ddpm", sampled=((16, 1.0, ""), (250, 1.0, "ddpm"))),
    Arm("without augmentation", augmented=False),
    Arm("without dropout", dropout=0.0),
    Arm("dropout .2", dropout=0.2),
    Arm("told the modality alone", told=()),
    Arm("told modality and plane", told=("plane",)),
    Arm("patches of 2×2, same network, more images", patch=2),
    Arm("patches of 2×2, twice as wide", patch=2, widths=(128, 192, 256)),
    Arm("4 channels at 1/8", latents=(4, EIGHTH)),
    Arm("8 channels at 1/8", latents=(8, EIGHTH)),
    Arm("16 channels at 1/8", latents=(16, EIGHTH)),
    Arm("32 channels at 1/16, more images", latents=(32, SIXTEENTH)),
    Arm("as shipped, one judgement"),
    Arm("half of the people", people=1 / 2),
    Arm("a quarter of the people", people=1 / 4),
    Arm("a sixteenth of the people", people=1 / 16),
    Arm("the paper's count of images", sources=(1, 3)),
    Arm("middle aligned with SqueezeNet's features", aligned=0.5),
    Arm("a bad guide: a quarter of the width, a sixteenth of the images", widths=(16, 32, 32), share=1 / 16),
)
"""The sources are numbered as the import names them: brain-mri, brain-mri-more, head-ct, head-ct-more."""


class Patched(nn.Module):
    """A U-Net on patches of the latents: a quarter of the places, four times the channels."""

    def __init__(self, unet: nn.Module, patch: int) -> None:
        super().__init__()
        self.unet, self.patch, self.config = unet, patch, unet.config

    def forward(self, x: Tensor, *told: Tensor, **options: Any) -> tuple[Tensor]:
        return (pixel_shuffle(self.unet(pixel_unshuffle(x, self.patch), *told, **options)[0], self.patch),)


class Coarse(Reconstruction):
    """An autoencoder of 1/16 under the package's training, which draws the noise of latents of 1/8."""

    def forward(self, x: Tensor, noise: Tensor | None = None, scale: float = 1.0) -> Tensor:
        return super().forward(x, noise if noise is None else noise[..., ::2, ::2], scale)


class CoarseDiffusion(LatentDiffusion):
    """A model on latents of 1/16."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return int(self.autoencoder.config["latent_channels"]), self.size // SIXTEENTH, self.size // SIXTEENTH


def autoencoder_for(channels: int, factor: int) -> tuple[AutoencoderShape, Reconstruction]:
    """An untrained autoencoder of the shipped one's kind, and the shape that training is told."""
    shape = AutoencoderShape(latent_channels=channels)
    if factor == EIGHTH:
        return shape, Reconstruction(build_autoencoder(shape))
    widths, layers = (*shape.widths, shape.widths[-1]), (0, *[shape.layers] * 4)
    each: dict[str, Any] = {"block_out_channels": widths, "layers_per_block": layers, "qkv_multiscales": ((),) * 5}
    both = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in each.items()}
    return shape, Coarse(AutoencoderDC(in_channels=1, latent_channels=channels, **both))


def learnt_from(arm: Arm, rows: Sequence[Row], train: Sequence[int], seed: int) -> list[int]:
    """The numbers of those training images that the arm learns from; with fewer people come fewer of the same."""
    rng, people = np.random.default_rng(seed), set[str]()
    for modality in sorted({rows[i].modality for i in train}):
        everyone = sorted({rows[i].patient_id for i in train if rows[i].modality == modality})
        people |= {*rng.permutation(everyone)[: max(1, round(arm.people * len(everyone)))].tolist()}
    sources = tuple(f"{number} " for number in arm.sources) or ("",)
    return [i for i in train if rows[i].patient_id in people and rows[i].source.startswith(sources)]


def denoiser_for(arm: Arm, channels: int, side: int, condition_width: int) -> Denoiser:
    """The arm's untrained denoiser for latents of so many channels, `side` × `side`."""
    shape = DenoiserShape(widths=arm.widths, dropout=arm.dropout)
    unet = build_unet(shape, channels * arm.patch**2, side // arm.patch)
    embed = build_embedding(unet, condition_width, augment.WIDTH)
    denoiser = Denoiser(Patched(unet, arm.patch) if arm.patch > 1 else unet, embed)  # type: ignore[arg-type]
    return denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
