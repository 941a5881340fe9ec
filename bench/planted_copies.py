"""Does the memorisation audit find copies? Training images are edited and planted, and the search is asked for them.

    python -m bench planted_copies corpus/ --seed 1 --out planted.json
    python -m bench planted_copies corpus/ --features squeezenet1_1.safetensors     # the search by features instead

Per modality: the share of planted copies above the threshold that 1 % of unseen people's images exceed, and that of the
training image named rightly; the same of slices whose neighbours of the same person are in training, they themselves
not; how many images of unseen patients the threshold of other unseen patients flags; how often sets of 95 fail the
audit with k copies in them, and with none; and the time for an image.
"""

from __future__ import annotations

import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.inputs.patients import patients
from phonybrains.evaluation.memorisation.registration import Matches
from phonybrains.evaluation.memorisation.search import ByFeatures, ByRegistration, Search
from phonybrains.evaluation.memorisation.signs import LEVEL
from phonybrains.evaluation.memorisation.threshold import audit_p, calibrate, unseen_by
from phonybrains.held_out import held_out
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png

from .options import measurement
from .study import read

Array = NDArray[Any]
Edit = Callable[[Array, Generator, Array], Array]
app = measurement(__name__, __doc__)


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
    corpus: Annotated[Path, Parameter(name="CORPUS")],
    /,
    *,
    out: Path = Path("planted.json"),
    n: int = 60,
    seed: int = 0,
    features: Path | None = None,
) -> None:
    """Plant copies of a corpus' training images and count those found.

    Args:
        corpus: An image set of real images with its splits.
        out: File for the figures.
        n: How many copies of each kind.
        seed: Of the copies, of the training images that take turns, and of the divisions of patients.
        features: SqueezeNet weights: search by its features, and not by registration.
    """
    real, figures = ImageSet.open(corpus), {}
    for modality in sorted({row.modality for row in real.rows}, reverse=True):
        figures[modality] = _of_modality(real.where(modality=modality), n, seed, features)
        print(modality, json.dumps(figures[modality], indent=1), flush=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _of_modality(real: ImageSet, n: int, seed: int, features: Path | None) -> dict[str, Any]:
    training = real.where(split="train")
    others = held_out(real.rows)
    search: Search = ByFeatures.of(training, SqueezeNetFeatures(features)) if features else ByRegistration.of(training)
    start = time.perf_counter()
    unseen = unseen_by(search, real, others, training, seed)
    scores, who, absent = unseen.score, unseen.who, unseen.left_out
    milliseconds = 1000 * (time.perf_counter() - start) / len(scores)
    calibration, found, planted = calibrate(scores, who, seed=seed), {}, {}
    pixels = read(training, range(len(training)))
    for name in EDITS:
        images, chosen = plant(pixels, name, n, seed)
        match = _found(search, images)
        planted[name] = match.score
        found[name] = _counted(match, calibration.threshold, match.index == chosen)
    found["neighbouring slice"] = _neighbours(search, training, n, calibration.threshold, seed)
    return {
        "training": len(training),
        "unseen": len(scores),
        "of them in turns": absent,
        "patients": len(set(who)),
        "ms per image": milliseconds,
        "threshold": calibration.threshold,
        "stated rate": calibration.rate,
        "copies": found,
        "false positives": {share: _false_positives(scores, who, share, seed) for share in (0.5, 0.9)},
        "failed of 95": {k: _power(scores, who, planted, k, seed) for k in (0, 1, 2, 3, 5)},
    }


def _found(search: Search, images: Array) -> Matches:
    """What a search finds for pixels (n, H, W)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        names = [f"images/{i}.png" for i in range(len(images))]
        rows = [Row(name, write_png(Path(folder) / name, x), "MR") for name, x in zip(names, images, strict=True)]
        write_metadata(Path(folder), rows)
        return search.found(ImageSet.open(folder), range(len(rows)))


def _neighbours(search: Search, training: ImageSet, n: int, threshold: float, seed: int) -> dict[str, float]:
    """Training slices searched for where they are not, but slices next to them are: of one person, one plane, nearest
    in the order of the corpus."""
    places = [_place(row) for row in training.rows]
    alike = sorted(range(len(training)), key=lambda i: (places[i], i))
    beside = [i for before, i in itertools.pairwise(alike) if places[before][:2] == places[i][:2]]
    chosen = np.sort(np.random.default_rng([seed, 8]).choice(beside, min(n, len(beside)), replace=False))
    rest = np.setdiff1d(np.arange(len(training)), chosen)
    match = search.part(rest).found(training, chosen.tolist())
    people = np.array(patients(training.rows))
    return _counted(match, threshold, people[rest[match.index]] == people[chosen])


def _counted(match: Matches, threshold: float, right: Array) -> dict[str, float]:
    found = {"found": (match.score > threshold).mean(), "named rightly": right.mean(), "median": np.median(match.score)}
    return {name: float(value) for name, value in found.items()}


def _place(row: Row) -> tuple[str, str, float]:
    """Person, plane, and where the slice stands among the person's."""
    place = row["slice"] if row["slice"] is not None else row["source_index"]
    return row.patient_id, str(row["plane"]), float(place or 0)


def _divided(people: Sequence[str], share: float, rng: Generator) -> Array:
    """Which images are of random patients that make up a share of all, (n,)."""
    names = rng.permutation(sorted(set(people)))
    return np.isin(people, names[: round(share * len(names))])


def _false_positives(scores: Array, people: list[str], share: float, seed: int, draws: int = 200) -> dict[str, float]:
    """Images of unseen people that the threshold of other unseen people flags: mean share, and in the worst tenth."""
    flagged = []
    for draw in range(draws):
        one = _divided(people, share, np.random.default_rng([seed, draw, 1]))
        threshold = calibrate(scores[one], np.array(people)[one].tolist(), seed=seed).threshold
        flagged.append(float((scores[~one] > threshold).mean()))
    return {"mean": float(np.mean(flagged)), "90 % of divisions": float(np.quantile(flagged, 0.9))}


def _power(
    scores: Array, people: list[str], planted: dict[str, Array], k: int, seed: int, draws: int = 200
) -> dict[str, float]:
    """How often the audit of 95 images, k copies among them, fails; the others are of people who calibrate nothing."""
    result = {}
    for kind in ("exact", "all edits") if k else ("none",):
        failed = 0
        for draw in range(draws):
            rng = np.random.default_rng([seed, draw, k, 2])
            one = _divided(people, 0.7, rng)
            mixed = np.concatenate([rng.choice(scores[~one], 95 - k), rng.choice(planted[kind], k) if k else []])
            failed += audit_p(mixed, calibrate(scores[one], np.array(people)[one].tolist(), seed=seed)) < LEVEL
        result[kind] = failed / draws
    return result
