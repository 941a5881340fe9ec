"""An embedding of the training images, and the prior that learns to draw such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Generator

from ..errors import ConfigError
from ..imageset import ImageSet
from ..model.embedding import ImageEmbedding
from ..networks.condition_dropout import drop
from ..optimising.run import Run
from ..optimising.vectors import VectorTask
from ..wording import count_of
from .config import TrainConfig
from .corpus import Corpus, rows_in
from .latents import Latents

HIDDEN = 16
"""How many times the prior sees each image, with other conditions missing."""


def embed(
    run: Run, corpus: Corpus, latents: Latents, kept: ImageEmbedding | None, config: TrainConfig
) -> tuple[Latents, ImageEmbedding, dict[str, Any]]:
    """The latents with what is told of the embedding of each version, the embedding with its prior, and figures.

    kept: the embedding of a start whose latents stay; its prior learns on.
    """
    device, (train, held) = run.accelerator.device, (corpus.train, corpus.validation)
    of = latents.values[0, train], config.embedding.dim, corpus.conditions.width, config.seed
    embedding = kept or ImageEmbedding.fit(*of)
    told = torch.stack([embedding.of(values) for values in latents.values])
    vectors, shown = told[0, :, :-1], corpus.encoded[train].repeat(HIDDEN, 1)
    shown = drop(shown, corpus.conditions, Generator().manual_seed(config.seed))
    pairs = (vectors[train].repeat(HIDDEN, 1), shown), (vectors[held], corpus.encoded[held])
    task = VectorTask(embedding.prior, *pairs, config.embedding.loop.batch_size, device, "embedding")
    run.follow(task, config.embedding.loop, lambda _: {})
    figures = {"embedding's prior, loss": round(task.validate(task.network), 4)}
    task.network.cpu()
    return replace(latents, embedded=told), embedding, figures


def check_embedding(images: ImageSet, config: TrainConfig) -> None:
    """Raise ConfigError for an embedding of more numbers than these training images can differ in."""
    if config.embedding.told and config.embedding.dim >= (most := len(rows_in(images, "train"))):
        differ = count_of(most, "training image differs", "training images differ")
        raise ConfigError(f"embedding.dim is {config.embedding.dim}: {differ} in {most - 1} at most.")
