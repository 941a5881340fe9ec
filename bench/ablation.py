"""What each decision about the model is worth: arms that differ in one thing, trained from scratch with equal compute.

    python -m bench ablation heads --corpus corpus/ --features squeezenet.safetensors --images 200000 --device cuda

Every arm's denoiser gets the operations that the first one needs for `--images` images; latents of another shape come
from an autoencoder of their own, trained on `--crops` crops. Judged as bench/quality.py does, on the validation split.
Several of these commands can run side by side, each with its own `--arms`. On two cores an arm of 16,000 images takes
20 minutes; a corpus imported at half the size takes them four times as far.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from filelock import FileLock
from safetensors.torch import load_file

from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.imageset import ImageSet
from phonybrains.model.chains import CHAINS
from phonybrains.model.fitting import fit_conditions
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.denoiser import Denoiser
from phonybrains.optimising.checkpoint import load_weights
from phonybrains.optimising.config import LoopConfig
from phonybrains.optimising.loop import Task, fit
from phonybrains.optimising.processes import accelerating
from phonybrains.reporting.sheets import contact_sheet
from phonybrains.training.autoencoder import AutoencoderTask
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.corpus import Corpus, rows_in
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents, encode_latents, load_latents
from phonybrains.training.perceptual import PerceptualDistance

from .alignment import AlignedTask, features_of
from .arms import ARMS, EIGHTH, Arm, CoarseDiffusion, autoencoder_for, denoiser_for, learnt_from
from .comparison import distances, fidelity
from .networks import Cache, conditions_of, decoded, encoded, forward_flop
from .options import measurement
from .report import say
from .study import Settings, Study
from .timing import machine, table

SHOWN = {
    "KID": "kid",
    "±": "kid_error",
    "FD": "fd_handcrafted",
    "recall": "recall",
    "nearest is training": "nearest_share",
    "C_T": "copying_z",
}


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What is compared, and for how long.

    Attributes:
        corpus: Image set with the splits.
        features: SqueezeNet weights (safetensors, torchvision's names).
        images: How many images the first arm's denoiser sees; the others see as many as cost the same.
        crops: How many crops of 128×128 an autoencoder of an arm's own sees.
        batch: Images in a step of the denoiser, those of the preset if 0.
        variants: Versions of each image, the first of them as it is.
        judged: Images generated for each of the split.
        seeds: Seeds each arm is trained with.
        arms: Numbers of the arms, all if none are given.
        widths: Widths of the denoisers, for quick looks; those of the arms if none are given.
        points: At how many points of the training each arm is judged, the end included.
        device: cpu or cuda; on the latter, training is compiled.
        work: Folder for latents, results (one JSON object a line) and sheets, of one corpus and one model.
    """

    corpus: Path
    features: Path
    images: int = 16_000
    crops: int = 16_000
    batch: int = 0
    variants: int = 6
    judged: int = 2
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")] = (0,)
    arms: Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")] = ()
    widths: Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")] = ()
    points: int = 1
    device: str = "cpu"
    work: Path = Path(tempfile.gettempdir()) / "phonybrains-bench" / "ablation"


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    model: LatentDiffusion
    images: ImageSet
    studies: list[Study]
    options: Options
    config: TrainConfig

    @property
    def arms(self) -> list[Arm]:
        """All arms, as wide as the options say."""
        usual = ARMS[0].widths
        return [replace(a, widths=self.options.widths or usual) if a.widths == usual else a for a in ARMS]

    def corpus(self, arm: Arm) -> Corpus:
        known = tuple(a.name for a in self.model.conditions.attributes if a.name != "modality")
        train = [self.images.rows[i] for i in rows_in(self.images, "train")]
        conditions = fit_conditions(train, known if arm.told is None else arm.told)
        return Corpus.open(self.images, conditions, self.options.work, torch.device(self.options.device))

    def run(self, number: int, seed: int) -> Iterator[dict[str, Any]]:
        """Train an arm, judge it in each of the ways that it asks for, and keep it if a model folder can hold it."""
        torch.manual_seed(seed)
        arm = self.arms[number]
        corpus = self.corpus(arm)
        model, latents, facts = self._encoded(arm, corpus, seed)
        learnt = learnt_from(arm, self.images.rows, corpus.train.tolist(), self.options.seeds[0])
        facts["learnt"], corpus = len(learnt), replace(corpus, train=torch.tensor(learnt))
        shape, width = latents.values.shape[2:], corpus.conditions.width
        denoiser = denoiser_for(arm, shape[0], shape[1], width)
        first = denoiser_for(self.arms[0], *self.model.latent_shape[:2], self.model.conditions.width)
        costs = forward_flop(denoiser, shape, width)
        first_costs = forward_flop(first, self.model.latent_shape, self.model.conditions.width)
        seen = round(self.options.images * (arm.share or first_costs / costs))
        task = self._task(arm, corpus, latents, denoiser)
        chain, device = task.chain, task.device
        model = replace(model, denoiser=denoiser, conditions=corpus.conditions, chain=chain, few_step=None, card={})
        loop = self.config.denoiser.loop
        loop = loop.model_copy(update={"steps": seen // loop.batch_size, "averages": arm.averages})
        facts |= {"arm": arm.name, "seed": seed, "gflop": costs / 1e9}
        for step, average in self._trained(task, loop, seed, self.config.compile and not arm.aligned):
            with torch.no_grad():
                loss = round(task.validate(denoiser.eval()), 4)
            for steps, guidance, sampler in arm.sampled if average == arm.averages[-1] else arm.sampled[:1]:
                sampling = Sampling(seed, steps, guidance, sampler, 16 if device.type == "cpu" else 128)
                how = {"average": average, "loss": loss, "steps": steps, "guidance": guidance, "sampler": sampler}
                told = facts | {"images": step * loop.batch_size} | how
                yield told | self._judge(model, sampling, f"{number:02}-seed{seed}-{step}")
        if isinstance(task, AlignedTask):
            task.take_off()
        if arm.patch == 1 and arm.factor == EIGHTH:  # what a model folder can hold
            model.to(str(device)).save(self.options.work / f"arm-{number:02}-seed{seed}")

    def _task(self, arm: Arm, corpus: Corpus, latents: Latents, denoiser: Denoiser) -> DenoiserTask:
        device = torch.device(self.options.device)
        what = denoiser.to(device), corpus, latents, CHAINS[arm.diffusion], self.config.denoiser, device
        if not arm.aligned:
            return DenoiserTask(*what)
        side = latents.values.shape[-1] // 2 ** (len(arm.widths) - 1)
        say("features to be aligned with")
        seen = torch.stack(list(features_of(corpus, latents, self.options.features, side, device)))
        return AlignedTask(*what, features=seen, weight=arm.aligned, side=side)

    def _encoded(self, arm: Arm, corpus: Corpus, seed: int) -> tuple[LatentDiffusion, Latents, dict[str, Any]]:
        """The model with the arm's autoencoder, its latents, and how well it reconstructs if it is the arm's own."""
        model, facts, device = self.model, {}, torch.device(self.options.device)
        path = self.options.work / f"latents-{self.options.variants}.safetensors"
        if arm.latents:  # of an autoencoder that is trained anew each time, so that its latents serve no other run
            path = self.options.work / f"latents-{arm.latents[0]}x{arm.latents[1]}-{os.getpid()}.safetensors"
            path.unlink(missing_ok=True)
            shape, network = autoencoder_for(*arm.latents)
            config = self.config.autoencoder.model_copy(update={"shape": shape})
            perceptual = PerceptualDistance(self.options.features).to(device)
            task = AutoencoderTask(network.to(device), corpus, config, perceptual, device)
            loop = config.loop.model_copy(update={"steps": self.options.crops // config.loop.batch_size})
            list(self._trained(task, loop, seed, False, points=1))
            kind = type(model) if arm.factor == EIGHTH else CoarseDiffusion
            model = kind(network.autoencoder, model.denoiser, model.conditions, model.scale, size=self.images.height)
            model.to(str(device))
            facts = {f"PSNR {m}": round(v, 2) for m, v in task.psnr(network).items()}
        with FileLock(path.with_suffix(".lock")):
            say("encoding latents")
            list(encode_latents(model.autoencoder, corpus, self.config.denoiser, 0, path, device))
        latents = load_latents(path, corpus, None if arm.latents else model.scale)
        if arm.latents:
            path.unlink()
            path.with_suffix(".lock").unlink()
        if not arm.augmented:
            latents = replace(latents, values=latents.values[:1], parameters=latents.parameters[:1])
        model = replace(model, scale=latents.scale)
        return model, latents, facts | (self._reconstructions(model) if arm.latents else {})

    def _trained(
        self, task: Task, loop: LoopConfig, seed: int, compile: bool, points: int = 0
    ) -> Iterator[tuple[int, float]]:
        """Train to the end, the rate falling to zero, and yield the step and average whose weights the network holds.

        The last average at some points on the way, then one average after another.
        """
        pace = {"warmup": loop.steps // 16, "cooldown": 0.5, "keep": "last", "checkpoint_every": 10**9}
        every = -(-loop.steps // (points or self.options.points))
        loop = loop.model_copy(update=pace | {"validate_every": every})
        with tempfile.TemporaryDirectory() as folder, accelerating(self.config, Path(folder)) as accelerator:
            for passed in fit(task, loop, seed, Path(folder), accelerator, compile):
                if passed.validation is not None and passed.step < loop.steps:
                    yield passed.step, loop.averages[-1]
            kept = load_file(Path(folder) / f"{task.name}.safetensors")
        for average in loop.averages:
            prefix = f"average/{average}/"
            task.network.requires_grad_(True)
            load_weights(task.network, {k.removeprefix(prefix): v for k, v in kept.items() if k.startswith(prefix)})
            yield loop.steps, average

    def _reconstructions(self, model: LatentDiffusion) -> dict[str, Any]:
        """KID of the split's images after the autoencoder."""
        facts: dict[str, Any] = {}
        for study in self.studies:
            real, modality = study.split, study.modality
            made = decoded(model, encoded(model, real.images, modality), modality)
            figures = distances(study.sample(made, real.rows, real.groups), real, paired=True) | fidelity(made, real)
            facts[f"reconstructed {modality}"] = round(figures["kid"], 1)
        return facts

    def _judge(self, model: LatentDiffusion, sampling: Sampling, name: str) -> dict[str, Any]:
        """KID, handcrafted Fréchet distance, recall and nearness to training people for each modality."""
        real, found, sheet = [row for study in self.studies for row in study.split.rows] * self.options.judged, {}, []
        with torch.no_grad():
            images = np.stack(list(model.paint(range(len(real)), conditions_of(model, real), sampling)))
        for study in self.studies:
            which = [i for i, row in enumerate(real) if row.modality == study.modality]
            made = study.answers(images[which], [real[i] for i in which])
            figures = distances(made, study.split) | study.nearness(made)
            figures["recall"] = neighbourhoods(made.part(range(len(study.split))).deep, study.split.deep).recall
            for short, key in SHOWN.items():
                found[f"{short} {study.modality}"] = round(figures[key], 1 if abs(figures[key]) > 1 else 3)
            sheet += [images[i] for i in which[:: len(which) // 8][:8]]
        name = f"{name}-{sampling.steps}-steps-guidance{sampling.guidance:g}.png"
        contact_sheet(sheet, self.options.work / name, columns=8, side=160)
        return found


def configure(options: Options) -> TrainConfig:
    """The preset of the device, with what the options change."""
    config = load_train_config("cpu" if options.device == "cpu" else "gpu", denoiser={"variants": options.variants})
    if options.batch:
        loop = config.denoiser.loop.model_copy(update={"batch_size": options.batch})
        config = config.model_copy(update={"denoiser": config.denoiser.model_copy(update={"loop": loop})})
    return config


app = measurement(__name__, __doc__)


@app.default
def main(model: str, /, *, options: Options) -> None:
    """Train and judge every arm.

    Args:
        model: A model folder, or the name of a model that comes with the package: whose autoencoder is used.
    """
    images = ImageSet.open(options.corpus)
    options.work.mkdir(parents=True, exist_ok=True)
    loaded = replace(LatentDiffusion.load(model, options.device), size=images.height)
    squeeze = SqueezeNetFeatures(options.features, options.device)
    cache = Cache(options.work.parent)
    modalities = sorted({row.modality for row in images.rows}, reverse=True)
    studies = [Study(m, images, squeeze, cache, Settings("validation", 0, quick=True)) for m in modalities]
    bench = Bench(loaded, images, studies, options, configure(options))
    with FileLock(options.work / "pixels.lock"):
        bench.corpus(ARMS[0])
    rows: list[dict[str, Any]] = []
    for seed, number in product(options.seeds, options.arms or range(len(ARMS))):
        for found in bench.run(number, seed):
            rows.append(found)
            line = json.dumps(found, ensure_ascii=False)
            say(line)
            with (options.work / "results.jsonl").open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
    heads = list(dict.fromkeys(key for row in rows for key in row))
    print(f"\n{machine()}; validation split")
    print(table(heads, [[row.get(key, "") for key in heads] for row in rows]))
