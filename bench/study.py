"""The real images of a corpus, measured once, and the figures of any other images against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonybrains.errors import ConfigError
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.features.handcrafted import PLAIN, handcrafted
from phonybrains.evaluation.inputs.patients import patients
from phonybrains.evaluation.inputs.thumbnails import thumbnails
from phonybrains.evaluation.memorisation.registration import CopySearch, Matches
from phonybrains.evaluation.quality.distances import standardise
from phonybrains.held_out import HELD_OUT, held_out
from phonybrains.imageset import ImageSet, Row
from phonybrains.model.latent_diffusion import LatentDiffusion

from . import comparison, grey
from .comparison import Attribute, Figures, Sample
from .networks import Cache, conditions_of, decoded, denoising_losses, encoded

Images = NDArray[np.uint8]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Which split is compared with, and whether the slow figures are left out."""

    split: str = "validation"
    seed: int = 0
    quick: bool = False


class Study:
    """One modality: its training images, its split, and what real images score by the same measures."""

    def __init__(
        self, modality: str, corpus: ImageSet, squeeze: SqueezeNetFeatures, cache: Cache, settings: Settings
    ) -> None:
        self.modality, self.squeeze, self.cache, self.settings = modality, squeeze, cache, settings
        real = corpus.where(modality=modality)
        train = read(real, _numbers(real, "train"))
        self.scale = cache.of("handcrafted-1", [train], plain_features)
        self.train, self.split = self._real(real, "train"), self._real(real, settings.split)

    def _real(self, real: ImageSet, split: str) -> Sample:
        numbers, people = _numbers(real, split), patients(real.rows)
        rows, groups = [real.rows[i] for i in numbers], [people[i] for i in numbers]
        return self.sample(read(real, numbers), rows, groups, cached=True)

    def sample(self, images: Images, rows: Sequence[Row], groups: Sequence[str], cached: bool = False) -> Sample:
        """Images with their features; those of real images are kept in the cache."""
        if cached:
            deep = self.cache.of(self.squeeze.identity.replace(" sha256:", "-"), [images], self.squeeze)
            plain = self.cache.of("handcrafted-1", [images], plain_features)
        else:
            deep, plain = self.squeeze(images), plain_features(images)
        return Sample(images, rows, groups, deep, standardise(plain, self.scale))

    def answers(self, images: Images, rows: Sequence[Row]) -> Sample:
        """Generated images, each counted to the patient of the real image whose place it takes."""
        n = len(self.split)
        people = [self.split.groups[i % n] for i in range(len(rows))]
        return self.sample(images, rows, people if len(rows) % n == 0 else [f"alone {i}" for i in range(len(rows))])

    @cached_property
    def search(self) -> CopySearch:
        return CopySearch(thumbnails(self.train.images))

    def nearest(self, images: Images) -> Matches:
        """The training image most like each."""
        return self.search.nearest(thumbnails(images))

    def threshold(self) -> float:
        """The score against a training image that 1 % of the split's images exceed."""
        both = [self.split.images, self.train.images]
        found = self.cache.of("registration-3", both, lambda images, _: self.nearest(images).score)
        return float(np.quantile(found, 0.99))

    def reference(self, attributes: Sequence[Attribute]) -> Figures:
        """What real images score: training images, and the split itself under a blur."""
        split, seed = self.split, self.settings.seed
        blurred = self.sample(grey.blur(split.images), split.rows, split.groups, cached=True)
        blur = comparison.distances(blurred, split, paired=True) | {"texture": comparison.texture(blurred, split)}
        others = self.train.part(comparison.matched(split.rows, self.train.rows, np.random.default_rng(seed)))
        figures: Figures = {
            "n": len(split),
            "n_train": len(self.train),
            "patients": len({row.patient_id for row in split.rows} - {""}),
            "floor": comparison.floor(self.train, split, seed) | {"texture": comparison.texture(others, split)},
            "blur": blur,
            "attributes": {a.name: a.accuracy(split) for a in attributes},
            "level": grey.level(split.images),
        }
        if not self.settings.quick:
            figures["two_sample"] = comparison.two_sample_null(self.train, split, seed)
            figures["nearest_threshold"] = self.threshold()
        return figures

    def of_model(self, model: LatentDiffusion) -> Figures:
        """What the model does to the split: its reconstructions, and its loss."""
        split, latents = self.split, encoded(model, self.split.images, self.modality)
        made = decoded(model, latents, self.modality)
        sample = self.sample(made, split.rows, split.groups)
        figures = comparison.distances(sample, split, paired=True) | comparison.fidelity(made, split)
        figures["texture"] = comparison.texture(sample, split)
        if not self.settings.quick:
            figures["loss"] = float(denoising_losses(model, latents, conditions_of(model, split.rows)).mean())
        return figures

    def figures(
        self, images: Images, rows: Sequence[Row], attributes: Sequence[Attribute], reference: Figures
    ) -> Figures:
        """Every figure of generated images."""
        made, split = self.answers(images, rows), self.split
        found = comparison.distances(made, split) | {"n": len(made)}
        for (short, name), against in product({"kid": "kid", "fd": "fd_handcrafted"}.items(), ("floor", "blur")):
            found[f"{short}_over_{against}"] = found[name] / reference[against][name]
        found |= {
            "attributes": {a.name: a.accuracy(made) for a in attributes},
            "texture": comparison.texture(made, split),
            "level": grey.level(made.images),
        }
        if not self.settings.quick:
            found["two_sample"] = comparison.two_sample(split, made, self.settings.seed)
            found["nearest"] = comparison.copies(self.nearest(images), reference["nearest_threshold"])
        return found


def plain_features(images: Images) -> NDArray[Any]:
    """The handcrafted features that the figures of the log rest on, (n, 108)."""
    return handcrafted(images)[:, :PLAIN]


def _numbers(real: ImageSet, split: str) -> list[int]:
    numbers = held_out(real.rows, split)
    if split not in HELD_OUT:
        numbers = [i for i, row in enumerate(real.rows) if row.split == split]
    if len(numbers) < 3:
        modality = real.rows[0].modality
        raise ConfigError(f"{real.folder}: only {len(numbers)} {modality} images are in the split '{split}'.")
    return numbers


def read(images: ImageSet, numbers: Sequence[int]) -> Images:
    """The images with these numbers, (n, H, W), in 8 bits."""
    stack = np.stack([images.pixels(i) for i in numbers])
    return (stack >> (images.bits - 8)).astype(np.uint8)


def learn_attributes(studies: Sequence[Study], names: Sequence[str] = ("modality", "plane")) -> list[Attribute]:
    """Classifiers of what every training image says about itself and not all say alike."""
    train: list[Any] = [study.train for study in studies]
    told = [name for name in names if len({row[name] for sample in train for row in sample.rows} - {None, ""}) > 1]
    return [Attribute.learn(name, train) for name in told]
