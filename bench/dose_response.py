"""Does a generator amplify what is rare? Phantoms with 50, 30 and 10 % lesions teach models; their images are counted.

    python -m bench dose_response --out doses/ [--doses 0.5 0.3 0.1] [--n 400] [--simulate 400]

For each dose a corpus of phantoms is drawn with that share of lesions, a model is trained with the tiny preset and not
told of them, and a classifier that labelled phantoms taught counts lesions in its images, corrected for its errors. The
slope of the generated log odds on those of training is 1 for a fair generator, above 1 for one that amplifies.
With --simulate, generators of known slope are simulated instead: does the interval hold the slope?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from phonybrains.evaluation.features.extractors import Handcrafted
from phonybrains.evaluation.features.shards import features_of
from phonybrains.evaluation.inputs.labels import LabelClassifier
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.phantom.corpus import draw_phantom
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .amplification import Dose, dose_response, simulated_doses
from .options import measurement

SIZE, STEPS = 64, 8


def corpus_of(out: Path, n: int, dose: float, seed: int) -> ImageSet:
    """CT phantoms of n heads, the given share of them with blood in the brain, the rest with none."""
    if not (out / "metadata.csv").is_file():
        (out / "images").mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng([seed, 0]).permutation(n) < round(dose * n)
        rows = []
        for i, bleeds in enumerate(order.tolist()):
            rng = np.random.default_rng([seed, 1, i])
            pixels, _ = draw_phantom(rng, "CT", size=SIZE, lesion="intraparenchymal" if bleeds else "none")
            name, split = f"images/{i:06d}.png", "validation" if i % 10 == 9 else "train"
            digest, attributes = write_png(out / name, pixels), {"lesion": str(int(bleeds))}
            rows.append(Row(name, digest, "CT", f"head-{i}", split, True, "phantom", attributes=attributes))
        write_metadata(out, rows)
    return ImageSet.open(out)


def reader_of(folder: Path) -> LabelClassifier:
    """A classifier of lesions, from phantoms half of which have one, that no model sees."""
    images = corpus_of(folder, 500, 0.5, 999)
    truth = np.array([int(float(row["lesion"])) for row in images.rows])
    return LabelClassifier.learn(features(images), truth, [row.patient_id for row in images.rows])


def features(images: ImageSet) -> NDArray[Any]:
    return features_of(images, range(len(images)), Handcrafted()).astype(np.float64)


def doses_of(out: Path, doses: Sequence[float], n: int, preset: str, loops: int | None) -> list[Dose]:
    """Train on each dose, generate n images and read them."""
    reader, found = reader_of(out / "labelled"), []
    for number, dose in enumerate(doses):
        corpus = corpus_of(out / f"corpus-{dose:g}", n, dose, number)
        settings: dict[str, Any] = {"few_step": {"loop": {"steps": 0}}, "seed": number}
        if loops:
            settings |= {name: {"loop": {"steps": loops}} for name in ("autoencoder", "denoiser")}
        model = train(corpus.folder, out / f"model-{dose:g}", load_train_config(preset, **settings))
        made = ImageSet.open(generate(model, out / f"samples-{dose:g}", n, seed=number, steps=STEPS))
        true = float(np.mean([row["lesion"] == 1 for row in corpus.rows if row.split == "train"]))
        found.append(Dose(true, reader.votes(features(made))[:, 1], reader.confusion))
    return found


def simulated(times: int, slopes: Sequence[float], doses: Sequence[float], n: int) -> dict[str, Any]:
    """How often the interval holds a known slope, and how often a slope of 1 is called amplification or loss."""
    results = {}
    for slope in slopes:
        fits = []
        for i in range(times):
            drawn = simulated_doses(slope, doses, n, np.random.default_rng([i, 5]))
            fits.append(dose_response(drawn, np.random.default_rng([i, 6])))
        results[f"{slope:g}"] = {
            "mean slope": float(np.mean([fit.slope for fit in fits])),
            "interval holds it": float(np.mean([fit.low <= slope <= fit.high for fit in fits])),
            "differs from 1": float(np.mean([not fit.low <= 1 <= fit.high for fit in fits])),
        }
    return results


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    out: Path,
    doses: tuple[float, ...] = (0.5, 0.3, 0.1),
    n: int = 400,
    preset: str = "tiny",
    loops: int | None = None,
    simulate: int = 0,
) -> None:
    """Measure the slope.

    Args:
        out: Folder for everything.
        doses: Shares of lesions in training.
        n: Images generated of each dose.
        preset: Of the trainings.
        loops: Steps of both trainings; the preset's if not given.
        simulate: Instead, simulate so many sets of generators.
    """
    out.mkdir(parents=True, exist_ok=True)
    if simulate:
        result: dict[str, Any] = simulated(simulate, (0.7, 1.0, 1.5), doses, n)
    else:
        with FileLock(out / "lock"):  # what lies there may be filled by another process, which is waited for
            found = doses_of(out, doses, n, preset, loops)
        try:
            result = asdict(dose_response(found, np.random.default_rng(0)))
        except ValueError as error:  # the counts are worth keeping
            result = {"no slope": str(error), "shares": [[dose.training, float(dose.votes.mean())] for dose in found]}
    text = json.dumps(result, indent=1)
    (out / "dose-response.json").write_text(text + "\n", encoding="utf-8")
    print(text)
