"""The paper's DDPM beside the flow at equal training, on pixels and on latents: KID, and where its errors come from.

Small denoisers learn axial phantoms of 64×64, as patches of pixels (`[autoencoder] kind = "none"`) or as latents of the
shipped autoencoder. Each is asked for images that show what held-out phantoms show, and KID tells how far they are from
these, once encoded and decoded, by SqueezeNet's features (images enlarged twice) and by handcrafted ones. The DDPM that
predicts the noise, as it ships, with and without the clip, by the chain and by DDIM, stands beside one that predicts v.
And for some times t the error of the clean image predicted there, of its mean above all: what an error of the predicted
noise becomes when it is multiplied by s/a. The same command goes on where it stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
from cyclopts import Parameter
from numpy.typing import NDArray
from torch import Tensor

from phonybrains.diffusion.objective import PredictV
from phonybrains.diffusion.process import q_sample
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.features.handcrafted import handcrafted
from phonybrains.evaluation.quality.distances import kid, standardise
from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.reporting.sheets import contact_sheet
from phonybrains.training.config import load_train_config
from phonybrains.training.stage import train

from .masks import OFF, axial_phantoms, untaught
from .options import measurement
from .timing import table

SIZE = 64
SPACES: dict[str, dict[str, Any]] = {
    "latents": {"autoencoder": OFF | {"crop": SIZE}, "widths": (64, 64)},
    "pixels": {"autoencoder": OFF | {"kind": "none", "patch": 4}, "widths": (32, 64, 64)},
}
KINDS = {
    "flow": CHAINS["flow"],
    "v": replace(CHAINS["ddpm"], objective=PredictV()),
    "noise": CHAINS["ddpm"],
    "noise, unclipped": replace(CHAINS["ddpm"], clip=math.inf),
}
TIMES = (1.0, 0.9, 0.7, 0.5, 0.25, 0.1)


def taught(space: str, kind: str, corpus: ImageSet, steps: int, out: Path) -> LatentDiffusion:
    """A model of one arm, trained if it is not there yet."""
    widths = SPACES[space]["widths"]
    loop = {"steps": steps, "batch_size": 32, "learning_rate": 1e-3, "warmup": 100, "cooldown": 0.5, "keep": "last"}
    loop |= {"averages": (0.998,), "validate_every": max(1, steps // 2)}
    denoiser = {"variants": 1, "loop": loop, "shape": {"widths": widths, "layers": 1, "dropout": 0.0}}
    start = str(untaught(out / "start", corpus.where(split="train"), (), widths)) if space == "latents" else None
    rest = {"autoencoder": SPACES[space]["autoencoder"], "few_step": OFF, "texture": OFF, "start": start}
    name = KINDS[kind].name
    config = load_train_config("cpu", diffusion=name, denoiser=denoiser, precision="fp32", **rest)
    with patch.dict(CHAINS, {name: KINDS[kind]}):
        return LatentDiffusion.load(train(corpus.folder, out / f"{space}-{kind}", config))


def features(images: NDArray[np.uint8], network: SqueezeNetFeatures) -> tuple[NDArray[Any], NDArray[Any]]:
    """SqueezeNet's and handcrafted ones."""
    return network(images.repeat(2, 1).repeat(2, 2)), handcrafted(images)


def errors(model: LatentDiffusion, held: ImageSet, x_0: Tensor) -> Iterator[dict[str, float]]:
    """At each of TIMES: how far the clean image predicted is off, and its mean alone, in deviations of the data."""
    model = replace(model, chain=replace(model.chain, clip=math.inf))
    condition = model.conditions.encode([model.conditions.of(row) for row in held.rows])
    noise, process = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0)), model.chain.process
    for fraction in TIMES:
        t = model.chain.time(fraction).expand(len(x_0))
        with torch.inference_mode():
            off = model.predict(q_sample(x_0, t, process, noise), t, condition) - x_0
        means = off.mean((1, 2, 3)).square().mean().sqrt().item()
        ratio = (process.noise(t[:1]) / process.signal(t[:1])).item()
        yield {"t": fraction, "s/a": ratio, "error": off.square().mean().sqrt().item(), "of the mean": means}


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    out: Path,
    squeezenet: Path,
    n: int = 1333,
    train_steps: int = 1200,
    judged: int = 200,
    steps: int = 250,
    spaces: Annotated[tuple[str, ...], Parameter(consume_multiple=1)] = tuple(SPACES),
) -> None:
    """Train, generate and measure; what is trained already is not trained again.

    Args:
        out: Folder for everything.
        squeezenet: SqueezeNet weights (safetensors).
        n: Heads; three slices of each, of which those that are not axial are left out.
        train_steps: Of training, 32 images each.
        judged: Images generated for each figure.
        steps: Of the DDPM's chain.
        spaces: latents, pixels, or both.
    """
    corpus = ImageSet.open(axial_phantoms(out / "corpus", n, seed=0, modalities=("MR", "CT"), size=SIZE))
    held = replace(corpus, rows=tuple(row for row in corpus.rows if row.split in ("validation", "test")))
    network, modality = SqueezeNetFeatures(squeezenet), [row.modality for row in held.rows]
    pixels = to_unit_range(np.stack([held.pixels(i) for i in range(len(held))]))[:, None]
    told, rows = [held.rows[i % len(held)] for i in range(judged)], list[list[Any]]()
    for space in spaces:
        models = {kind: taught(space, kind, corpus, train_steps, out) for kind in ("flow", "v", "noise")}
        x_0 = models["flow"].encode(pixels, modality)
        real = models["flow"].decode(x_0, modality)
        seen = features(real, network)
        arms = [("flow", 16, ""), ("v", steps, ""), ("noise", steps, ""), ("noise, unclipped", steps, "")]
        for kind, count, sampler in [*arms, ("noise", 16, "ddim"), ("noise, unclipped", 16, "ddim")]:
            model = replace(models[kind.split(",")[0]], chain=KINDS[kind])
            wanted = [model.conditions.of(row) for row in told]
            how = Sampling(seed=0, steps=count, sampler=sampler, batch_size=50, precision="fp32")
            images = np.stack(list(model.paint(range(judged), wanted, how)))
            contact_sheet([*images[:16]], out / f"{space}-{kind}-{count}.png", columns=8, side=128)
            found = distances(features(images, network), [row.modality for row in told], seen, modality)
            rows.append([space, kind, model.settle(how).sampler, count, *found, float(images.mean() - real.mean())])
        for kind, model in models.items():
            of_times = list(errors(model, held, x_0))
            print(f"\n{space}, {kind}: errors of the clean image predicted, unclipped")
            print(table(list(of_times[0]), [list(row.values()) for row in of_times]))
    kids = [f"{kind} KID {m}" for kind in ("deep", "plain") for m in ("MR", "CT")]
    print("\n" + table(["space", "predicts", "sampler", "steps", *kids, "grey levels off"], rows))
    (out / "ddpm.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def distances(made: Sequence[Any], asked: Sequence[str], real: Sequence[Any], shown: Sequence[str]) -> list[float]:
    """KID by each kind of features for MR and CT; handcrafted ones in units of their deviation in real images."""
    pairs = [(made[0], real[0]), tuple(standardise(one, real[1]) for one in (made[1], real[1]))]
    picks = [(np.array(asked) == m, np.array(shown) == m) for m in ("MR", "CT")]
    return [kid(x[a], y[b])[0] for x, y in pairs for a, b in picks]
