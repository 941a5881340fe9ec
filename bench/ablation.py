"""What each decision about the denoiser is worth: arms that differ in one thing, each trained from scratch for as long.

    python bench/ablation.py heads --corpus corpus/ --features squeezenet.safetensors --minutes 6 --seeds 1

All arms learn from the latents of one model's autoencoder and are judged as bench/quality.py does, on the validation
split. What six minutes on a core can show is which of two choices learns faster, not where either would end. A corpus
imported at half the size takes them four times as far.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from comparison import distances
from networks import Cache, conditions_of
from phonybrains.evaluation.extractors import SqueezeNetFeatures
from phonybrains.imageset import ImageSet
from phonybrains.model.conditions import Conditions
from phonybrains.model.latent_diffusion import LatentDiffusion, Sampling
from phonybrains.model.networks import Denoiser, DenoiserShape, build_embedding, build_unet
from phonybrains.model.sampling import CHAINS
from phonybrains.optimising.loop import fit
from phonybrains.optimising.processes import accelerating
from phonybrains.training import augment
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.corpus import Corpus, rows_in
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents, encode_latents, load_latents
from report import say
from study import Settings, Study
from timing import machine, table


@dataclass(frozen=True)
class Arm:
    """One way to train a denoiser; the defaults are those of the preset cpu."""

    name: str
    diffusion: str = "flow"
    dropout: float = 0.1
    augmented: bool = True
    conditioned: bool = True
    patch: int = 1
    sampled: tuple[int, ...] = (16,)


ARMS = (
    Arm("flow, as shipped"),
    Arm("the paper's DDPM, noise prediction", diffusion="ddpm", sampled=(16, 50)),
    Arm("latents in patches of 2×2", patch=2),
    Arm("without augmentation", augmented=False),
    Arm("without dropout", dropout=0.0),
    Arm("without conditions but the modality", conditioned=False),
)


class Patched(nn.Module):
    """A U-Net on patches of the latents: a quarter of the places, four times the channels."""

    def __init__(self, unet: nn.Module, patch: int) -> None:
        super().__init__()
        self.unet, self.patch, self.config = unet, patch, unet.config

    def forward(self, x: Tensor, *told: Tensor, **options: Any) -> tuple[Tensor]:
        return (pixel_shuffle(self.unet(pixel_unshuffle(x, self.patch), *told, **options)[0], self.patch),)


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is compared, and for how long.

    Attributes:
        corpus: Image set with the splits.
        features: SqueezeNet weights (safetensors, torchvision's names).
        minutes: Training time of each arm.
        images: How many images each arm sees instead, where other work would make minutes unequal.
        variants: Versions of each image, the first of them as it is.
        seeds: How often each arm is trained.
        arms: Numbers of the arms, all if none are given.
        latents: Where encoded latents are kept.
    """

    corpus: Path
    features: Path
    minutes: float = 6.0
    images: int = 0
    variants: int = 6
    seeds: int = 1
    arms: Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="")] = ()
    latents: Path = Path(tempfile.gettempdir()) / "phonybrains-bench" / "latents"


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    model: LatentDiffusion
    images: ImageSet
    studies: list[Study]
    options: Options
    work: Path

    def corpus(self, arm: Arm) -> tuple[Corpus, Latents]:
        names = tuple(a.name for a in self.model.conditions.attributes if a.name != "modality")
        train = [self.images.rows[i] for i in rows_in(self.images, "train")]
        conditions = Conditions.fit(train, names if arm.conditioned else ())
        corpus = Corpus.open(self.images, conditions, self.work, torch.device("cpu"))
        latents = load_latents(self.work / "latents.safetensors", corpus, self.model.scale)
        if not arm.augmented:
            latents = replace(latents, values=latents.values[:1], parameters=latents.parameters[:1])
        return corpus, latents

    def train(self, arm: Arm, seed: int) -> tuple[LatentDiffusion, int, float]:
        """A model of this arm, how many images its denoiser has seen, and its validation loss."""
        corpus, latents = self.corpus(arm)
        torch.manual_seed(seed)
        channels, side = latents.values.shape[2] * arm.patch**2, latents.values.shape[-1] // arm.patch
        unet = build_unet(DenoiserShape(dropout=arm.dropout), channels, side)
        embed = build_embedding(unet, corpus.conditions.width, augment.WIDTH)
        denoiser = Denoiser(Patched(unet, arm.patch) if arm.patch > 1 else unet, embed)  # type: ignore[arg-type]
        denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        config, chain = load_train_config("cpu"), CHAINS[arm.diffusion]
        task = DenoiserTask(denoiser, corpus, latents, chain, config.denoiser, torch.device("cpu"))
        steps, loss = self._fit(task, config, seed)
        model = replace(self.model, denoiser=denoiser, conditions=corpus.conditions, chain=chain, few_step=None)
        return model.to("cpu"), steps * config.denoiser.loop.batch_size, loss

    def _fit(self, task: DenoiserTask, config: TrainConfig, seed: int) -> tuple[int, float]:
        """Time a few steps, then train for as many as the minutes allow, the rate falling to zero at their end."""
        loop = config.denoiser.loop.model_copy(update={"warmup": 50, "cooldown": 0.5, "averages": (0.99, 0.998)})
        with tempfile.TemporaryDirectory() as folder, accelerating(config, Path(folder)) as accelerator:
            untrained = {name: p.detach().clone() for name, p in task.network.named_parameters()}
            (Path(folder) / "trial").mkdir()
            begin = time.perf_counter()
            trial = loop.model_copy(update={"steps": 20, "validate_every": 10**6})
            list(fit(task, trial, seed, Path(folder) / "trial", accelerator))
            steps = max(20, int(self.options.minutes * 60 / ((time.perf_counter() - begin) / 20)))
            steps = self.options.images // loop.batch_size or steps
            task.network.load_state_dict(untrained, strict=False)
            whole = loop.model_copy(update={"steps": steps, "validate_every": steps, "checkpoint_every": 10**6})
            found = [p.validation for p in fit(task, whole, seed, Path(folder), accelerator) if p.validation]
        return steps, found[-1]

    def judge(self, model: LatentDiffusion, steps: int, seed: int) -> list[object]:
        """KID and handcrafted Fréchet distance for each modality."""
        real = [row for study in self.studies for row in study.split.rows]
        images = np.stack(list(model.paint(range(len(real)), conditions_of(model, real), Sampling(seed, steps))))
        cells: list[object] = []
        for study in self.studies:
            which = [i for i, row in enumerate(real) if row.modality == study.modality]
            found = distances(study.answers(images[which], [real[i] for i in which]), study.split)
            cells += [f"{found['kid']:.0f} ± {found['kid_error']:.0f}", round(found["fd_handcrafted"])]
        return cells


app = App(name="ablation.py", help=__doc__, help_format="plaintext", result_action="return_value")


@app.default
def main(model: str, /, *, options: Options) -> None:
    """Train and judge every arm.

    Args:
        model: A model folder, or the name of a model that comes with the package: whose autoencoder is used.
    """
    images = ImageSet.open(options.corpus)
    loaded = replace(LatentDiffusion.load(model), size=images.height)
    options.latents.mkdir(parents=True, exist_ok=True)
    squeeze = SqueezeNetFeatures(options.features, "cpu")
    cache = Cache(options.latents.parent)
    modalities = sorted({row.modality for row in images.rows}, reverse=True)
    studies = [Study(m, images, squeeze, cache, Settings("validation", 0, quick=True)) for m in modalities]
    bench = Bench(loaded, images, studies, options, options.latents)
    whole = Corpus.open(images, loaded.conditions, options.latents, torch.device("cpu"))
    config = load_train_config("cpu", denoiser={"variants": options.variants}).denoiser
    for done, total in encode_latents(loaded.autoencoder, whole, config, 0, options.latents / "latents.safetensors",
                                      torch.device("cpu")):  # fmt: skip
        if done % 3600 == 0:
            say(f"encoded {done} of {total}")
    rows: list[list[object]] = []
    for seed in range(options.seeds):
        for arm in [ARMS[i] for i in options.arms] or ARMS:
            trained, seen, loss = bench.train(arm, seed)
            for steps in arm.sampled:
                rows.append([arm.name, seed, seen, round(loss, 4), steps, *bench.judge(trained, steps, seed)])
                say(" | ".join(map(str, rows[-1])))
    heads = [f"{m} {figure}" for m in modalities for figure in ("KID", "FD")]
    length = f"{options.images} images" if options.images else f"{options.minutes:g} minutes of training"
    print(f"\n{machine()}; {length} each; validation split")
    print(table(["arm", "seed", "images seen", "validation loss", "steps", *heads], rows))


if __name__ == "__main__":
    app()
