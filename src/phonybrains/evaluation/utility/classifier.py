"""A small classifier learnt with and without synthetic images: what is in each arm, at equal steps."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from ..arrays import Array

REAL, SYNTHETIC = "real", "synthetic only"
MIXED = {"real + synthetic 1:1": 1, "real + synthetic 1:2": 2}
AUGMENTED, OVERSAMPLED = "real + classical augmentation", "real, oversampled"
ARMS = (REAL, SYNTHETIC, *MIXED, AUGMENTED, OVERSAMPLED)
STEPS, BATCH, WIDTH = 300, 64, 32


@dataclass(frozen=True)
class ClassifierData:
    """Features (n, d), labels 0…K-1 (n,) and people of real training images, and the same of what may be added.

    `augmented`: (n, d), a classically augmented copy of each training image. `synthetic` and `asked`: generated images
    and the labels they were asked to show. `test`: (m, d), images of other people.
    """

    train: Array
    truth: Array
    people: Sequence[str]
    augmented: Array
    synthetic: Array
    asked: Array
    test: Array
    labels: int


def classically_augmented(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of each image (n, H, W): mirrored or not, turned up to 10°, scaled by a tenth, shifted, gamma changed."""
    copies = np.empty_like(images)
    for i, image in enumerate(images):
        angle, scale = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.9, 1.1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = (np.array(image.shape) - 1) / 2
        shift = centre - turn @ centre + rng.uniform(-0.04, 0.04, 2) * image.shape
        source = image[:, ::-1] if rng.random() < 0.5 else image
        moved = affine_transform(source.astype(np.float32), turn, shift, order=1, mode="nearest")  # pyright: ignore[reportArgumentType]
        copies[i] = np.rint(255 * (moved.clip(0, 255) / 255) ** np.exp(rng.uniform(-0.2, 0.2))).astype(np.uint8)
    return copies


def share_of_people(data: ClassifierData, share: float, rng: np.random.Generator) -> Array:
    """Numbers of the images of random people, with the given share of all training images; every label takes turns."""
    if share >= 1:
        return np.arange(len(data.truth))
    by_person: dict[str, list[int]] = defaultdict(list)
    for i, who in enumerate(data.people):
        by_person[who].append(i)
    queues: dict[int, list[str]] = defaultdict(list)
    for who in rng.permutation(sorted(by_person)).tolist():
        queues[int(np.bincount(data.truth[by_person[who]]).argmax())].append(who)
    counts = {label: sum(len(by_person[who]) for who in queue) for label, queue in queues.items()}
    chosen: list[int] = []
    for label, queue in sorted(queues.items()):
        taken: list[int] = []
        for who in queue:
            if len(taken) < share * counts[label]:
                taken += by_person[who]
        chosen += taken
    return np.sort(np.array(chosen, dtype=int))


def pool(data: ClassifierData, arm: str, real: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The features and labels an arm learns from; `real`: the numbers of the real images it may use.

    Fewer synthetic images than an arm asks for are all taken. Raises ValueError where fewer than two labels are left.
    """
    x, y = data.train[real], data.truth[real]
    if arm == SYNTHETIC:
        x, y = data.synthetic, data.asked
    elif arm in MIXED:
        chosen = rng.permutation(len(data.asked))[: MIXED[arm] * len(real)]
        x, y = np.concatenate([x, data.synthetic[chosen]]), np.concatenate([y, data.asked[chosen]])
    elif arm == AUGMENTED:
        x, y = np.concatenate([x, data.augmented[real]]), np.concatenate([y, y])
    elif arm == OVERSAMPLED:
        most = np.bincount(y).max()
        again = np.concatenate([rng.choice(np.flatnonzero(y == label), most) for label in np.unique(y)])
        x, y = x[again], y[again]
    if len(np.unique(y)) < 2:
        raise ValueError(f"'{arm}' would learn from one label only")
    return x, y


def learn(x: Array, y: Array, labels: int, test: Array, seed: int) -> Array:
    """Probabilities, (m, K), of test images by one hidden layer, after STEPS steps of BATCH images whatever n is.

    All n images take turns in random order, over and over: one epoch of the sequence that this makes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3 * max(float(np.abs(x).max()), 1e-6))
    x, test = (((side - mean) / spread).clip(-8, 8).astype(np.float32) for side in (x, test))
    rng = np.random.default_rng([seed, 71])
    turns = np.concatenate([rng.permutation(len(x)) for _ in range(-(-STEPS * BATCH // len(x)))])[: STEPS * BATCH]
    schedule: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "max_iter": 1}
    model = MLPClassifier((WIDTH,), alpha=1e-2, learning_rate_init=3e-3, random_state=seed, **schedule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is meant
        model.fit(x[turns], y[turns])
    found = np.zeros((len(test), labels))
    found[:, model.classes_] = np.asarray(model.predict_proba(test))
    return found
