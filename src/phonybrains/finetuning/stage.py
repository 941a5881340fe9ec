"""`phonybrains finetune`: a Stable Diffusion checkpoint and an image set in, a LoRA with all it takes to use it out."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from ..config import load_config
from ..errors import ConfigError, TrainingError
from ..held_out import held_out
from ..imageset import ImageSet
from ..model.backing import told
from ..model.captions import CAPTION, Captions
from ..model.fine_tuned import FineTuned
from ..model.fitting import check_numbers, fit_conditions
from ..model.latent_diffusion import image_rng
from ..model.lora_description import LoraFacts, write_description
from ..model.stable_diffusion import GUIDANCE, TEXT, Base, backbone, draw, native_size
from ..model.training_data import shared_units
from ..model.withdrawal import withdraw
from ..networks.conditions import Conditions
from ..optimising.cache import take
from ..optimising.processes import settled
from ..optimising.run import Run, running
from ..record import Record, as_input, is_published
from ..reporting.sheets import contact_sheet
from ..startup import say
from .cache import encode_captions, encode_latents, load_latents, load_texts
from .card import model_card
from .config import FinetuneConfig
from .lora import add_lora, write_lora
from .noising import Noising, noising_of
from .task import LoraTask

SHOWN, SHEET_STEPS = 8, 20


@dataclass(frozen=True)
class Job:
    """What is fine-tuned on what: the base, the images, their captions (of rows: train, then validation)."""

    base: Base
    images: ImageSet
    captions: Captions
    conditions: Conditions
    rows: tuple[int, ...]
    train: int
    config: FinetuneConfig

    @property
    def texts(self) -> list[str]:
        return [self.captions.write(self.images.rows[i]) for i in self.rows]


def finetune(
    base: str,
    corpus: str | Path,
    out: str | Path,
    config: FinetuneConfig | None = None,
    *,
    show: bool = True,
    **settings: Any,
) -> Path:
    """Fine-tune a Stable Diffusion checkpoint on an image set; the same call goes on where it stopped.

    base: a repository of the Hub, or a folder, in diffusers' format. Without a `config`, it is `settings`, the fields
    of FinetuneConfig.

    Writes  out/pytorch_lora_weights.safetensors, finetune.json, conditions.json, README.md, record.json, training/
    Raises  ConfigError, ImageSetError, ModelError or TrainingError before the first step if anything is unfit.
    """
    corpus, out, config = Path(corpus), Path(out), config or load_config(FinetuneConfig, None, **settings)
    images = ImageSet.open(corpus)
    job = _prepare(Base.find(base, config.revision, config.variant, config.t5), images, config)
    origin = {
        "name": base if job.base.revision else job.base.folder.resolve().name,
        "revision": job.base.revision,
        "sha256": job.base.fingerprint(),
        "record": {},
    }
    facts = config.model_dump(mode="json") | settled(config.precision)
    record = Record("finetune", facts, config.seed, [as_input(corpus), origin], images.record.get("sources", ()))
    if not is_published(out, record, FineTuned.load):
        for line in told(job.conditions) if show else ():
            say(line)
        with running(config, out, record, config.seed, show) as run:
            _train(job, run, out, record)
    shutil.rmtree(out / "work", ignore_errors=True)  # only now, so that a stop at any moment costs no training
    return out


def _prepare(base: Base, images: ImageSet, config: FinetuneConfig) -> Job:
    """Check the corpus and write its captions. Raises TrainingError or ConfigError naming what is wrong."""
    train = [i for i, row in enumerate(images.rows) if row.split == "train"]
    validation = held_out(images.rows, "validation")
    if not train:
        raise TrainingError(f"{images.folder}: no image is in the split 'train'. Import it again with a split.")
    if images.width != images.height:
        raise TrainingError(
            f"{images.folder}: images are {images.width}×{images.height}; fine-tuning needs squares. "
            "Import again with --size."
        )
    if config.noise_offset and base.family == "sd3":
        raise ConfigError("noise_offset is for noise prediction; the flow of Stable Diffusion 3 does without.")
    captions = Captions(config.caption or CAPTION, config.words)
    check_numbers(images, captions.names)
    images, withdrawn = withdraw(images, captions.names, config.min_patients)
    rows = [images.rows[i] for i in train]
    if config.caption is None:
        captions = captions.only({"modality", *(name for row in rows for name, v in row.attributes.items() if v)})
    conditions = fit_conditions(rows, captions.names, withdrawn, config.min_patients)
    return Job(base, images, captions, conditions, (*train, *validation), len(train), config)


def _train(job: Job, run: Run, out: Path, record: Record) -> None:
    """Train, and have the main process write the result into the draft."""
    numbers, config = _cache_texts(job, run), job.config
    pipeline = job.base.load(without=TEXT)
    size = _side(pipeline, config.size)
    set_seed(config.seed)
    network, noising = _network(job, run, pipeline), noising_of(pipeline)
    pipeline.vae.to(run.accelerator.device)
    encoding = encode_latents(pipeline.vae, job.images, job.rows, size, run.work / "latents.safetensors")
    run.note("encode", encoding, "images", len(job.rows))
    task = _task(job, run, network, noising, numbers, size)
    run.follow(task, config.loop, partial(_draw_sheet, job, task, pipeline, run.accelerator))
    if run.accelerator.is_main_process:
        figures = _figures(task)
        record.results.update(figures | {"threads": run.threads})
        write_lora(pipeline, run.draft)
        facts = _facts(job, out, record, size, figures)
        write_description(run.draft, facts, job.conditions)
        card = model_card(facts, job.images, job.captions, job.texts, job.conditions)
        (run.draft / "README.md").write_text(card, encoding="utf-8")


def _cache_texts(job: Job, run: Run) -> list[int]:
    """Encode each distinct caption once; returns the number of each image's."""
    texts = job.texts
    distinct = list(dict.fromkeys(texts))
    path = run.work / "captions.safetensors"

    def encoding() -> Iterator[int]:
        if not take(path):
            pipeline = job.base.load_texts(run.accelerator.device)
            _check_length(pipeline, distinct)
            yield from encode_captions(pipeline, distinct, path)

    run.note("captions", encoding(), "captions", len(distinct))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [distinct.index(text) for text in texts]


def _check_length(pipeline: Any, texts: list[str]) -> None:
    """Raise ConfigError for a caption of which the base would not read the end."""
    if getattr(pipeline, "text_encoder_3", None) is not None:
        return  # T5 reads on
    longest = max(texts, key=lambda text: len(pipeline.tokenizer(text).input_ids))
    count, most = len(pipeline.tokenizer(longest).input_ids), pipeline.tokenizer.model_max_length
    if count > most:
        raise ConfigError(f"caption: '{longest}' has {count} tokens, and the base reads {most}. Shorten the template.")


def _network(job: Job, run: Run, pipeline: Any) -> Any:
    """The network with its LoRA, in the precision of this run."""
    precision = torch.bfloat16 if run.accelerator.mixed_precision == "bf16" else torch.float32
    network = add_lora(pipeline, job.config.rank, job.config.targets, precision)
    if job.config.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    return network


def _task(job: Job, run: Run, network: Any, noising: Noising, numbers: list[int], size: int) -> LoraTask:
    """The network, and what it learns from."""
    device = run.accelerator.device
    network.to(device)
    train, validation = torch.arange(job.train), torch.arange(job.train, len(job.rows))
    latents = load_latents(run.work / "latents.safetensors")
    texts = load_texts(run.work / "captions.safetensors", numbers)
    rows = (train, validation if len(validation) else train)
    return LoraTask(network, job.base.family, noising, latents, texts, *rows, size, job.config, device)


def _side(pipeline: Any, wanted: int | None) -> int:
    """The side that the base draws at. Raises ConfigError for one that does not fit its networks."""
    name, network = backbone(pipeline)
    inner = network.config.patch_size if name == "transformer" else 2 ** (len(network.config.block_out_channels) - 1)
    step, native = pipeline.vae_scale_factor * inner, native_size(pipeline)
    size, most = wanted or native, step * network.config.pos_embed_max_size if name == "transformer" else None
    if size % step or (most and size > most):
        limit = f", up to {most}" if most else ""
        raise ConfigError(f"size {size}: this base draws sides that are multiples of {step}{limit}, at best {native}.")
    return size


def _draw_sheet(job: Job, task: LoraTask, pipeline: Any, accelerator: Accelerator, sheet: Path) -> dict[str, float]:
    """Draw images of the corpus's most frequent captions, always of the same noise."""
    texts = job.texts
    chosen = [text for text, _ in Counter(texts[: job.train]).most_common(SHOWN)]
    numbers = task.texts.captions[torch.tensor([texts.index(text) for text in chosen])]
    guided = {name: tensor.to(task.device) for name, tensor in task.texts.guided(numbers).items()}
    rngs = [image_rng(job.config.seed, i) for i in range(len(chosen))]
    with accelerator.autocast():  # the network may be in bf16, what decodes its latents is not
        made = draw(pipeline, rngs, task.side, SHEET_STEPS, _guidance(job), job.images.height, **guided)
    contact_sheet(made, sheet, columns=4, side=256, labels=chosen)
    return {}


def _figures(task: LoraTask) -> dict[str, Any]:
    network: Any = task.network
    shown = {"training loss on as many images": task.train}
    if task.validation is not task.train:
        shown = {"validation loss": task.validation} | shown
    first = next(iter(shown))
    with torch.no_grad():
        figures = {name: task.mean_error(network, rows) for name, rows in shown.items()}
        network.disable_lora()
        figures[f"{first} of the base as it was"] = task.mean_error(network, shown[first])
        network.enable_lora()
    trained = sum(p.numel() for name, p in network.named_parameters() if "lora_" in name)
    loop = task.config.loop
    return {name: round(value, 4) for name, value in figures.items()} | {
        "images seen": loop.steps * loop.batch_size,
        "parameters trained": trained,
    }


def _guidance(job: Job) -> float:
    return GUIDANCE[job.base.family] if job.config.guidance is None else job.config.guidance


def _facts(job: Job, out: Path, record: Record, size: int, figures: dict[str, Any]) -> LoraFacts:
    base, config = job.base, job.config
    local = not base.revision
    name = os.path.relpath(base.folder.resolve(), out.resolve()) if local else base.name
    images = (size, job.images.height, job.captions.template, config.words, config.steps, _guidance(job))
    origin = (local, base.revision, base.variant, base.t5, config.rank)
    sha256, units = record.inputs[1]["sha256"], shared_units(job.images)
    return LoraFacts(base.family, name, sha256, *images, *origin, units, figures)
