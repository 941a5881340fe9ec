"""How good a model's images are, for MR and CT: the figures that decisions about models rest on.

    python -m bench quality heads --corpus corpus/ --features squeezenet.safetensors --steps 1 2 4 16

Every real image of the split is answered by a generated one that was asked to show the same. Beside each distance stand
those of real training images (the floor), of the split under a blur, and of the split after the autoencoder.
Needs what the extra `bench` installs.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from filelock import FileLock

from phonybrains.errors import ConfigError, PhonyBrainsError
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.imageset import ImageSet, Row, write_metadata, write_png
from phonybrains.model.finding import model_folder
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.record import Record, as_input, fingerprint, is_published, publish, read_record, versions

from .comparison import Figures
from .networks import Cache, conditions_of
from .options import measurement
from .report import draw_pairs, print_report, say
from .study import Images, Settings, Study, learn_attributes, read


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        corpus: Image set with the splits.
        features: SqueezeNet weights (safetensors, torchvision's names).
        split: The real images to compare with.
        steps: Steps from noise to image; one row of figures for each number.
        guidance: How strongly the conditions are pushed.
        sampler: Sampler (the model's own).
        seed: Start of the random numbers.
        per_image: Generated images for each real one.
        samples: An image set to measure instead of generating one.
        keep: Folder for the generated images, one image set for each number of steps; what is there is not made again.
        quick: Leave out the copies, the two-sample test and the loss.
        cache: Folder where features of real images are kept.
        pairs: Picture of the twelve generated images closest to a training image.
        out: File for all figures.
    """

    corpus: Path
    features: Path
    split: str = "validation"
    steps: Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")] = (16,)
    guidance: float = 1.0
    sampler: str = ""
    seed: int = 0
    per_image: int = 1
    samples: Path | None = None
    keep: Path | None = None
    quick: Annotated[bool, Parameter(negative="")] = False
    cache: Path = Path(tempfile.gettempdir()) / "phonybrains-bench"
    pairs: Path | None = None
    out: Path = Path("quality.json")


@dataclass(frozen=True)
class Answers:
    """Generated images of all modalities, the rows that say what each was asked to show, and the time each took."""

    images: Images
    rows: Sequence[Row]
    seconds: float | None = None

    def of(self, modality: str) -> tuple[Images, list[Row]]:
        which = [i for i, row in enumerate(self.rows) if row.modality == modality]
        return self.images[which], [self.rows[i] for i in which]


def paint(model: LatentDiffusion, real: Sequence[Row], steps: int, options: Options) -> Answers:
    """One image for each real one, or several: round after round, each asked for with the real image's conditions."""
    rows = [row for _ in range(options.per_image) for row in real]
    sampling = Sampling(options.seed, steps, options.guidance, options.sampler)
    start = time.perf_counter()
    images = np.stack(list(model.paint(range(len(rows)), conditions_of(model, rows), sampling)))
    return Answers(images, rows, (time.perf_counter() - start) / len(rows))


def keep(answers: Answers, folder: Path, source: str, record: Record) -> None:
    """Write generated images as an image set, their rows as those of the real images they answer."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        if is_published(folder, record):  # by another process meanwhile
            return
        with publish(folder, record) as draft:
            (draft / "images").mkdir()
            rows = []
            for i, (pixels, row) in enumerate(zip(answers.images, answers.rows, strict=True)):
                name = f"images/{i:06d}.png"
                digest = write_png(draft / name, pixels)
                rows.append(Row(name, digest, row.modality, synthetic=True, source=source, attributes=row.attributes))
            write_metadata(draft, rows)


def measure(name: str, options: Options) -> dict[str, Any]:
    """All figures of a model, by name or folder."""
    folder = model_folder(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, corpus = LatentDiffusion.load(folder, device), ImageSet.open(options.corpus)
    if model.size != corpus.height:
        raise ConfigError(f"{options.corpus}: {corpus.height} pixels a side, but the model makes {model.size}.")
    squeeze = SqueezeNetFeatures(options.features, device)
    settings = Settings(options.split, options.seed, options.quick)
    say("features of the real images")
    modalities = sorted({row.modality for row in corpus.rows}, reverse=True)
    studies = [Study(modality, corpus, squeeze, Cache(options.cache), settings) for modality in modalities]
    attributes = learn_attributes(studies)
    say("what real images score")
    reference = {study.modality: study.reference(attributes) for study in studies}
    say("the autoencoder and the loss")
    of_model = {study.modality: study.of_model(model) for study in studies}
    rows = []
    for steps, answers in _answers(model, folder, corpus, options):
        say(f"figures at {steps} steps" if steps else "figures of the samples")
        found: Figures = {"steps": steps, "seconds": answers.seconds}
        for study in studies:
            found[study.modality] = study.figures(*answers.of(study.modality), attributes, reference[study.modality])
        rows.append(found)
        if options.pairs and not options.quick:
            stem = f"{options.pairs.stem}-{steps}" if len(options.steps) > 1 else options.pairs.stem
            images = {study.modality: answers.of(study.modality)[0] for study in studies}
            draw_pairs(studies, images, found, options.pairs.with_stem(stem))
    return {
        "options": {name: x.name if isinstance(x, Path) else x for name, x in asdict(options).items()},
        "versions": versions(),
        "model": _origin(folder),
        "corpus": _origin(options.corpus),
        "reference": reference,
        "of_model": of_model,
        "rows": rows,
    }


def _answers(
    model: LatentDiffusion, folder: Path, corpus: ImageSet, options: Options
) -> Iterator[tuple[int | None, Answers]]:
    """The images to measure, by number of steps: those that are there already, else new ones."""
    if options.samples:
        yield None, _ready(options.samples, corpus)
        return
    real = corpus.where(split=options.split).rows
    inputs = [as_input(folder), as_input(options.corpus)]
    for steps in options.steps:
        told = {name: getattr(options, name) for name in ("guidance", "sampler", "split", "per_image")}
        record = Record("bench", {"steps": steps} | told, options.seed, inputs)
        kept = options.keep / f"steps-{steps}" if options.keep else None
        if kept and is_published(kept, record):
            yield steps, _ready(kept, corpus)
            continue
        say(f"generating {len(real) * options.per_image} images at {steps} steps")
        answers = paint(model, real, steps, options)
        if kept:
            keep(answers, kept, folder.name, record)
        yield steps, answers


def _ready(folder: Path, corpus: ImageSet) -> Answers:
    made = ImageSet.open(folder)
    if made.height != corpus.height:
        raise ConfigError(f"{folder}: {made.height} pixels a side, but the corpus has {corpus.height}.")
    if missing := {row.modality for row in corpus.rows} - {row.modality for row in made.rows}:
        raise ConfigError(f"{folder}: no image is {' or '.join(sorted(missing))}, but some of the corpus are.")
    return Answers(read(made, range(len(made))), made.rows)


def _origin(folder: Path) -> dict[str, Any]:
    identity = read_record(folder).get("identity")
    return {"name": folder.resolve().name, "sha256": fingerprint(folder), "identity": identity}


app = measurement(__name__, __doc__)


@app.default
def main(model: str, /, *, options: Options) -> None:
    """Measure a model.

    Args:
        model: A model folder, or the name of a model that comes with the package.
    """
    try:
        result = measure(model, options)
    except PhonyBrainsError as error:
        raise SystemExit(f"quality.py: {error}") from None
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_report(result)
    say(f"all figures: {options.out}")
