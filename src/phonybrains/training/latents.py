"""Latents, encoded once and cached: images as they are and in augmented versions, standardised per modality."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    Values and masks of rows other than `rows_encoded` says are NaN.
    masks: (V, N, MASK_CHANNELS, h, w) in half precision, augmented as their images; None where none are told.
    embedded: (V, N, D + 1), what is told of the embeddings of all; None where none are.
    """

    values: Tensor
    parameters: Tensor
    scale: LatentScale
    masks: Tensor | None = None
    embedded: Tensor | None = None


def rows_encoded(corpus: Corpus, variants: int) -> list[Tensor]:
    """The row numbers that each version is encoded of: images are learnt from in all versions, validated on as is."""
    return [torch.cat([corpus.train, corpus.validation]).unique(), *[corpus.train] * (variants - 1)]


@torch.no_grad()
def encode_latents(
    autoencoder: AutoencoderDC | Patches,
    corpus: Corpus,
    config: DenoiserConfig,
    seed: int,
    path: Path,
    device: torch.device,
) -> Iterator[int]:
    """Encode what is learnt from or validated on into a file, reporting how many are done; nothing if it is there.

    All other rows stay NaN, so that they cannot be learnt from unseen; parameters are drawn for them too, so that those
    of a row do not depend on the splits. The pieces lie beside the file until all are there, so that a stop costs no
    more than one of them.

    Raises TrainingError for latents that are no numbers.
    """
    if take(path):
        return
    n, at_once, done = len(corpus.pixels), 32 if device.type == "cpu" else 256, 0
    chances = [0.0] + [config.augment] * (config.variants - 1)
    rngs = (Generator().manual_seed(seed * 1000 + v) for v in range(config.variants))
    parameters = torch.stack([draw_parameters(n, *drawn) for drawn in zip(chances, rngs, strict=True)])
    pieces = [
        (v, rows, path.with_name(f"{path.stem}-{v}-{int(rows[0])}{path.suffix}"))
        for v, wanted in enumerate(rows_encoded(corpus, config.variants))
        for rows in wanted.split(PIECE * at_once)
    ]
    for v, rows, piece in pieces:
        facts = {"rows": str(rows.tolist())}
        kept = take(piece)
        if kept and kept[1] == facts:
            done += len(rows)
            continue
        parts = list[dict[str, Tensor]]()
        for batch in rows.split(at_once):
            parts.append(_encode(autoencoder, corpus, batch, parameters[v, batch].to(device)))
            done += len(batch)
            yield done
        keep(piece, {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, facts)
    keep(path, _gathered(pieces, config.variants, n) | {"parameters": parameters.half()})
    for *_, piece in pieces:
        piece.unlink()


def _gathered(pieces: Sequence[tuple[int, Tensor, Path]], variants: int, n: int) -> dict[str, Tensor]:
    """What lies in the pieces, each of some rows of a version, as (V, N, …)."""
    whole = dict[str, Tensor]()
    for v, rows, piece in pieces:
        stored = load_file(piece)
        if not bool(stored["values"].isfinite().all()):
            raise TrainingError("autoencoder: its latents are too large. Lower its learning rate, or train it longer.")
        for name, values in stored.items():
            if name not in whole:
                whole[name] = values.new_full((variants, n, *values.shape[1:]), torch.nan)
            whole[name][v, rows] = values
    return whole


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
