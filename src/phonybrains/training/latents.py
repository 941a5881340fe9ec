"""Latents, encoded once and cached: every image as it is and in augmented versions, standardised per modality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from safetensors.torch import load_file
from torch import Generator, Tensor

from ..errors import TrainingError
from ..model.parts import LatentScale
from ..networks.patches import Patches
from ..optimising.cache import keep, take
from .augment import augment, draw_parameters
from .config import DenoiserConfig
from .corpus import Corpus


@dataclass(frozen=True)
class Latents:
    """values: (V, N, C, h, w), version 0 is the image itself; parameters: (V, N, 6) of the augmentation.

    masks: (V, N, MASK_CHANNELS, h, w) in half precision, augmented as their images; None where none are told.
    embedded: (V, N, D + 1), what is told of the embeddings of all; None where none are.
    """

    values: Tensor
    parameters: Tensor
    scale: LatentScale
    masks: Tensor | None = None
    embedded: Tensor | None = None


@torch.no_grad()
def encode_latents(
    autoencoder: AutoencoderDC | Patches,
    corpus: Corpus,
    config: DenoiserConfig,
    seed: int,
    path: Path,
    device: torch.device,
) -> Iterator[int]:
    """Encode all versions of all images into a file, reporting how many are done; nothing to do if it is there, whole.

    Raises TrainingError for latents that are no numbers.
    """
    if take(path):
        return
    n, versions, at_once = len(corpus.pixels), [], 32 if device.type == "cpu" else 256
    chances = [0.0] + [config.augment] * (config.variants - 1)
    rngs = (Generator().manual_seed(seed * 1000 + v) for v in range(config.variants))
    parameters = torch.stack([draw_parameters(n, *drawn) for drawn in zip(chances, rngs, strict=True)])
    masks: list[Tensor] = []
    for v in range(config.variants):
        parts = []
        for rows in torch.arange(n).split(at_once):
            x = augment(corpus.images(rows).to(device), parameters[v, rows].to(device))
            x = x.contiguous(memory_format=torch.channels_last)
            parts.append(autoencoder.encode(x, return_dict=False)[0].half().cpu().contiguous())
            if corpus.masks is not None:
                masks.append(corpus.encoded_masks(rows, parameters[v, rows].to(device)).half().cpu())
            yield v * n + int(rows[-1]) + 1
        versions.append(torch.cat(parts))
    values = torch.stack(versions)
    if not bool(values.isfinite().all()):
        raise TrainingError("autoencoder: its latents are too large. Lower its learning rate, or train it longer.")
    told = {"masks": torch.cat(masks).unflatten(0, (config.variants, n))} if masks else {}
    keep(path, {"values": values, "parameters": parameters.half(), **told})


def load_latents(path: Path, corpus: Corpus, scale: LatentScale | None = None) -> Latents:
    """Read the cache and standardise it, by the statistics of the training images themselves if no scale is given."""
    stored = load_file(path)
    values = stored["values"].float()
    scale = scale or _measure_scale(values, corpus)
    for v in range(len(values)):
        values[v] = scale.standardise(values[v], corpus.modalities)
    return Latents(values, stored["parameters"].float(), scale, stored.get("masks"))


def _measure_scale(values: Tensor, corpus: Corpus) -> LatentScale:
    train, modalities, statistics = set(corpus.train.tolist()), corpus.modalities, {}
    for modality in dict.fromkeys(modalities[i] for i in sorted(train)):
        rows = [i for i in sorted(train) if modalities[i] == modality]
        own = values[0, rows]
        deviation = own.std(dim=(0, 2, 3)).clamp(min=1e-4)
        statistics[modality] = (own.mean(dim=(0, 2, 3)).tolist(), deviation.tolist())
    return LatentScale(statistics)
