"""The real images of one modality as a yardstick: features, people, and what can be read off an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...held_out import held_out, split_to_compare
from ...imageset import ImageSet, Row
from ..arrays import Array
from ..config import EvaluateConfig
from ..features.extractors import Extractor, extractors_of
from ..features.shards import features_of
from ..score import Progress, silent
from .labels import WORST_RATE, LabelClassifier, Scale, telling
from .patients import patients, some_people
from .sets import attributes_of, part_of

MOST = 4000
"""At most so many real images of a modality are read, whole people at random."""


def finite_features(images: ImageSet, extractor: Extractor, folder: Path | None, progress: Progress) -> Array:
    """Features of all images of a set, (n, width) float64; what is not finite counts as 0. Kept in `folder`."""
    found = features_of(images, range(len(images)), extractor, folder, progress)
    return np.nan_to_num(found.astype(np.float64), posinf=0, neginf=0)


def reading_extractor(config: EvaluateConfig) -> Extractor:
    """What labels are read from: SqueezeNet's features where its weights are given, else the handcrafted ones."""
    found = {extractor.name: extractor for extractor in extractors_of(config).found}
    return found.get("squeezenet1_1", found["handcrafted"])


@dataclass
class Real:
    """Real images of one modality, who they show, their features, and classifiers of their attributes, once learnt."""

    images: ImageSet
    people: list[str]
    features: Array
    seed: int = 0
    learnt: dict[str, Readable | ValueError] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        corpus: ImageSet,
        modality: str,
        extractor: Extractor,
        seed: int = 0,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> Real:
        """Measure the real images of a modality, MOST at the most."""
        images = corpus.where(modality=modality)
        people = patients(images.rows)
        if len(people) > MOST:
            chosen = some_people(people, range(len(people)), MOST, np.random.default_rng([seed, 7]))
            images, people = part_of(images, chosen), [people[i] for i in chosen]
        return cls(images, people, finite_features(images, extractor, folder, progress), seed)

    @property
    def rows(self) -> Sequence[Row]:
        return self.images.rows

    def numbers(self, *splits: str) -> list[int]:
        """The numbers of the images in these splits."""
        return [i for i, row in enumerate(self.rows) if row.split in splits]

    @property
    def taught(self) -> list[int]:
        """The numbers of the images that the model learnt from; all where the corpus has no training split."""
        return self.numbers("train") or list(range(len(self.rows)))

    @property
    def training(self) -> list[Row]:
        """The rows the model learnt from."""
        return [self.rows[i] for i in self.taught]

    def readable(self, attribute: str) -> Readable:
        """The classifier of an attribute. Raises ValueError, with the reason, where there can be none."""
        if attribute not in self.learnt:
            try:
                self.learnt[attribute] = self._learn(attribute)
            except ValueError as error:
                self.learnt[attribute] = error
        found = self.learnt[attribute]
        if isinstance(found, ValueError):
            raise found
        return found

    def _learn(self, attribute: str) -> Readable:
        """Learn to read an attribute; where its labels cannot be told apart but one is "none", "none" or "any" of them.

        Labels that fewer than two people have are left out.
        """
        scale = Scale.of(attribute, self.rows)
        if "none" not in scale.names or len(scale.names) < 3:
            return self._learn_labels(scale)
        with suppress(ValueError):
            found = self._learn_labels(scale)
            if telling(found.reader.confusion) >= WORST_RATE:
                return found
        return self._learn_labels(Scale(attribute, ("any", "none"), only_any=True))

    def _learn_labels(self, scale: Scale) -> Readable:
        who = defaultdict[str, set[str]](set)
        for label, person in zip(scale.labels(self.rows), self.people, strict=True):
            who[label].add(person)
        names = tuple(name for name in scale.names if len(who[name]) >= 2)
        if len(names) < 2:
            raise ValueError(f"fewer than two labels of '{scale.attribute}' are held by two people or more")
        scale = replace(scale, names=names)
        codes = scale.codes(self.rows)
        kept = np.flatnonzero(codes >= 0)
        reader = LabelClassifier.learn(self.features[kept], codes[kept], [self.people[i] for i in kept], self.seed)
        training = scale.codes(self.training)
        counts = np.bincount(training[training >= 0], minlength=len(names))
        return Readable(scale, reader, kept, counts / max(counts.sum(), 1))


@dataclass(frozen=True)
class Readable:
    """An attribute that can be read: its labels, its classifier, the images that taught it, the training shares."""

    scale: Scale
    reader: LabelClassifier
    kept: Array
    training: Array


@dataclass(frozen=True)
class Compared:
    """Generated images of one modality beside the real ones; `reference`: the held-out split that they are compared to.

    `extractor` made the features of both.
    """

    made: ImageSet
    features: Array
    real: Real
    reference: list[int]
    versus: str
    attributes: list[str]
    extractor: Extractor
    config: EvaluateConfig

    @classmethod
    def of(
        cls,
        made: ImageSet,
        corpus: ImageSet,
        extractor: Extractor,
        config: EvaluateConfig,
        folder: Path | None = None,
        progress: Progress = silent,
    ) -> Compared:
        """Measure both sides."""
        real = Real.of(corpus, made.rows[0].modality, extractor, config.seed, folder, progress)
        versus = split_to_compare(real.rows, config.held_out)
        reference = held_out(real.rows, versus) if versus else real.taught
        features = finite_features(made, extractor, folder, progress)
        attributes = attributes_of(made, real.images, config)
        return cls(made, features, real, reference, versus or "train", attributes, extractor, config)

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers of their own for each purpose, whatever else is measured."""
        return np.random.default_rng([self.config.seed, purpose])


def modalities_of(images: ImageSet) -> Iterator[tuple[str, ImageSet]]:
    """Each modality of a set with its images, MR before CT."""
    for modality in sorted({row.modality for row in images.rows}, reverse=True):
        yield modality, images.where(modality=modality)
