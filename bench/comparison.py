"""Real and generated images of one modality set side by side: every figure of a model, as plain dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonybrains.evaluation.features.texture import FLAT, NAMES, texture_features
from phonybrains.evaluation.inputs.patients import deal
from phonybrains.evaluation.memorisation.registration import Matches
from phonybrains.evaluation.quality.c2st import logistic
from phonybrains.evaluation.quality.c2st import two_sample as told_apart
from phonybrains.evaluation.quality.distances import frechet_of, kid
from phonybrains.evaluation.quality.texture import aucs, difference
from phonybrains.imageset import Row
from phonybrains.statistics.estimate import Estimate
from phonybrains.statistics.proportions import clopper_pearson

from . import grey

Array = NDArray[Any]
Figures = dict[str, Any]
FOLDS = 5


@dataclass(frozen=True)
class Sample:
    """Images of one modality (n, H, W) uint8, their rows, who they show, deep (n, 512) and plain (n, 108) features."""

    images: Array
    rows: Sequence[Row]
    groups: Sequence[str]
    deep: Array
    plain: Array

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, chosen: Sequence[int] | range) -> Sample:
        """The images with these numbers."""
        which = list(chosen)
        rows, groups = [self.rows[i] for i in which], [self.groups[i] for i in which]
        return Sample(self.images[which], rows, groups, self.deep[which], self.plain[which])

    def rounds(self, n: int) -> list[Sample]:
        """A sample of several images for each of n rows, in parts of one image for each; the whole if it is none."""
        if len(self) % n:
            return [self]
        return [self.part(range(start, start + n)) for start in range(0, len(self), n)]


def composition(row: Row) -> tuple[Any, ...]:
    """What a sample is matched by: plane, diagnosis, whether there is a hemorrhage."""
    return row["plane"], row["diagnosis"], row["hemorrhage"] not in (None, "", "none")


def matched(wanted: Sequence[Row], stock: Sequence[Row], rng: np.random.Generator) -> list[int]:
    """Numbers of random images in stock, none twice, composed like those wanted; any image where a kind runs out."""
    kinds: dict[Any, list[int]] = defaultdict(list)
    for i in rng.permutation(len(stock)).tolist():
        kinds[composition(stock[i])].append(i)
    chosen = [kinds[kind].pop() for kind in map(composition, wanted) if kinds[kind]]
    rest = [i for kind in kinds.values() for i in kind]
    return chosen + rng.permutation(rest)[: len(wanted) - len(chosen)].tolist()


def distances(sample: Sample, real: Sample, paired: bool = False) -> Figures:
    """KID and Fréchet distance of a sample from real images; the latter at the real images' number.

    paired: the sample was made from the real images themselves.
    """
    value, error = kid(sample.deep, real.deep, paired)
    rounds = [frechet_of(part.plain, real.plain) for part in sample.rounds(len(real))]
    return {"kid": value, "kid_error": error, "fd_handcrafted": float(np.mean(rounds))}


def floor(train: Sample, split: Sample, seed: int, draws: int = 20) -> Figures:
    """The distances of training images composed like the split: mean and deviation over random draws."""
    found = [
        distances(train.part(matched(split.rows, train.rows, np.random.default_rng([seed, i]))), split)
        for i in range(draws)
    ]
    return _mean_and_deviation(found, ("kid", "fd_handcrafted")) | {"draws": draws}


def two_sample(split: Sample, made: Sample, seed: int) -> Figures:
    """How well a classifier tells generated images from those of the split; a patient's are in one fold."""
    made, rng = made.rounds(len(split))[0], np.random.default_rng(seed)
    folds = deal(split.groups, FOLDS, rng)
    if len(made) != len(split):
        return _told_apart(split.deep, made.deep, folds, rng.integers(folds.max() + 1, size=len(made)))
    return _told_apart(split.deep, made.deep, folds, folds)


def two_sample_null(train: Sample, split: Sample, seed: int, draws: int = 10) -> Figures:
    """How well it tells training images, composed like the split, from those of the split; over random draws."""
    found = []
    for i in range(draws):
        rng = np.random.default_rng([seed, i])
        folds = deal(split.groups, FOLDS, rng)
        stock = _deal_by_kind(train, folds.max() + 1, rng)
        chosen, places = [], []
        for fold in range(folds.max() + 1):
            own = np.flatnonzero(stock == fold).tolist()
            wanted = [split.rows[k] for k in np.flatnonzero(folds == fold).tolist()]
            drawn = [own[k] for k in matched(wanted, [train.rows[k] for k in own], rng)]
            chosen += drawn
            places += [fold] * len(drawn)
        found.append(_told_apart(split.deep, train.deep[chosen], folds, np.array(places)))
    return _mean_and_deviation(found, ("accuracy", "auc")) | {"draws": draws}


def _told_apart(real: Array, made: Array, folds_real: Array, folds_made: Array) -> Figures:
    """Cross-validated accuracy and AUC with intervals that take predictions for independent."""
    found = told_apart(real, made, folds_real, folds_made)
    accuracy = clopper_pearson(round(found.share * found.n), found.n)
    shares = {"accuracy": found.share, "accuracy_interval": _interval(accuracy)}
    return (
        {"n": found.n, "folds": found.folds} | shares | {"auc": found.auc.value, "auc_interval": _interval(found.auc)}
    )


def _interval(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high]


def _deal_by_kind(sample: Sample, folds: int, rng: np.random.Generator) -> Array:
    """The fold of each image, (n,): a patient's are in one, and the patients of each kind are shared out evenly."""
    kinds: dict[str, Counter[Any]] = defaultdict(Counter)
    for group, row in zip(sample.groups, sample.rows, strict=True):
        kinds[group][composition(row)] += 1
    shuffled = rng.permutation(sorted(kinds)).tolist()
    order = sorted(shuffled, key=lambda group: str(kinds[group].most_common(1)[0][0]))
    place = {group: i % folds for i, group in enumerate(order)}
    return np.array([place[group] for group in sample.groups])


def _mean_and_deviation(found: Sequence[Figures], names: Sequence[str]) -> Figures:
    result: Figures = {}
    for name in names:
        values = [f[name] for f in found]
        result |= {name: float(np.mean(values)), f"{name}_deviation": float(np.std(values, ddof=1))}
    return result


@dataclass(frozen=True)
class Attribute:
    """A classifier that reads an attribute off an image's deep features."""

    name: str
    classifier: Any

    @classmethod
    def learn(cls, name: str, train: Sequence[Sample]) -> Attribute:
        deep = np.concatenate([sample.deep for sample in train])
        labels = [str(row[name]) for sample in train for row in sample.rows]
        return cls(name, logistic(0.1).fit(deep, labels))

    def accuracy(self, sample: Sample) -> Figures:
        """Share of images that show what their row says: over all, and for each label."""
        truth = [str(row[self.name]) for row in sample.rows]
        right = self.classifier.predict(sample.deep) == np.array(truth)
        counts = Counter(truth)
        hits = Counter(label for label, hit in zip(truth, right, strict=True) if hit)
        return {
            "n": len(sample),
            "accuracy": float(right.mean()),
            "interval": _interval(clopper_pearson(int(right.sum()), len(sample))),
            "labels": {label: hits[label] / n for label, n in sorted(counts.items())},
        }


def copies(found: Matches, threshold: float) -> Figures:
    """Which images come closer to a training image than 99 % of unseen real images do."""
    above = np.flatnonzero(found.score > threshold)
    return {
        "threshold": threshold,
        "above": len(above),
        "indices": above.tolist(),
        "median": float(np.median(found.score)),
        "highest": float(found.score.max()),
        "score": found.score.tolist(),
        "training_index": found.index.tolist(),
    }


def texture(sample: Sample, split: Sample) -> Figures:
    """What a ruler tells: power over that of the split in dB by ring, and the largest deviation; the shares of flat
    blocks; the single feature of which the AUC lies farthest from ½, and that AUC."""
    made, real = texture_features(sample.images), texture_features(split.images)
    apart, areas = difference(made, real), aucs(made, real)
    worst = int(np.abs(areas - 0.5).argmax())
    flat = [float(side[:, NAMES.index(FLAT)].mean()) for side in (made, real)]
    return {
        "db": apart.tolist(),
        "worst_db": float(np.abs(apart).max()),
        "flat_blocks": flat[0],
        "flat_blocks_real": flat[1],
        "worst_feature": NAMES[worst],
        "worst_auc": float(0.5 + abs(areas[worst] - 0.5)),
    }


def fidelity(made: Array, split: Sample) -> Figures:
    """PSNR (dB) and SSIM of reconstructions, averaged over the images."""
    return {"psnr_db": float(grey.psnr(made, split.images).mean()), "ssim": float(grey.ssim(made, split.images).mean())}
