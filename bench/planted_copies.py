"""Does the memorisation audit find copies? Training images are edited and planted, and the search is asked for them.

    python bench/planted_copies.py corpus/ --out planted.json

Per modality: the share of planted copies above the threshold that 1 % of held-out images exceed, and that of the
training image named rightly; how many images of unseen patients the threshold of other unseen patients flags; how often
k copies among 95 fail the audit; and the time for an image.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import App, Parameter
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from phonybrains.evaluation.copies import LEVEL
from phonybrains.evaluation.exceedance import audit_p, calibrate
from phonybrains.evaluation.groups import deal, patients
from phonybrains.evaluation.registration import CopySearch
from phonybrains.evaluation.thumbnails import thumbnails
from phonybrains.imageset import ImageSet
from study import read

Array = NDArray[Any]
Edit = Callable[[Array, Generator, Array], Array]
app = App(help=__doc__, help_format="plaintext", result_action="return_value")


def moved(image: Array, degrees: float = 0, scale: float = 1, down: float = 0, right: float = 0) -> Array:
    """An image turned, scaled and shifted (pixels of 256) about its middle."""
    angle, middle, pixel = math.radians(degrees), (np.array(image.shape) - 1) / 2, len(image) / 256
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / scale
    offset = middle - matrix @ (middle + np.array([down, right]) * pixel)
    return affine_transform(image, matrix, offset, order=1, mode="nearest")  # type: ignore[arg-type]


def _noise(x: Array, rng: Generator, _other: Array) -> Array:
    return x + rng.normal(0, 10, x.shape)


def _blur(x: Array, _rng: Generator, _other: Array) -> Array:
    return gaussian_filter(x, 1.5 * len(x) / 256)


def _gamma(x: Array, rng: Generator, _other: Array) -> Array:
    return 255 * (x.clip(0, 255) / 255) ** rng.choice([0.7, 1.4])


def _shift(x: Array, rng: Generator, _other: Array) -> Array:
    return moved(x, down=float(rng.integers(-10, 11)), right=float(rng.integers(-10, 11)))


def _rotation(x: Array, rng: Generator, _other: Array) -> Array:
    return moved(x, degrees=float(rng.choice([-8, 8])))


def _crop(x: Array, rng: Generator, _other: Array) -> Array:
    side = round(0.8 * len(x))
    top, left = rng.integers(0, len(x) - side + 1, 2)
    part = Image.fromarray(x[top : top + side, left : left + side].astype(np.float32))
    return np.asarray(part.resize(x.shape[::-1], Image.Resampling.BICUBIC), dtype=float)


def _all(x: Array, rng: Generator, other: Array) -> Array:
    x = moved(x[:, ::-1], float(rng.choice([-8, 8])), 1.05, *rng.integers(-10, 11, 2).tolist())
    return _noise(_blur(_gamma(x, rng, other), rng, other), rng, other)


EDITS: dict[str, Edit] = {
    "exact": lambda x, _rng, _other: x,
    "noise": _noise,
    "blur": _blur,
    "gamma": _gamma,
    "flip": lambda x, _rng, _other: x[:, ::-1],
    "shift": _shift,
    "rotation 8°": _rotation,
    "scale 1.05": lambda x, _rng, _other: moved(x, scale=1.05),
    "inversion": lambda x, _rng, _other: 255 - x,
    "blend 70/30": lambda x, _rng, other: 0.7 * x + 0.3 * other,
    "crop 80 %": _crop,
    "all edits": _all,
    "all edits of a blend": lambda x, rng, other: _all(0.7 * x + 0.3 * other, rng, other),
}
"""Edits of an image (H, W) in 0…255; all: flip, rotation, scale, shift, gamma, blur and noise at once."""


def plant(training: Array, name: str, n: int, seed: int = 0) -> tuple[Array, Array]:
    """n random training images under an edit, (n, H, W) uint8, and their numbers."""
    rng = np.random.default_rng([seed, 7])
    chosen = rng.choice(len(training), n, replace=False)
    others = training[rng.integers(len(training), size=n)].astype(float)
    edited = [EDITS[name](training[i].astype(float), rng, other) for i, other in zip(chosen, others, strict=True)]
    return np.rint(edited).clip(0, 255).astype(np.uint8), chosen


@app.default
def main(
    corpus: Annotated[Path, Parameter(name="CORPUS")], /, *, out: Path = Path("planted.json"), n: int = 60
) -> None:
    """Plant copies of a corpus' training images and count those found.

    Args:
        corpus: An image set of real images with its splits.
        out: File for the figures.
        n: How many copies of each kind.
    """
    real, figures = ImageSet.open(corpus), {}
    for modality in sorted({row.modality for row in real.rows}, reverse=True):
        figures[modality] = _of_modality(real.where(modality=modality), n)
        print(modality, json.dumps(figures[modality], indent=1), flush=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _of_modality(real: ImageSet, n: int) -> dict[str, Any]:
    people = patients(real.rows)
    train = read(real, [i for i, row in enumerate(real.rows) if row.split == "train"])
    unseen = [i for i, row in enumerate(real.rows) if row.split in ("validation", "test")]
    who = [people[i] for i in unseen]
    search, start = CopySearch(thumbnails(train)), time.perf_counter()
    held_out = search.nearest(thumbnails(read(real, unseen))).score
    milliseconds = 1000 * (time.perf_counter() - start) / len(unseen)
    calibration, found, planted = calibrate(held_out, who), {}, {}
    for name in EDITS:
        images, chosen = plant(train, name, n)
        match = search.nearest(thumbnails(images))
        planted[name] = match.score
        found[name] = {"found": float((match.score > calibration.threshold).mean()),
                       "named rightly": float((match.index == chosen).mean()),
                       "median": float(np.median(match.score))}  # fmt: skip
    return {"training": len(train), "held out": len(unseen), "patients": len(set(who)), "ms per image": milliseconds,
            "threshold": calibration.threshold, "copies": found, "false positives": _false_positives(held_out, who),
            "failed of 95": {k: _power(held_out, who, planted, k) for k in (0, 1, 2, 3, 5)}}  # fmt: skip


def _halves(scores: Array, people: list[str], rng: Generator) -> tuple[Array, list[str], Array]:
    """Scores of half of the patients to calibrate with, their patients, and the scores of the other half."""
    one = deal(people, 2, rng) == 0
    return scores[one], [who for who, mine in zip(people, one, strict=True) if mine], scores[~one]


def _false_positives(scores: Array, people: list[str], draws: int = 200) -> float:
    """Share of unseen images that a threshold from other unseen patients flags, over random halves."""
    shares = []
    for draw in range(draws):
        some, who, others = _halves(scores, people, np.random.default_rng([draw, 1]))
        shares.append((others > calibrate(some, who).threshold).mean())
    return float(np.mean(shares))


def _power(scores: Array, people: list[str], planted: dict[str, Array], k: int, draws: int = 400) -> dict[str, float]:
    """How often the audit of 95 images with k copies in them fails, the others drawn like the held-out ones."""
    result = {}
    for kind in ("exact", "all edits") if k else ("none",):
        failed = 0
        for draw in range(draws):
            rng = np.random.default_rng([draw, k, 2])
            mixed = np.concatenate([rng.choice(scores, 95 - k), rng.choice(planted[kind], k) if k else []])
            some = rng.choice(len(scores), len(scores))  # the calibration is another draw of the same
            failed += audit_p(mixed, calibrate(scores[some], [people[i] for i in some])) < LEVEL
        result[kind] = failed / draws
    return result


if __name__ == "__main__":
    app()
