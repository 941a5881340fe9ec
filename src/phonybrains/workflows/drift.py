"""How far one generation of images has drifted from the real ones: what the cascade measures of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.bias.composition import asked_shares, found_shares
from ..evaluation.bias.noise import measure
from ..evaluation.config import EvaluateConfig
from ..evaluation.features.extractors import Extractor
from ..evaluation.features.shards import pixels_of
from ..evaluation.inputs.patients import patients
from ..evaluation.inputs.real import Real, finite_features, modalities_of, reading_extractor
from ..evaluation.quality.distances import kid, kid_interval, standardise
from ..evaluation.quality.diversity import ms_ssim, random_pairs
from ..evaluation.score import Score, silent, unavailable
from ..imageset import ImageSet
from ..statistics.estimate import Estimate
from ..wording import count_of

Array = NDArray[Any]
PAIRS = 100


@dataclass
class Yardstick:
    """The real images of a corpus, measured once, by modality."""

    real: dict[str, Real]
    extractor: Extractor
    attributes: Sequence[str]
    seed: int

    @classmethod
    def of(cls, corpus: ImageSet, attributes: Sequence[str], seed: int = 0) -> Yardstick:
        """Measure the real images with handcrafted features."""
        extractor = reading_extractor(EvaluateConfig())
        real = {modality: Real.of(corpus, modality, extractor, seed) for modality, _ in modalities_of(corpus)}
        return cls(real, extractor, attributes, seed)

    def scores(self, images: ImageSet) -> list[Score]:
        """Shares of labels, KID, diversity and noise of one generation, against the real training images."""
        found: list[Score] = []
        for modality, part in modalities_of(images):
            if modality in self.real:
                features = finite_features(part, self.extractor, None, silent)
                real = self.real[modality]
                scores = chain(self._shares(part, features, real), self._distances(part, features, real), _noise(part))
                found += [replace(score, modality=modality) for score in scores]
        return found

    def _shares(self, part: ImageSet, features: Array, real: Real) -> Iterator[Score]:
        told = [name for name in self.attributes if len({row[name] for row in real.rows} - {None, ""}) > 1]
        for attribute in told:
            try:
                known = real.readable(attribute)
                names = known.scale.names
                asked = asked_shares(known.scale.labels(part.rows), known.scale.labels(real.training), names)
                yield from (Score.of("share_asked", one.share, group=f"{attribute}={one.label}") for one in asked)
                rng, votes = np.random.default_rng([self.seed, 11]), known.reader.votes(features)
                for one in found_shares(known.reader.confusion, votes, known.training, names, rng):
                    where = {"group": f"{attribute}={one.label}", "extractor": self.extractor.identity}
                    yield Score.of("share_found", one.share, **where)
            except ValueError as error:
                yield unavailable("share_found", str(error), group=attribute)

    def _distances(self, part: ImageSet, features: Array, real: Real) -> Iterator[Score]:
        reference = real.features[real.taught]
        if min(len(features), len(reference)) < 3:
            yield unavailable("kid", f"only {count_of(len(features), 'image')}")
            return
        made, taught = standardise(features, reference), standardise(reference, reference)
        people = [real.people[i] for i in real.taught]
        value, error = kid(made, taught, people=people)
        own = kid_interval(value, error, len(made), people)
        where = {"n": len(made), "versus": "train", "extractor": self.extractor.identity}
        yield Score("kid", value, own and own.low, own and own.high, **where)
        yield _spread(made, taught)
        yield _likeness(part, np.random.default_rng([self.seed, 13]))


def _within(value: float, error: float, n: int) -> Estimate:
    """A mean with its 95 % interval."""
    return Estimate(float(value), float(value - 1.96 * error), float(value + 1.96 * error), n)


def _mean(values: Array) -> Estimate:
    return _within(values.mean(), values.std(ddof=1) / np.sqrt(len(values)), len(values))


def _spread(made: Array, real: Array) -> Score:
    """The variance of all features over that of real ones: below 1, images have become alike."""
    of_made, of_real = (((side - side.mean(axis=0)) ** 2).mean(axis=1) for side in (made, real))
    value = of_made.mean() / of_real.mean()
    error = value * np.hypot(*(x.std(ddof=1) / np.sqrt(len(x)) / x.mean() for x in (of_made, of_real)))
    note = "variance of the features over that of the training images"
    return Score.of("diversity", _within(value, error, len(made)), versus="train", note=note)


def _likeness(part: ImageSet, rng: np.random.Generator) -> Score:
    """MS-SSIM of random pairs of other people: nears 1 as images become alike."""
    people = patients(part.rows) if part.rows[0].patient_id else list(map(str, range(len(part))))
    pairs = random_pairs(people, PAIRS, rng)
    if len(pairs) < 3:
        return unavailable("ms_ssim_diversity", f"only {count_of(len(part), 'image')}")
    found = ms_ssim(*(pixels_of(part, [pair[side] for pair in pairs]) for side in (0, 1)))
    return Score.of("ms_ssim_diversity", _mean(found), note=f"{len(pairs)} random pairs")


def _noise(part: ImageSet) -> Iterator[Score]:
    for name, values in measure(part, range(len(part))).items():
        values = values[np.isfinite(values)]
        if len(values) < 5:
            yield unavailable(name, f"measured: only {count_of(len(values), 'image')}")
        else:
            yield Score.of(name, _mean(values))
