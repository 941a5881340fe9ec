"""What filling up a rare value is worth to a classifier of it, on held-out people.

    python -m bench augment corpus/ --balance hemorrhage --labels epidural none --modality CT --factor 3 \\
        --features squeezenet.safetensors

`phonybrains augment` fills up the training images of a corpus; a classifier of features, that of the part utility of
`evaluate`, learns from these, and beside them from the corpus as it is, from it with as many rare images repeated, and
from it with as many classical copies of rare images (mirrored, turned, scaled, shifted, gamma changed), at equal steps.
The AUC (of several labels, the mean of one against the rest) is that of held-out images of both splits, or of those
named; its interval, and that of the gain over the corpus as it is, draw people and seeds again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from phonybrains.editing.augment import augment
from phonybrains.evaluation.arrays import Array
from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.features.extractors import Extractor
from phonybrains.evaluation.features.shards import features_of, pixels_of
from phonybrains.evaluation.inputs.patients import patients
from phonybrains.evaluation.inputs.real import reading_extractor
from phonybrains.evaluation.utility.again import Again
from phonybrains.evaluation.utility.auc_gain import auc_of
from phonybrains.evaluation.utility.classifier import classically_augmented, learn
from phonybrains.held_out import HELD_OUT, held_out
from phonybrains.imageset import ImageSet

from .options import measurement, write_rows
from .timing import machine

REAL, REPEATED, CLASSICAL, DRAWN = "as it is", "rare images repeated", "classical copies of rare images", "augment"


@dataclass(frozen=True)
class Learning:
    """Features and labels 0…K-1 of real training images, of those added by `augment`, and of held-out ones."""

    train: Array
    truth: Array
    copies: Array
    """Features of a classical copy of each of `chosen`."""
    chosen: Array
    """The numbers of real training images that stand for the added ones: as many of each label, at random."""
    drawn: Array
    asked: Array

    def arm(self, name: str) -> tuple[Array, Array]:
        """What a classifier learns from."""
        added = {REPEATED: self.train[self.chosen], CLASSICAL: self.copies, DRAWN: self.drawn}
        if name == REAL:
            return self.train, self.truth
        return np.concatenate([self.train, added[name]]), np.concatenate([self.truth, self.asked])


def measured(
    images: ImageSet, extractor: Extractor, codes: Mapping[int, int], cache: Path, rng: np.random.Generator
) -> Learning:
    """Measure the training images of an augmented set; codes: the label of each image that has one, by its number."""
    train = [i for i in codes if images.rows[i].split == "train"]
    added = [i for i in train if images.rows[i].synthetic]
    real = [i for i in train if not images.rows[i].synthetic]
    truth, asked = (np.array([codes[i] for i in numbers]) for numbers in (real, added))
    chosen = np.array([rng.choice(np.flatnonzero(truth == label)) for label in asked.tolist()])
    copies = classically_augmented(pixels_of(images, [real[i] for i in chosen.tolist()]), rng)
    return Learning(
        features_of(images, real, extractor, cache),
        truth,
        extractor(copies),
        chosen,
        features_of(images, added, extractor, cache),
        asked,
    )


def gains(
    learning: Learning, test: Array, truth: Array, people: Sequence[str], seeds: int, bootstraps: int
) -> Iterator[dict[str, object]]:
    """A row for each arm: its AUC and its gain over the corpus as it is, with their intervals."""
    again = Again.of(people, seeds, bootstraps, np.random.default_rng(0))
    labels = int(learning.truth.max()) + 1
    found = {}
    for name in (REAL, REPEATED, CLASSICAL, DRAWN):
        x, y = learning.arm(name)
        found[name] = auc_of(np.stack([learn(x, y, labels, test, seed) for seed in range(seeds)]), truth, again)
        auc, gain = found[name].estimate(len(truth)), found[name].minus(found[REAL]).estimate(len(truth))
        yield {
            "arm": name,
            "learnt from": len(y),
            "AUC": f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})",
            "gain": f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" if name != REAL else "",
        }


app = measurement(__name__, __doc__)


@app.default
def run(
    corpus: Path,
    /,
    *,
    balance: str,
    modality: str,
    labels: Annotated[tuple[str, ...], Parameter(negative="")],
    model: str = "heads",
    factor: float | None = None,
    steps: int = 4,
    features: Path | None = None,
    splits: Annotated[tuple[str, ...], Parameter(negative="")] = HELD_OUT,
    seeds: int = 10,
    bootstraps: int = 2000,
    work: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure it.

    Args:
        corpus: Image set with the splits.
        balance: The attribute that is filled up, and that the classifier tells.
        modality: Of the images that it learns and tells.
        labels: Values of the attribute; other images are left out.
        model: What draws the added images.
        factor: At most so many times as many images as a value has.
        steps: Sampling steps.
        features: SqueezeNet weights (safetensors, torchvision's names); handcrafted features without.
        splits: Held-out images that are told; nothing is chosen by them.
        seeds: Classifiers of each kind.
        bootstraps: Draws of people.
        work: Folder for the augmented set and features; they are not made again.
        out: CSV file of the table.
    """
    with tempfile.TemporaryDirectory() as fresh:
        folder = work or Path(fresh)
        made = augment(corpus, folder / "augmented", model=model, balance=balance, factor=factor, steps=steps)
        images = ImageSet.open(made).where(modality=modality)
        codes = {i: labels.index(row[balance]) for i, row in enumerate(images.rows) if row[balance] in labels}
        held = [i for i in held_out(images.rows, *splits) if i in codes]
        extractor = reading_extractor(EvaluateConfig(features=features))
        learning = measured(images, extractor, codes, folder / "features", np.random.default_rng(0))
        test, truth = features_of(images, held, extractor, folder / "features"), np.array([codes[i] for i in held])
        people = [patients(images.rows)[i] for i in held]
        who = ", ".join(
            f"{(truth == code).sum()} {label} of {len({p for p, t in zip(people, truth, strict=True) if t == code})}"
            for code, label in enumerate(labels)
        )
        print(f"{modality} {balance}: {len(held)} held-out images of {len(set(people))} people ({who}); {machine()}")
        write_rows(out or folder / "gains.csv", gains(learning, test, truth, people, seeds, bootstraps))
