"""What steers a finished model: keeping what a classifier takes for real, following its slope, fleeing a bad guide.

    python -m bench steering heads --corpus corpus/ --features squeezenet.safetensors --steps 4 --candidates 4
    python -m bench steering heads --corpus corpus/ --features squeezenet.safetensors --pushed 1 --guide bad/ --away 1.5

The classifier learns latents of training images against those that the model makes when it is asked for the same. Each
way gives one image for each real one of a split, validation if none is named, and stands beside images as they come.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from numpy.typing import NDArray

from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.imageset import ImageSet, Row
from phonybrains.model.finding import model_folder
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.record import fingerprint

from .comparison import distances
from .networks import Cache, Steer, Steered, away_from, conditions_of, decoded, encoded
from .options import measurement
from .ratio import Ratio, accepted, learn, log_ratio, pushed
from .report import say
from .study import Settings, Study
from .timing import machine, table

CLIP = 0.9
"""The quantile of the ratios from which every candidate is accepted."""
LEARNT_SEED = 1000
"""Images that the classifier learns from come of seeds from here on, those that are judged of the ones before."""


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is tried, and how long.

    Attributes:
        corpus: Image set with the splits.
        features: SqueezeNet weights (safetensors, torchvision's names).
        modalities: Those judged, all if none are given.
        steps: Sampling steps.
        candidates: Images for each real one, of which one is kept.
        learnt: Generated images that a classifier learns from, for each modality.
        passes: Steps of its training.
        pushed: Strengths with which sampling follows the ratio's slope.
        guide: A worse model of the same latents and conditions.
        away: Strengths with which sampling is pushed away from it.
        split: The real images that are answered and compared with.
        every: One in so many of them, for a quick look.
        copies: Count images nearer to a training image than 99 in 100 of the split are.
        seed: Start of the random numbers.
        work: Folder for what was generated; it is not made again.
    """

    corpus: Path
    features: Path
    modalities: Annotated[tuple[str, ...], Parameter(consume_multiple=1, negative="")] = ()
    steps: int = 4
    candidates: int = 4
    learnt: int = 400
    passes: int = 600
    pushed: Annotated[tuple[float, ...], Parameter(consume_multiple=1, negative="")] = ()
    guide: Path | None = None
    away: Annotated[tuple[float, ...], Parameter(consume_multiple=1, negative="")] = ()
    split: str = "validation"
    every: int = 1
    copies: Annotated[bool, Parameter(negative="")] = False
    seed: int = 0
    work: Path = Path(tempfile.gettempdir()) / "phonybrains-bench" / "steering"


@dataclass(frozen=True)
class Bench:
    """A model by its name and as it is, one modality's real images, and what was generated of it."""

    name: str
    model: LatentDiffusion
    study: Study
    options: Options

    def latents(self, model: LatentDiffusion, rows: Sequence[Row], seed: int, name: str) -> torch.Tensor:
        """What a model makes when asked for what these rows show, (n, C, h, w)."""
        wanted, sampling = conditions_of(model, rows), Sampling(seed, self.options.steps)

        def make(_: Any) -> NDArray[Any]:
            say(f"{self.study.modality}: {len(rows)} images, {name}")
            parts = [list(model.walk(range(len(rows))[p], wanted[p], sampling))[-1] for p in _parts(len(rows))]
            return torch.cat(parts).numpy()

        told = self.model.conditions.encode(wanted).numpy()
        full = f"{_identity(self.name)}-{name}-{self.options.steps}-steps-seed{seed}"
        return torch.from_numpy(Cache(self.options.work).of(full, [told], make))

    def ratio(self) -> Ratio:
        """The ratio learnt from training images, and from images that were asked to show the same."""
        train, modality, o = self.study.train, self.study.modality, self.options
        chosen = np.random.default_rng(o.seed).permutation(len(train))[: o.learnt].tolist()
        made = self.latents(self.model, [train.rows[i] for i in chosen], LEARNT_SEED + o.seed, "unsteered")
        name = f"{_identity(self.name)}-encoded"
        real = Cache(o.work).of(name, [train.images], lambda x: encoded(self.model, x, modality).numpy())
        ratio, auc = learn(torch.from_numpy(real), made, train.groups, self.model.chain.process, o.passes, o.seed)
        people = len(set(train.groups))
        say(f"{modality}: told from {len(real)} real latents of {people} people: AUC {auc:.3f} on a fifth left out")
        return ratio

    def ways(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Latents, one for each real image, by how they were come by, all judged without texture; first the control."""
        rows, o = self.study.split.rows, self.options
        stock = torch.stack([self.latents(self.model, rows, o.seed + k, "unsteered") for k in range(o.candidates)])
        yield "as they come", stock[0]
        if o.candidates > 1 or o.pushed:
            ratio = self.ratio()
            yield from self._kept(stock, ratio)
            for strength in o.pushed:
                steer, name = pushed(ratio, strength, self.model.chain.process), f"pushed-{strength:g}"
                yield f"pushed by {strength:g}", self._steered(steer, f"{name}-{o.learnt}-{o.passes}")
        if o.guide:
            worse, name = LatentDiffusion.load(o.guide), _identity(o.guide)
            for strength in o.away:
                steer = away_from(worse, strength)
                yield f"away from the guide, {strength:g}", self._steered(steer, f"away-{strength:g}-{name}")

    def _kept(self, stock: torch.Tensor, ratio: Ratio) -> Iterator[tuple[str, torch.Tensor]]:
        """Of several candidates for each image, (k, n, C, h, w), the likeliest ones, and those that a lottery takes."""
        scores, across = np.stack([log_ratio(ratio, each) for each in stock]), torch.arange(stock.shape[1])
        if len(stock) > 1:
            yield f"the likeliest of {len(stock)}", stock[torch.from_numpy(scores.argmax(0)), across]
            taken = accepted(scores, CLIP, np.random.default_rng(self.options.seed))
            yield f"accepted, of {len(stock)}", stock[torch.from_numpy(taken), across]

    def _steered(self, steer: Steer, name: str) -> torch.Tensor:
        return self.latents(Steered(self.model, steer), self.study.split.rows, self.options.seed, name)

    def judged(self, latents: torch.Tensor) -> dict[str, Any]:
        """Distances from the split, how much of it is covered, and how near training images come."""
        made = self.study.answers(decoded(self.model, latents, self.study.modality), self.study.split.rows)
        found, split = distances(made, self.study.split), self.study.split
        around = neighbourhoods(made.deep, split.deep)
        shown = {"n": len(made), "KID": f"{found['kid']:.0f} ± {found['kid_error']:.0f}", "FD": found["fd_handcrafted"]}
        shown |= {"precision": around.precision, "recall": around.recall}
        if self.options.copies:
            score, limit = self.study.nearest(made.images).score, self.study.threshold()
            shown |= {"near a training image": f"{int((score > limit).sum())}", "median": float(np.median(score))}
        return shown


def _identity(name: str | Path) -> str:
    return fingerprint(model_folder(name))[:12]


def _parts(n: int, size: int = 16) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


app = measurement(__name__, __doc__)


@app.default
def main(model: str, /, *, options: Options) -> None:
    """Judge every way on the validation split.

    Args:
        model: A model folder, or the name of a model that comes with the package.
    """
    images, loaded = ImageSet.open(options.corpus), LatentDiffusion.load(model)
    squeeze, cache = SqueezeNetFeatures(options.features), Cache(options.work.parent)
    rows: list[dict[str, Any]] = []
    for modality in options.modalities or sorted({row.modality for row in images.rows}, reverse=True):
        study = Study(modality, images, squeeze, cache, Settings(options.split, options.seed, quick=True))
        study.split = study.split.part(range(0, len(study.split), options.every))
        bench = Bench(model, loaded, study, options)
        for name, latents in bench.ways():
            found = bench.judged(latents)
            rows.append({"modality": modality, "way": name} | found)
            say(str(rows[-1]))
    print(f"\n{machine()}; {options.split} split, {options.steps} steps")
    heads = list(dict.fromkeys(key for row in rows for key in row))
    print(table(heads, [[row.get(key, "") for key in heads] for row in rows]))
