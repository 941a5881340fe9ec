"""Classifier guidance: how well images show what was asked, against how varied they are, by strength. On phantoms.

On the latents of the shipped model a small denoiser, and a classifier of its noisy latents, learn axial MR phantoms of
128×128 and their diagnosis. Images are asked for the diagnoses of phantoms kept apart, led by the classifier with more
and more strength: by a denoiser that is told the diagnosis, and by one that is not, which only the classifier leads.
Beside them guidance without a classifier. A judge, taught on the features of other phantoms, says what each shows.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.quality.distances import kid
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.evaluation.utility.classifier import learn
from phonybrains.imageset import ImageSet
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .masks import LOOP, OFF, SHAPE, SIZE, axial_phantoms, untaught
from .options import measurement, write_rows

NAME = "diagnosis"
Images = NDArray[np.uint8]


class Judge:
    """Tells the diagnosis of an image from its features, as taught on real phantoms."""

    def __init__(self, squeeze: SqueezeNetFeatures, taught: ImageSet) -> None:
        self.squeeze, self.known = squeeze, sorted({str(row[NAME]) for row in taught.rows})
        self.features = squeeze(pixels(taught))
        self.classes = self.places(taught)

    def places(self, images: ImageSet) -> NDArray[np.int64]:
        return np.array([self.known.index(str(row[NAME])) for row in images.rows])

    def right(self, features: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which images show what they were asked to show."""
        told = learn(self.features, self.classes, len(self.known), features, seed=0)
        return told.argmax(axis=1) == wanted


def pixels(images: ImageSet) -> Images:
    return np.stack([images.pixels(i) for i in range(len(images))]).astype(np.uint8)


def row(name: str, images: Images, judge: Judge, held: ImageSet, real: NDArray[Any], seconds: float) -> dict[str, Any]:
    """Adherence, and how near and how varied images are beside the phantoms kept apart; the errors of one deviation."""
    features = judge.squeeze(images)
    right, beside = judge.right(features, judge.places(held)), neighbourhoods(features, real)
    distance, error = kid(features, real)
    return {
        "images": name,
        "n": len(images),
        "adherence": round(float(right.mean()), 3),
        "±": round(float(right.std() / len(right) ** 0.5), 3),
        "precision": round(beside.precision, 3),
        "recall": round(beside.recall, 3),
        "coverage": round(beside.coverage, 3),
        "KID·10³": round(1e3 * distance, 1),
        "± of KID": round(1e3 * error, 1),
        "s an image": round(seconds / len(images), 3),
    }


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    out: Path,
    features: Path,
    n: int = 500,
    held: int = 200,
    denoiser_steps: int = 800,
    classifier_steps: int = 800,
    steps: int = 16,
    strengths: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0),
) -> None:
    """Train, generate and measure; what is trained already is not trained again.

    Args:
        out: Folder for everything.
        features: SqueezeNet weights (safetensors, torchvision's names).
        n: Heads that the model learns from; the judge learns from twice as many others.
        held: Heads kept apart, whose diagnoses are asked for.
        denoiser_steps: Of training.
        classifier_steps: Of training.
        steps: Of sampling.
        strengths: Of classifier guidance.
    """
    corpus, taught, apart = (
        ImageSet.open(axial_phantoms(out / name, count, seed))
        for name, count, seed in (("corpus", n, 0), ("taught", 2 * n, 1), ("held", held, 2))
    )
    start = untaught(out / "start", corpus.where(split="train"))
    parts: dict[str, Any] = {"denoiser": {"variants": 2, "shape": SHAPE, "loop": LOOP | {"steps": denoiser_steps}}}
    parts["classifier"] = {"attribute": NAME, "loop": {"steps": classifier_steps, "batch_size": 32}}
    parts |= {"autoencoder": OFF | {"crop": SIZE}, "few_step": OFF, "texture": OFF}
    parts |= {"conditions": [NAME], "min_patients": 0}  # phantoms are nobody
    config = load_train_config("cpu", start=str(start), **parts)
    model = LatentDiffusion.load(train(corpus.folder, out / "model", config))
    print(json.dumps(model.card, indent=1))
    judge = Judge(SqueezeNetFeatures(features), taught)
    real = judge.squeeze(pixels(apart))
    wanted = [model.conditions.of(one) for one in apart.rows]
    settings = {f"told, classifier {s:g}": (1.0, s) for s in strengths}
    settings |= {f"not told, classifier {s:g}": (0.0, s) for s in strengths}
    settings |= {f"guidance {s:g}, no classifier": (s, 0.0) for s in strengths if s > 1}

    def made(guidance: float, strength: float) -> tuple[Images, float]:
        begun = time.perf_counter()
        how = Sampling(steps=steps, guidance=guidance, classifier_guidance=strength)
        return np.stack(list(model.paint(range(len(wanted)), wanted, how))), time.perf_counter() - begun

    sides = ((name, *made(*how)) for name, how in settings.items())
    kept = ("phantoms kept apart", pixels(apart), 0.0)
    rows = (row(name, images, judge, apart, real, took) for name, images, took in (kept, *sides))
    write_rows(out / "guided.csv", rows)
