"""`phonybrains train`: an image set in, a model folder out, through an autoencoder and a denoiser."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from safetensors.torch import load_file

from ..imageset import ImageSet
from ..model.backing import told
from ..model.chains import chain_to_learn
from ..model.description import check_model
from ..model.finding import model_folder
from ..model.fitting import check_names, check_numbers
from ..model.latent_diffusion import LatentDiffusion
from ..model.training_data import shared_units
from ..model.withdrawal import withdraw
from ..networks.conditions import class_of
from ..networks.noisy_classifier import NoisyClassifier
from ..networks.texture import Texture
from ..optimising.processes import settled
from ..optimising.run import Run, running, sort_log
from ..record import Record, as_input, is_published, sha256_of_setting
from ..startup import say
from .adversarial import AdversarialTask, Contest
from .autoencoder import AutoencoderTask
from .card import model_card
from .classifier import ClassifierTask, classes_in
from .config import AdversarialConfig, FewStepConfig, TrainConfig, load_train_config
from .corpus import Corpus
from .denoiser import DenoiserTask
from .embedding import embed
from .few_step import FewStepTask, few_step_copy
from .gan import Adversaries, GanTask
from .guidance import GuidanceTask
from .inspection import Samples, draw_reconstructions
from .latents import Latents, encode_latents, load_latents, rows_encoded
from .perceptual import PerceptualDistance
from .start import (
    CLASSIFIED,
    FEW_STEP_DISTANCE,
    FEW_STEP_PATHS,
    GUIDED,
    JUDGED,
    SEEN,
    TEXTURE_DISTANCE,
    New,
    keep_a_share,
    start,
    worse_of,
)
from .texture import TextureTask, draw_smooth

LOGGED = (
    *("autoencoder", "embedding", "denoiser", "gan", "guidance"),
    *("few_step", "heads", "adversarial", "texture", "classifier"),
)
"""The parts of a training, in the order of its log."""


def train(
    corpus: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    show: bool = True,
    preset: str = "cpu",
    **settings: Any,
) -> Path:
    """Train a latent diffusion model on an image set and write its folder; the same call goes on where it stopped.

    Without a `config`, it is the preset with `settings` (the fields of TrainConfig) on top.
    Raises ImageSetError, ConfigError or TrainingError before the first step if the corpus or configuration is unfit.
    """
    corpus, out, config = Path(corpus), Path(out), config or load_train_config(preset, **settings)
    images = ImageSet.open(corpus)
    wanted = config.conditions
    check_names(wanted.attributes)
    check_numbers(images, wanted.attributes)
    images, withdrawn = withdraw(images, wanted.attributes, wanted.min_patients)
    record = record_of(corpus, images, config)
    if not is_published(out, record, check_model):
        new = start(images, withdrawn, config)
        for line in (*told(new.conditions), *new.said) if show else ():
            say(line)
        with running(config, out, record, config.seed, show) as run:
            model, figures = _train_both(run, images, new, config)
            if run.accelerator.is_main_process:
                sort_log(run.draft, LOGGED)
                lost = [asdict(one) for a in model.conditions.attributes for one in a.withdrawn]
                masks = {"masks": asdict(new.masks)} if new.masks else {}
                record.results.update(figures | {"threads": run.threads, "withdrawn": lost} | masks)
                model.card = figures
                model.save(run.draft)
                (run.draft / "README.md").write_text(model_card(model, images, figures), encoding="utf-8")
    shutil.rmtree(out / "work", ignore_errors=True)  # only now, so that a stop at any moment costs no training
    return out


def record_of(corpus: Path, images: ImageSet, config: TrainConfig) -> Record:
    """All that decides what comes of a training: files by their content, and nothing that is left open."""
    elsewhere: Any = {"features": True, "start": True, "guidance": {"worse"}}
    elsewhere |= {} if config.masks else {"masks": True}
    elsewhere |= {} if config.diffusion == "gan" else {"critic": True}
    elsewhere |= {} if config.prediction == "v" else {"prediction": True}
    elsewhere |= {} if config.few_step.from_start else {"few_step": {"from_start"}}
    elsewhere |= {} if config.adversarial.loop.steps else {"adversarial": True}
    elsewhere["denoiser"] = {name for name in ("start_share", "mask_share") if not getattr(config.denoiser, name)}
    elsewhere |= {part: True for part in ("classifier", "embedding") if not getattr(config, part).told}
    facts = config.model_dump(mode="json", exclude=elsewhere) | settled(config.precision)
    facts["features"] = sha256_of_setting("features", config.features)
    inputs = [as_input(corpus), *(as_input(model_folder(m)) for m in (config.start, worse_of(config)) if m)]
    return Record("train", facts, config.seed, inputs, images.record.get("sources", ()))


def _train_both(run: Run, images: ImageSet, new: New, config: TrainConfig) -> tuple[LatentDiffusion, dict[str, Any]]:
    accelerator, device = run.accelerator, run.accelerator.device
    with accelerator.main_process_first():
        corpus = Corpus.open(images, new.conditions, run.work, device, config.masks)
    reconstruction, denoiser = new.reconstruction, new.denoiser
    for network in (reconstruction, denoiser):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    perceptual = new.perceptual.to(device) if new.perceptual else None
    coder = AutoencoderTask(reconstruction, corpus, config.autoencoder, perceptual, device)
    of, figures = "" if corpus.held_out else " on training images", dict(new.figures)
    if config.autoencoder.kind == "dc":
        run.follow(coder, config.autoencoder.loop, partial(draw_reconstructions, coder))
        figures |= {f"autoencoder PSNR {m}{of}, dB": round(v, 2) for m, v in coder.psnr(reconstruction).items()}
    facts: Any = {"units": shared_units(images), "steps": config.steps, "masks": new.masks, "texture": new.texture}
    facts["classifier"] = new.classifier
    chain = chain_to_learn(config.diffusion, config.prediction)
    autoencoder = reconstruction.autoencoder
    if new.scale and config.texture_alone:
        parts = (autoencoder, denoiser, corpus.conditions, new.scale, chain, images.height, new.few_step)
        samples = Samples.of(LatentDiffusion(*parts, **facts), images, corpus, config.seed)
        return samples.model, figures | _give_texture(run, images, corpus, samples, perceptual, config)
    cache = run.work / "latents.safetensors"
    encoding = encode_latents(autoencoder, corpus, config.denoiser, config.seed, cache, device)
    run.note("encode", encoding, "images", sum(map(len, rows_encoded(corpus, config.denoiser.variants))))
    latents = load_latents(cache, corpus, new.scale)
    if config.embedding.told:
        latents, facts["embedding"], told = embed(run, corpus, latents, new.embedding, config)
        figures |= told
    parts = (autoencoder, denoiser, corpus.conditions, latents.scale, chain, images.height, new.few_step)
    model = LatentDiffusion(*parts, **facts)
    learning = (corpus, latents, model.chain, config.denoiser, device)
    if new.critic:
        critic = new.critic.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        task = GanTask(Adversaries(denoiser, critic, model.chain, config.critic.penalty), *learning)
    else:
        task = DenoiserTask(denoiser, *learning)
    samples = Samples.of(model, images, corpus, config.seed)
    start_share = config.denoiser.start_share
    begun_with = {name: weight.clone() for name, weight in denoiser.state_dict().items()} if start_share else {}
    run.follow(task, config.denoiser.loop, partial(samples.draw, steps=1 if new.critic else 8), config.compile)
    keep_a_share(denoiser, begun_with, start_share)
    figures |= _losses(task)
    figures[SEEN] = figures.get(SEEN, 0) + config.denoiser.loop.steps * config.denoiser.loop.batch_size
    if config.denoiser.loop.steps:
        figures.pop(GUIDED, None)
    if config.guidance.loop.steps:
        figures |= _guide(run, task, samples, new, config)
    figures["parameters"] = sum(p.numel() for n in (denoiser, reconstruction) for p in n.parameters())
    if config.few_step.loop.steps and config.diffusion == "flow":
        before = figures.get(FEW_STEP_PATHS, 0) if new.few_step else 0
        figures |= _tune(run, corpus, latents, samples, config.few_step)
        figures[FEW_STEP_PATHS] += before
    if config.adversarial.loop.steps:
        figures[JUDGED] = figures.get(JUDGED, 0) + _sharpen(run, corpus, latents, samples, config.adversarial)
        figures.pop(FEW_STEP_DISTANCE, None)
    if config.texture.loop.steps:
        figures |= _give_texture(run, images, corpus, samples, perceptual, config)
    if config.classifier.told:
        figures |= _classify(run, images, task, samples, config)
    return model, figures


@torch.no_grad()
def _losses(task: DenoiserTask) -> dict[str, float]:
    """Of a trained denoiser, on validation images, where there are any, and on as many that it has seen."""
    held = {"validation loss": round(task.validate(task.network), 4)} if task.corpus.held_out else {}
    return held | {"training loss on as many images": round(task.mean_error(task.network, task.corpus.train), 4)}


def _guide(run: Run, trained: DenoiserTask, samples: Samples, new: New, config: TrainConfig) -> dict[str, Any]:
    """Build guidance into the denoiser."""
    learning = config.denoiser.model_copy(update={"loop": config.guidance.loop})
    worse = new.worse.to(device=trained.device, memory_format=torch.channels_last) if new.worse else None  # type: ignore[call-overload]
    what = (trained.network, trained.corpus, trained.latents, trained.chain, learning, trained.device)
    task = GuidanceTask(*what, worse=worse, strength=config.guidance.strength)
    run.follow(task, config.guidance.loop, partial(samples.draw, steps=8))
    return {GUIDED: config.guidance.strength}


def _tune(run: Run, corpus: Corpus, latents: Latents, samples: Samples, config: FewStepConfig) -> dict[str, Any]:
    """Give the model few-step weights."""
    model = samples.model
    model.to(str(run.accelerator.device))
    model.few_step = (model.few_step or few_step_copy(model.denoiser)).requires_grad_(True)
    masks = None if latents.masks is None else latents.masks[0]
    task = FewStepTask(model.few_step, model, corpus, config, run.accelerator.device, masks=masks)
    run.follow(task, config.loop, partial(samples.draw, steps=2))
    with torch.no_grad():
        distance = round(task.validate(model.few_step), 4)
    return {FEW_STEP_DISTANCE: distance, FEW_STEP_PATHS: config.loop.steps * config.loop.batch_size}


def _sharpen(run: Run, corpus: Corpus, latents: Latents, samples: Samples, config: AdversarialConfig) -> int:
    """Have the few-step weights look real; returns how many of their images were judged."""
    model, loop, device = samples.model, config.loop, run.accelerator.device
    set_seed(run.seed)
    contest = Contest(model.to(str(device)), config.faithful).to(device)
    task = AdversarialTask(contest, model, corpus, latents, config, device)
    inspect = partial(samples.draw, steps=min(config.counts))
    alone = loop.model_copy(update={"steps": config.head_start, "cooldown": 0.0})
    run.follow(replace(task, name="heads"), alone, inspect)
    contest.student.requires_grad_(True)
    run.follow(task, loop, inspect)
    return loop.steps * loop.batch_size


def _give_texture(
    run: Run,
    images: ImageSet,
    corpus: Corpus,
    samples: Samples,
    perceptual: PerceptualDistance | None,
    config: TrainConfig,
) -> dict[str, Any]:
    """Give the model's images their texture."""
    model, device, cache = samples.model, run.accelerator.device, run.work / "smooth.safetensors"
    model.to(str(device)).texture = None
    drawing = draw_smooth(model, images, corpus, config.texture, config.seed, cache)
    run.note("draw smooth", drawing, "images", config.texture.images + config.texture.reconstructed)
    smooth = load_file(cache)
    model.texture = Texture(sorted({corpus.modalities[i] for i in smooth["rows"].tolist()})).to(device)
    task = TextureTask(model.texture, corpus, smooth["images"], smooth["rows"], config.texture, perceptual, device)
    run.follow(task, config.texture.loop, partial(samples.draw, steps=min(2, model.steps)))
    task.find_floors(model.texture)
    with torch.no_grad():
        return {TEXTURE_DISTANCE: round(task.validate(model.texture), 4)}


def _classify(
    run: Run, images: ImageSet, trained: DenoiserTask, samples: Samples, config: TrainConfig
) -> dict[str, Any]:
    """Give the model a classifier of its noisy latents."""
    latents, conditions, name = trained.latents, trained.corpus.conditions, config.classifier.told
    classes = classes_in([images.rows[i] for i in trained.corpus.train.tolist()], name, conditions)
    places = [classes.index(one) if (one := class_of(row[name])) in classes else -1 for row in images.rows]
    set_seed(config.seed)
    network = NoisyClassifier(latents.values.shape[2], classes, name)
    network.to(device=trained.device)  # type: ignore[call-overload]
    learning = config.denoiser.model_copy(update={"loop": config.classifier.loop})
    what = (network, trained.corpus, latents, trained.chain, learning, trained.device)
    task = ClassifierTask(*what, classes=torch.tensor(places))
    run.follow(task, config.classifier.loop, lambda _: task.right(network))
    samples.model.classifier = lambda: network
    return {CLASSIFIED: " ".join(f"{share:.2f}" for share in task.right(network).values())}
