"""Training a classifier of the model's own noisy latents, for classifier guidance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from ..errors import ConfigError, TrainingError
from ..imageset import Row
from ..networks.conditions import Category, Conditions, class_of, near
from .denoiser import DenoiserTask


@dataclass
class ClassifierTask(DenoiserTask):
    """The classifier on noisy latents, at the times and with the versions of images that the denoiser learns from.

    classes: (N,) that of each image, -1 where it is not known: of those nothing is learnt.
    """

    name: str = "classifier"
    classes: Tensor = field(kw_only=True)

    def __post_init__(self) -> None:
        train, held = (rows[self.classes[rows] >= 0] for rows in (self.corpus.train, self.corpus.validation))
        self.corpus = replace(self.corpus, train=train, validation=held if len(held) else train)
        super().__post_init__()
        self.classes = self.classes.to(self.device)

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        rows, version, t, local = self.examples(rng, share)
        return cross_entropy(self.logits(network, self.values[version, rows], t, local), self.classes[rows])

    def plain_errors(self, network: nn.Module, rows: Tensor, t: Tensor, rng: Generator) -> Tensor:
        logits = self.logits(network, self.values[0, rows], t, rng)
        return cross_entropy(logits, self.classes[rows], reduction="none")

    def logits(self, network: nn.Module, x_0: Tensor, t: Tensor, rng: Generator) -> Tensor:
        """What it makes of x_0 covered by noise, (B, classes) float32."""
        process = self.chain.process
        return network(self.noisy(x_0, t, rng)[1], process.fraction(t), process.signal(t)).float()

    @torch.no_grad()
    def right(self, network: nn.Module) -> dict[str, float]:
        """The share of validation images, as they are, whose class it tells: near images, halfway, near noise."""
        found, rows, rng = {}, self.corpus.validation.to(self.device), Generator(self.device).manual_seed(2)
        for fraction in (0.1, 0.5, 0.9):
            t = self.chain.time(fraction).to(self.device).expand(len(rows))
            told = self.logits(network, self.values[0, rows], t, rng).argmax(1)
            found[f"right at {fraction}"] = round((told == self.classes[rows]).double().mean().item(), 4)
        return found


def classes_in(rows: Sequence[Row], attribute: str, conditions: Conditions) -> list[str]:
    """The classes that training images have. Raises ConfigError or TrainingError where there is nothing to tell."""
    known = [a.name for a in conditions.attributes if isinstance(a, Category)]
    if attribute not in known:
        why = f"'{attribute}' is not one of the conditions that have labels."
        raise ConfigError(f"classifier.attribute: {why} Name it with --conditions too.{near(attribute, known)}")
    found = sorted({name for row in rows if (name := class_of(row[attribute]))})
    if len(found) < 2:
        only = f"all that have a {attribute} have {found[0]}" if found else f"none has a {attribute}"
        raise TrainingError(f"classifier.attribute: of the training images {only}, so there is nothing to tell apart.")
    return found
