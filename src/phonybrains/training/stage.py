"""`phonybrains train`: an image set in, a model folder out, through an autoencoder and a denoiser."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from ..errors import ConfigError
from ..imageset import ImageSet
from ..model.backing import told
from ..model.conditions import Category, Conditions, Withdrawn
from ..model.folder import check_model, model_folder
from ..model.latent_diffusion import LatentDiffusion, LatentScale
from ..model.networks import Denoiser, build_autoencoder, build_embedding, build_unet
from ..model.sampling import CHAINS
from ..model.training_data import shared_units
from ..model.withdrawal import on_columns_of, withdraw
from ..optimising.processes import accelerating, shared_draft
from ..optimising.run import Run, name_events, progress_bar
from ..record import Record, as_input, draft_folder, is_published
from ..startup import say
from . import augment
from .autoencoder import AutoencoderTask, Reconstruction
from .card import model_card
from .config import FewStepConfig, TrainConfig, load_train_config
from .copies import Nearness
from .corpus import Corpus, check_corpus
from .denoiser import DenoiserTask
from .few_step import FewStepTask, few_step_copy
from .guidance import GuidanceTask
from .inspection import Samples, draw_reconstructions
from .latents import encode_latents, load_latents
from .perceptual import PerceptualDistance

SEEN = "images seen by the denoiser"
GUIDED = "guidance built in"
FEW_STEP_DISTANCE, FEW_STEP_PATHS = "few steps end off the full path by", "paths walked for few-step weights"
CARRIED = {SEEN, GUIDED, FEW_STEP_DISTANCE, FEW_STEP_PATHS}
"""Figures of a start that can hold for other weights; all else on its card was measured on its own."""


def train(
    corpus: str | Path, out: str | Path, config: TrainConfig | None = None, *, show: bool = True, preset: str = "cpu",
    **settings: Any,
) -> Path:  # fmt: skip
    """Train a latent diffusion model on an image set and write its folder; the same call goes on where it stopped.

    Without a `config`, it is the preset with `settings` (the fields of TrainConfig) on top.
    Raises ImageSetError, ConfigError or TrainingError before the first step if the corpus or configuration is unfit.
    """
    corpus, out, config = Path(corpus), Path(out), config or load_train_config(preset, **settings)
    images = ImageSet.open(corpus)
    wanted = config.conditions
    images, withdrawn = withdraw(images, wanted.attributes, wanted.min_patients)
    elsewhere: Any = {"features": True, "start": True, "guidance": {"worse"}}
    facts = config.model_dump(mode="json", exclude=elsewhere) | {"perceptual": config.features is not None}
    inputs = [as_input(corpus), *(as_input(model_folder(m)) for m in (config.start, _worse(config)) if m)]
    record = Record("train", facts, config.seed, inputs, images.record.get("sources", ()))
    if not is_published(out, record, check_model):
        new = _start(images, withdrawn, config)
        for line in told(new.conditions) if show else ():
            say(line)
        with accelerating(config, draft_folder(out, record)) as accelerator:
            _train_and_publish(new, images, out, record, config, accelerator, show)
    shutil.rmtree(out / "work", ignore_errors=True)  # only now, so that a stop at any moment costs no training
    return out


@dataclass(frozen=True)
class New:
    """What training starts from: conditions, networks as initialised, the perceptual term, and their figures so far.

    Each process has its own, and they are the same.
    """

    conditions: Conditions
    reconstruction: Reconstruction
    denoiser: Denoiser
    perceptual: PerceptualDistance | None
    figures: dict[str, Any] = field(default_factory=dict)
    scale: LatentScale | None = None
    """That of an encoder which is not trained any further."""
    few_step: Denoiser | None = None
    """Those of a denoiser which is not trained any further."""
    worse: Denoiser | None = None
    """What predictions are pushed away from, if not from those without conditions."""


def _worse(config: TrainConfig) -> str | None:
    """The model that is pushed away from, if there is one and it is used."""
    return config.guidance.worse if config.guidance.loop.steps else None


def _start(images: ImageSet, withdrawn: Sequence[Withdrawn], config: TrainConfig) -> New:
    """Make the networks. What is wrong with a corpus or a configuration shows here, before anything is written."""
    wanted = config.conditions
    conditions = check_corpus(images, wanted.attributes, config.autoencoder.crop, withdrawn, wanted.min_patients)
    old = LatentDiffusion.load(config.start) if config.start else None
    if old:
        learns = bool(config.denoiser.loop.steps)
        conditions = on_columns_of(old.conditions, conditions, learns) or conditions
    set_seed(config.seed)
    autoencoder = build_autoencoder(config.autoencoder.shape)
    unet = build_unet(config.denoiser.shape, config.autoencoder.shape.latent_channels, images.height // 8)
    perceptual = PerceptualDistance(config.features) if config.features else None
    denoiser = Denoiser(unet, build_embedding(unet, conditions.width, augment.WIDTH))
    new = New(conditions, Reconstruction(autoencoder), denoiser, perceptual)
    return _begin_with(new, old, config) if old else new


def _begin_with(new: New, old: LatentDiffusion, config: TrainConfig) -> New:
    """The networks with the weights of a model, and what of its figures still holds."""
    _take_weights(new, old, str(config.start))
    if config.autoencoder.decoder_only:
        new.reconstruction.autoencoder.encoder.requires_grad_(False)
    if config.encoder_stays:
        new = replace(new, scale=old.scale)
    if _worse(config):
        new = replace(new, worse=_worse_denoiser(old, config))
    keeps = _few_step_fits(old, config)
    if keeps:
        new = replace(new, few_step=old.few_step)
    stale = set() if keeps else {FEW_STEP_DISTANCE, FEW_STEP_PATHS}
    if any(loop.steps for loop in config.loops.values()):
        stale |= new.figures.keys() - CARRIED
    for name in stale & new.figures.keys():
        del new.figures[name]
    return new


def _few_step_fits(old: LatentDiffusion, config: TrainConfig) -> bool:
    """Whether the few-step weights of the model that training starts from will be those of its result."""
    trained = config.denoiser.loop.steps or config.guidance.loop.steps
    return config.encoder_stays and not trained and old.chain == CHAINS[config.diffusion]


def _worse_denoiser(old: LatentDiffusion, config: TrainConfig) -> Denoiser:
    """The denoiser of `guidance.worse`. Raises ConfigError if it is not of the model that training starts from."""
    folder = str(_worse(config))
    worse = LatentDiffusion.load(folder)
    ours, theirs = old.autoencoder.encoder.state_dict(), worse.autoencoder.encoder.state_dict()
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    if not same or (_columns(old.conditions), old.scale) != (_columns(worse.conditions), worse.scale):
        raise ConfigError(f"guidance.worse: {folder} has other latents or conditions than {config.start}. "
                          "It must be an earlier state of that model.")  # fmt: skip
    if worse.chain.name != config.diffusion:
        raise ConfigError(f"guidance.worse: {folder} is trained for {worse.chain.name}, not {config.diffusion}.")
    return worse.denoiser


def _take_weights(new: New, old: LatentDiffusion, start: str) -> None:
    """Start from the weights of a model. Raises ConfigError if it has other shapes or knows other conditions."""
    if _columns(old.conditions) != _columns(new.conditions):
        raise ConfigError(f"start: {start} knows other conditions than this corpus and configuration give.")
    try:
        new.reconstruction.autoencoder.load_state_dict(old.autoencoder.state_dict())
        new.denoiser.load_state_dict(old.denoiser.state_dict())
        new.figures.update(old.card)
    except RuntimeError:
        raise ConfigError(f"start: {start} has networks of other shapes than this configuration.") from None


def _columns(conditions: Conditions) -> list[Any]:
    """What the columns of a network stand for."""
    return [(a.name, a.labels if isinstance(a, Category) else (a.low, a.high)) for a in conditions.attributes]


def _train_and_publish(new: New, images: ImageSet, out: Path, record: Record, config: TrainConfig,
                       accelerator: Accelerator, show: bool) -> None:  # fmt: skip
    with shared_draft(out, record, accelerator) as draft, progress_bar(show and accelerator.is_main_process) as bar:
        run = Run(draft, accelerator, config.seed, bar)
        for folder in (run.work, draft / "training"):
            folder.mkdir(exist_ok=True)
        accelerator.init_trackers("tensorboard")
        model, figures = _train_both(run, images, new, config)
        for tracker in accelerator.trackers:
            tracker.finish()
        if accelerator.is_main_process:
            name_events(draft / "training" / "tensorboard")
            record.results.update(figures)
            record.results["withdrawn"] = [asdict(one) for a in model.conditions.attributes for one in a.withdrawn]
            model.card = figures
            model.save(draft)
            (draft / "README.md").write_text(model_card(model, images, figures), encoding="utf-8")


def _train_both(run: Run, images: ImageSet, new: New, config: TrainConfig) -> tuple[LatentDiffusion, dict[str, Any]]:
    accelerator, device = run.accelerator, run.accelerator.device
    with accelerator.main_process_first():
        corpus = Corpus.open(images, new.conditions, run.work, device)
    reconstruction, denoiser = new.reconstruction, new.denoiser
    for network in (reconstruction, denoiser):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    perceptual = new.perceptual.to(device) if new.perceptual else None
    coder = AutoencoderTask(reconstruction, corpus, config.autoencoder, perceptual, device)
    run.follow(coder, config.autoencoder.loop, partial(draw_reconstructions, coder))
    figures = new.figures | {f"autoencoder PSNR {m}, dB": round(v, 2) for m, v in coder.psnr(reconstruction).items()}

    cache = run.work / "latents.safetensors"
    if accelerator.is_main_process:
        line = run.bar.add_task("encode", total=None)
        for done, total in encode_latents(
            reconstruction.autoencoder, corpus, config.denoiser, config.seed, cache, device
        ):
            run.bar.update(line, completed=done, total=total)
    accelerator.wait_for_everyone()
    latents = load_latents(cache, corpus, new.scale)
    model = LatentDiffusion(reconstruction.autoencoder, denoiser, corpus.conditions, latents.scale,
                            CHAINS[config.diffusion], images.height, new.few_step, units=shared_units(images),
                            steps=config.steps)  # fmt: skip
    task = DenoiserTask(denoiser, corpus, latents, model.chain, config.denoiser, device)
    samples = Samples(model, Nearness.of(corpus), config.seed)
    run.follow(task, config.denoiser.loop, partial(samples.draw, steps=8), config.compile)
    with torch.no_grad():
        figures["validation loss"] = round(task.validate(denoiser), 4)
        figures["training loss on as many images"] = round(task.mean_error(denoiser, corpus.train), 4)
    figures[SEEN] = figures.get(SEEN, 0) + config.denoiser.loop.steps * config.denoiser.loop.batch_size
    if config.denoiser.loop.steps:
        figures.pop(GUIDED, None)
    if config.guidance.loop.steps:
        figures |= _guide(run, task, samples, new, config)
    figures["parameters"] = sum(p.numel() for n in (denoiser, reconstruction) for p in n.parameters())
    if config.few_step.loop.steps and config.diffusion == "flow":
        figures |= _tune(run, corpus, samples, config.few_step)
    return model, figures


def _guide(run: Run, trained: DenoiserTask, samples: Samples, new: New, config: TrainConfig) -> dict[str, Any]:
    """Build guidance into the denoiser."""
    learning = config.denoiser.model_copy(update={"loop": config.guidance.loop})
    worse = new.worse.to(device=trained.device, memory_format=torch.channels_last) if new.worse else None  # type: ignore[call-overload]
    task = GuidanceTask(trained.network, trained.corpus, trained.latents, trained.chain, learning, trained.device,
                        worse=worse, strength=config.guidance.strength)  # fmt: skip
    run.follow(task, config.guidance.loop, partial(samples.draw, steps=8))
    return {GUIDED: config.guidance.strength}


def _tune(run: Run, corpus: Corpus, samples: Samples, config: FewStepConfig) -> dict[str, Any]:
    """Give the model few-step weights."""
    model = samples.model
    model.to(str(run.accelerator.device))
    model.few_step = few_step_copy(model.denoiser)
    task = FewStepTask(model.few_step, model, corpus, config, run.accelerator.device)
    run.follow(task, config.loop, partial(samples.draw, steps=2))
    with torch.no_grad():
        distance = round(task.validate(model.few_step), 4)
    return {FEW_STEP_DISTANCE: distance, FEW_STEP_PATHS: config.loop.steps * config.loop.batch_size}
