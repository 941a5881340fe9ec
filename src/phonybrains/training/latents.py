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

PIECE = 8
"""Batches that are kept together: half a minute of two cores."""


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

    The pieces lie beside it until all are there, so that a stop costs no more than one of them.

    Raises TrainingError for latents that are no numbers.
    """
    if take(path):
        return
    n, at_once, pieces = len(corpus.pixels), 32 if device.type == "cpu" else 256, []
    chances = [0.0] + [config.augment] * (config.variants - 1)
    rngs = (Generator().manual_seed(seed * 1000 + v) for v in range(config.variants))
    parameters = torch.stack([draw_parameters(n, *drawn) for drawn in zip(chances, rngs, strict=True)])
    for v in range(config.variants):
        for piece in torch.arange(n).split(PIECE * at_once):
            pieces.append(path.with_name(f"{path.stem}-{v}-{int(piece[0])}{path.suffix}"))
            parts = []
            for rows in () if take(pieces[-1]) else piece.split(at_once):
                parts.append(_encode(autoencoder, corpus, rows, parameters[v, rows].to(device)))
                yield v * n + int(rows[-1]) + 1
            if parts:
                keep(pieces[-1], {name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    stored = [load_file(piece) for piece in pieces]
    whole = {name: torch.cat([one[name] for one in stored]).unflatten(0, (-1, n)) for name in stored[0]}
    if not bool(whole["values"].isfinite().all()):
        raise TrainingError("autoencoder: its latents are too large. Lower its learning rate, or train it longer.")
    keep(path, whole | {"parameters": parameters.half()})
    for piece in pieces:
        piece.unlink()


def _encode(
    autoencoder: AutoencoderDC | Patches, corpus: Corpus, rows: Tensor, parameters: Tensor
) -> dict[str, Tensor]:
    """What is kept of one version of some images."""
    x = augment(corpus.images(rows).to(parameters.device), parameters).contiguous(memory_format=torch.channels_last)
    found = {"values": autoencoder.encode(x, return_dict=False)[0].half().cpu().contiguous()}
    if corpus.masks is not None:
        found["masks"] = corpus.encoded_masks(rows, parameters).half().cpu()
    return found


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
