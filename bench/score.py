"""How unusual an image is: held-out images told from others by bits per dimension, beside a distance of features.

    python -m bench score --corpus corpus/ --features squeezenet.safetensors --out score.json

Of each modality n held-out images; the same as the other modality, blurred, noisy, inverted and upside down; and n
phantoms. An AUC of .5 tells nothing; below it, what is unusual is taken for more likely than what is real.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from phonybrains.editing.noise_level import add_noise
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.held_out import held_out
from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.given import shown_by
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.scoring.config import ScoreConfig
from phonybrains.scoring.likelihood import bits_per_dim

from .options import measurement
from .timing import use_threads

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
BATCH = 8
CHANGES: dict[str, Callable[[Images, int], Images]] = {
    "held out": lambda image, i: image,
    "blurred, σ 1.5": lambda image, i: np.rint(gaussian_filter(image.astype(float), 1.5)).astype(np.uint8),
    "noisy, σ 20": lambda image, i: add_noise(image, 20, "gaussian", np.random.default_rng(i)),
    "inverted": lambda image, i: (255 - image).astype(np.uint8),
    "upside down": lambda image, i: np.ascontiguousarray(image[::-1]),
}


class Judge:
    """What a model and a distance of features say of images of one modality."""

    def __init__(self, modality: str, train: ImageSet, model: LatentDiffusion, weights: Path, how: ScoreConfig) -> None:
        self.modality, self.model, self.how = modality, model, how
        self.extractor = SqueezeNetFeatures(weights)
        self.train = self.extractor(_stack(train)).astype(float)

    def __call__(self, images: Images, wanted: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
        """Bits per dimension of each image, and the distance of its features to the nearest training image's."""
        bits: list[float] = []
        for first in range(0, len(images), BATCH):
            part = slice(first, first + BATCH)
            rngs = [image_rng(0, i) for i in range(len(images))[part]]
            bits += bits_per_dim(self.model, to_unit_range(images[part])[:, None], wanted[part], rngs, self.how)
        features = self.extractor(images).astype(float)
        far = np.linalg.norm(features[:, None] - self.train[None], axis=-1).min(1)
        return {"bits": bits, "distance": far.tolist()}


def spread_out(images: ImageSet, numbers: Sequence[int], n: int) -> list[int]:
    """n of these rows at random, of as many people as there are."""
    seen: Counter[str] = Counter()
    order = np.random.default_rng(0).permutation(np.asarray(numbers))
    ranked = []
    for number in order.tolist():
        seen[images.rows[number].patient_id] += 1
        ranked.append((seen[images.rows[number].patient_id], number))
    return [number for _, number in sorted(ranked, key=lambda pair: pair[0])[:n]]


def _of(images: ImageSet, numbers: Sequence[int]) -> ImageSet:
    return ImageSet(images.folder, tuple(images.rows[i] for i in numbers), images.height, images.width, images.bits)


def _stack(images: ImageSet) -> Images:
    return np.stack([images.pixels(i) for i in range(len(images))]).astype(np.uint8)


def auc(usual: Floats, unusual: Floats) -> float:
    """How often the unusual image has the higher figure."""
    ranks = rankdata(np.concatenate([usual, unusual]))
    n, m = len(usual), len(unusual)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def interval(usual: Floats, unusual: Floats, people: NDArray[np.int64]) -> list[float]:
    """The AUC and its 95 % interval by bootstrap over people; images made of the same ones are drawn together."""
    rng, found, who = np.random.default_rng(0), [], np.unique(people)
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(people == one) for one in rng.choice(who, len(who))])
        found.append(auc(usual[rows], unusual[rows[rows < len(unusual)]]))
    return [round(float(v), 3) for v in (auc(usual, unusual), *np.quantile(found, (0.025, 0.975)))]


def measure(modality: str, corpus: ImageSet, model: LatentDiffusion, options: dict[str, Any]) -> dict[str, Any]:
    """The figures of all kinds of images of one modality; kind by kind into the file of what is kept."""
    n, kept = options["n"], Path(options["out"]).with_suffix(f".{modality}.json")
    mine = [i for i, row in enumerate(corpus.rows) if row.modality == modality]
    learnt = [i for i in mine if corpus.rows[i].split == "train"]
    real = _of(corpus, spread_out(corpus, [i for i in held_out(corpus.rows) if i in set(mine)], n))
    other = next(row.modality for row in corpus.rows if row.modality != modality)
    reference = _of(corpus, spread_out(corpus, learnt, n))
    train = _of(corpus, spread_out(corpus, learnt, options["train"]))
    judge = Judge(modality, train, model, options["features"], options["how"])
    found: dict[str, Any] = json.loads(kept.read_bytes()) if kept.is_file() else {}
    with tempfile.TemporaryDirectory() as work:
        phantoms = make_phantoms(n, Path(work) / "set", seed=1, size=model.size, modalities=(modality,))  # type: ignore[arg-type]
        drawn = ImageSet.open(phantoms)
        shown = {name: shown_by(images, model.conditions) for name, images in (("real", real), ("drawn", drawn))}
        kinds: dict[str, tuple[Images, Any]] = {
            name: (np.stack([change(x, i) for i, x in enumerate(_stack(real))]), shown["real"])
            for name, change in CHANGES.items()
        }
        kinds["training"] = _stack(reference), shown_by(reference, model.conditions)
        kinds["phantoms"] = _stack(drawn), shown["drawn"]
        as_other = [model.conditions.of({**one, "modality": other}) for one in shown["real"]]
        kinds[f"called {other}"] = _stack(real), as_other
        for name, (images, wanted) in kinds.items():
            if name not in found:
                found[name] = judge(images, wanted)
                kept.write_text(json.dumps(found), encoding="utf-8")
                print(modality, name, round(float(np.median(found[name]["bits"])), 3), flush=True)
    return _figures(found, np.unique([row.patient_id for row in real.rows], return_inverse=True)[1])


def _figures(found: dict[str, Any], people: NDArray[np.int64]) -> dict[str, Any]:
    usual, middle = {k: np.array(v) for k, v in found["held out"].items()}, np.median(found["training"]["bits"])
    rows: dict[str, Any] = {"n": len(people), "people": len(np.unique(people)), "training median": round(middle, 4)}
    for name, scores in found.items():
        figures: dict[str, Any] = {"median bits": round(float(np.median(scores["bits"])), 4)}
        if name != "held out":
            bits, far = np.array(scores["bits"]), np.array(scores["distance"])
            figures["AUC of bits"] = interval(usual["bits"], bits, people)
            figures["AUC of |bits - training median|"] = interval(
                abs(usual["bits"] - middle), abs(bits - middle), people
            )
            figures["AUC of feature distance"] = interval(usual["distance"], far, people)
        rows[name] = figures
    return rows


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    corpus: Path,
    features: Path,
    model: str = "heads",
    n: int = 32,
    train: int = 200,
    steps: int = 8,
    modalities: tuple[str, ...] = ("MR", "CT"),
    out: Path = Path("score.json"),
) -> None:
    """Tell held-out images from others by their density, and by their features.

    Args:
        corpus: An image set with splits; test and validation are held out.
        features: SqueezeNet weights (safetensors, torchvision's names).
        model: A model folder, or the name of a model that comes with the package.
        n: Images of each kind and modality.
        train: Training images of each modality, of which the nearest counts.
        steps: Of the way from data to noise.
        modalities: Which.
        out: File for the figures; what each modality's images score lies beside it, and is not scored again.
    """
    use_threads(1)
    opened, prior = ImageSet.open(corpus), LatentDiffusion.load(model)
    options: dict[str, Any] = {"n": n, "train": train, "features": features, "out": out}
    options["how"] = ScoreConfig(steps=steps)
    results = {modality: measure(modality, opened, prior, options) for modality in modalities}
    print(json.dumps(results, indent=1, ensure_ascii=False))
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
