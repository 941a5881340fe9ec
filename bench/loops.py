"""The training loops that are compared: `fit` with its `DenoiserTask`, and one written as diffusers' examples are."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.chains import CHAINS
from phonybrains.networks.autoencoder import build_autoencoder
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.optimising.loop import Task, fit
from phonybrains.optimising.processes import accelerating
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training import augment
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.latents import Latents, encode_latents, load_latents

from .train_options import TrainOptions

MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Setup:
    """What both loops share: images, their latents, the networks as initialised, the settings."""

    images: ImageSet
    corpus: Corpus
    latents: Latents
    autoencoder: AutoencoderDC
    denoiser: Denoiser
    config: TrainConfig
    device: torch.device
    work: Path

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.denoiser.parameters())

    def precision(self, wanted: str) -> str:
        """fp32 or bf16: what a loop computes in that asks for this precision."""
        with accelerating(self.configured(wanted), self.work) as accelerator:
            return "bf16" if accelerator.mixed_precision == "bf16" else "fp32"

    def configured(self, precision: str) -> TrainConfig:
        return self.config.model_copy(update={"precision": precision})


def prepare(options: TrainOptions, work: Path) -> Setup:
    """Make or open the corpus, build the networks of a preset, and encode the corpus."""
    config = load_train_config(
        options.preset, denoiser={"variants": 2, "loop": {"batch_size": options.batch_size}}, compile=options.compile
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = ImageSet.open(options.corpus or make_phantoms(options.phantoms, work / "phantoms", size=options.size))
    conditions = check_corpus(images, config.conditions.attributes, config.autoencoder.crop)
    corpus = Corpus.open(images, conditions, work, device)
    torch.manual_seed(0)
    autoencoder = build_autoencoder(config.autoencoder.shape)
    unet = build_unet(config.denoiser.shape, config.autoencoder.shape.latent_channels, images.height // 8)
    denoiser = Denoiser(unet, build_embedding(unet, conditions.width, augment.WIDTH))
    for network in (autoencoder, denoiser):
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    autoencoder.eval().requires_grad_(False)
    for _ in encode_latents(autoencoder, corpus, config.denoiser, 0, work / "latents.safetensors", device):
        pass
    latents = load_latents(work / "latents.safetensors", corpus)
    return Setup(images, corpus, latents, autoencoder, denoiser, config, device, work)


class EnoughError(Exception):
    """All timed steps are made."""


@dataclass
class Timed:
    """A task that looks at the clock when its steps begin, and ends the training after the last that counts."""

    task: Task
    device: torch.device
    warmup: int
    steps: int
    calls: int = 0
    begin: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.name, self.network, self.validate = self.task.name, self.task.network, self.task.validate

    def loss(self, network: nn.Module, rng: Generator, share: slice) -> Tensor:
        if self.calls == self.warmup:
            self.begin = now(self.device)
        if self.calls == self.warmup + self.steps:
            self.seconds = now(self.device) - self.begin
            raise EnoughError
        self.calls += 1
        return self.task.loss(network, rng, share)


def ours(setup: Setup, options: TrainOptions, folder: Path) -> float:
    """Samples per second of our loop as it runs in `phonybrains train`, without validations and checkpoints."""
    config = setup.configured("auto")
    folder.mkdir()
    network = copy.deepcopy(setup.denoiser)
    task = DenoiserTask(network, setup.corpus, setup.latents, CHAINS["flow"], config.denoiser, setup.device)
    timed = Timed(task, setup.device, options.warmup, options.steps)
    try:
        with accelerating(config, folder) as accelerator:
            for _ in fit(timed, config.denoiser.loop, 0, folder, accelerator, config.compile):
                pass
    except EnoughError:
        return options.batch_size * options.steps / timed.seconds
    raise SystemExit("--warmup and --steps together must be fewer than the preset's steps")


def plain(setup: Setup, options: TrainOptions, cached: bool) -> float:
    """Samples per second of a loop after huggingface/diffusers' examples, on the same network and objective.

    As in examples/unconditional_image_generation/train_unconditional.py: a DataLoader, accelerate, AdamW as it comes,
    clipping, a cosine schedule, EMAModel, a log entry each step; images are encoded each step by the frozen
    autoencoder, as in examples/text_to_image/train_text_to_image.py, or their latents are read instead (`cached`).
    """
    with accelerating(setup.configured(options.plain_precision), setup.work) as accelerator:
        network, encoder = _in_rows(setup.denoiser).train(), _in_rows(setup.autoencoder)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        schedule = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=10_000)
        rows = setup.corpus.train
        latent = TensorDataset(setup.latents.values[0, rows], setup.corpus.encoded[rows])
        data = latent if cached else _Images(setup)
        loader = DataLoader(data, options.batch_size, shuffle=True, drop_last=True, num_workers=options.workers)
        network, optimizer, loader, schedule = accelerator.prepare(network, optimizer, loader, schedule)
        average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        begin = 0.0
        for step, (clean, condition) in enumerate(_endless(loader)):
            if step == options.warmup:
                begin = now(setup.device)
            if step == options.warmup + options.steps:
                break
            with torch.no_grad():
                latents = clean if cached else encoder.encode(clean, return_dict=False)[0]
            noise = torch.randn_like(latents)
            t = torch.sigmoid(torch.randn(len(latents), device=latents.device))
            mix = t[:, None, None, None]
            output = network((1 - mix) * latents + mix * noise, t, condition)
            loss = F.mse_loss(output.float(), (noise - latents).float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            average.step(network.parameters())
            accelerator.log({"loss": loss.detach().item()}, step=step)
        return options.batch_size * options.steps / (now(setup.device) - begin)


def _in_rows(network: nn.Module) -> Any:
    """A copy of a network in PyTorch's default memory format, NCHW."""
    return copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


class _Images(Dataset[tuple[Tensor, Tensor]]):
    """Training images, read from their files, and their conditions."""

    def __init__(self, setup: Setup) -> None:
        self.images, self.encoded, self.rows = setup.images, setup.corpus.encoded, setup.corpus.train.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        row = self.rows[index]
        return torch.from_numpy(to_unit_range(self.images.pixels(row)))[None], self.encoded[row]


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def matmul_peak(device: torch.device, precision: str) -> float:
    """TFLOP/s of a square matrix product, the best of ten: 2048³ on the CPU, 8192³ on a GPU."""
    side = MATMUL_SIDE[device.type]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        begin = now(device)
        torch.mm(a, b)
        best = min(best, now(device) - begin)
    return 2 * side**3 / best / 1e12


def now(device: torch.device) -> float:
    """The clock, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
