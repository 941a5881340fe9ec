"""The systems whose speed is compared: ours, MONAI's latent diffusion, and one of Stable Diffusion's shape.

The peers have random weights, which cost the same time as trained ones, and work as their own scripts do: fp32, NCHW.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from phonybrains.model.finding import find_model
from phonybrains.model.opening import open_fastest
from phonybrains.model.sampling import Engine, Sampling

if TYPE_CHECKING:
    from phonybrains.model.opening import ImageModel

Facts = dict[str, Any]
Round = Callable[[int], float]
"""One measurement: the number of the round in, seconds per image out."""


@dataclass(frozen=True)
class Size:
    """How much is measured: images of ours, the peers' batch and timed steps, and whether they are only toys."""

    images: int = 95
    peer_batch: int = 1
    timed_steps: int = 20
    toy: bool = False


@dataclass
class System:
    """One line of the table; `make` builds the networks, at the system's first turn, and returns the measurement."""

    name: str
    steps: int
    timed: str
    make: Callable[[], Round]
    ours: bool = False
    measure: Round | None = None

    def __call__(self, number: int) -> float:
        self.measure = self.measure or self.make()
        return self.measure(number)


def ours(model: str, steps: Sequence[int], size: Size, engine: Engine = "torch") -> list[System]:
    """A model of this package at several numbers of steps, from seeds to uint8 images in memory."""

    @cache
    def load() -> ImageModel:
        return open_fastest(find_model(model), engine, Sampling())

    def make(count: int) -> Round:
        def images(n: int, how: Sampling) -> list[Any]:
            return list(load().paint(range(n), load().ask(range(n), {}, how.seed), how))

        images(min(16, size.images), Sampling(steps=1))

        def measure(number: int) -> float:
            begin = time.perf_counter()
            images(size.images, Sampling(seed=number + 1, steps=count))
            return (time.perf_counter() - begin) / size.images

        return measure

    name, timed = f"phonybrains {model}" + ", compiled" * (engine == "compiled"), f"{size.images} images"
    return [System(name, count, timed, lambda c=count: make(c), ours=True) for count in steps]


# Project-MONAI/model-zoo, models/brats_mri_axial_slices_generative_diffusion/configs/inference.json (DDIM, 50 steps);
# the same networks in Project-MONAI/tutorials, generation/2d_ldm/config/config_train_16g.json, whose inference.py
# samples with DDPM, 1000 steps. BraTS slices of 240², padded to 256²; latents of 64².
MONAI: Facts = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "num_res_blocks": 2, "include_fc": False}
MONAI_AUTOENCODER: Facts = MONAI | {"latent_channels": 1, "channels": (64, 128, 256), "attention_levels": (False,) * 3}
MONAI_HEADS: Facts = {"attention_levels": (False, True, True, True), "num_head_channels": (0, 32, 32, 32)}
MONAI_UNET: Facts = MONAI | MONAI_HEADS | {"channels": (32, 64, 128, 256)}
MONAI_NOISE: Facts = {"schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0195}
MONAI_TOY: Facts = {"channels": (32, 32), "attention_levels": (False, False)}
MONAI_TOY_UNET: Facts = MONAI_TOY | {"num_head_channels": (0, 32)}


def monai(sampler: str, size: Size) -> System:
    """MONAI's 2-D latent diffusion for brains, with its sampler "DDPM" (1000 steps) or "DDIM" (50 steps)."""
    steps = {"DDPM": 1000, "DDIM": 50}[sampler]

    def make() -> Round:
        import torch
        from monai.inferers.inferer import DiffusionInferer  # pyright: ignore[reportMissingImports]
        from monai.networks import schedulers  # pyright: ignore[reportMissingImports]
        from monai.networks.nets.autoencoderkl import AutoencoderKL  # pyright: ignore[reportMissingImports]
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet  # pyright: ignore[reportMissingImports]

        autoencoder: Any = AutoencoderKL(**(MONAI_AUTOENCODER | (MONAI_TOY if size.toy else {}))).eval()
        unet = DiffusionModelUNet(**(MONAI_UNET | (MONAI_TOY_UNET if size.toy else {}))).eval()
        scheduler = getattr(schedulers, f"{sampler}Scheduler")(**MONAI_NOISE)
        inferer = DiffusionInferer(scheduler)
        shape = (size.peer_batch, 1, 8, 8) if size.toy else (size.peer_batch, 1, 64, 64)

        def walk(count: int) -> Any:
            scheduler.set_timesteps(steps)
            scheduler.timesteps = scheduler.timesteps[:count]
            return inferer.sample(torch.randn(shape), unet, scheduler, verbose=False)

        return as_measurement(walk, autoencoder.decode_stage_2_outputs, steps, size)

    return System(f"MONAI latent diffusion, {sampler}", steps, _timed(steps, size), make)


# stable-diffusion-v1-5: unet/config.json, vae/config.json, scheduler/scheduler_config.json, as published; 860 M
# parameters. 256² images are latents of 32². Its text encoder and safety checker are left out, which favours it.
SD_UNET: Facts = {"sample_size": 64, "cross_attention_dim": 768}  # the rest is diffusers' default
SD_BLOCKS: Facts = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
SD_AUTOENCODER = SD_BLOCKS | {"sample_size": 512, "layers_per_block": 2, "block_out_channels": (128, 256, 512, 512)}
SD_BETAS: Facts = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SD_NOISE = SD_BETAS | {"skip_prk_steps": True, "steps_offset": 1}
SD_TOY: Facts = {"block_out_channels": (32, 32, 32, 32)}
SD_GUIDANCE, SD_TIMED_STEPS = 7.5, 4


def stable_diffusion(size: Size, steps: int = 25) -> System:
    """diffusers' networks and scheduler of Stable Diffusion 1.5 at 256×256, with classifier-free guidance."""
    size = replace(size, timed_steps=min(size.timed_steps, SD_TIMED_STEPS))

    def make() -> Round:
        import torch
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.schedulers.scheduling_pndm import PNDMScheduler

        narrow = SD_TOY if size.toy else {}
        unet: Any = UNet2DConditionModel(**(SD_UNET | narrow)).eval()
        autoencoder: Any = AutoencoderKL(**(SD_AUTOENCODER | narrow)).eval()
        scheduler: Any = PNDMScheduler(**SD_NOISE)
        prompt = torch.randn(2 * size.peer_batch, 77, 768)
        side = 8 if size.toy else 32

        def walk(count: int) -> Any:
            scheduler.set_timesteps(steps)
            x = torch.randn(size.peer_batch, 4, side, side)
            for t in scheduler.timesteps[:count]:
                without, told = unet(torch.cat([x, x]), t, prompt, return_dict=False)[0].chunk(2)
                x = scheduler.step(without + SD_GUIDANCE * (told - without), t, x, return_dict=False)[0]
            return x

        def decode(x: Any) -> Any:
            return autoencoder.decode(x / 0.18215, return_dict=False)[0]

        scheduler.set_timesteps(steps)
        return as_measurement(walk, decode, len(scheduler.timesteps), size)

    return System("Stable Diffusion 1.5's shape", steps, _timed(steps, size), make)


def monai_is_missing() -> bool:
    """Whether MONAI, or einops, which its attention needs, is not installed."""
    return any(importlib.util.find_spec(package) is None for package in ("monai", "einops"))


def _timed(steps: int, size: Size) -> str:
    return f"{size.peer_batch} × {min(steps, size.timed_steps)} steps"


def as_measurement(walk: Callable[[int], Any], decode: Callable[[Any], Any], steps: int, size: Size) -> Round:
    """Time the first steps, scale them to all, and add the decoding; one step and decoding go before, untimed."""
    import torch

    count = min(steps, size.timed_steps)

    def measure(_: int) -> float:
        with torch.inference_mode(), stopwatch() as walking:
            latents = walk(count)
        with torch.inference_mode(), stopwatch() as decoding:
            decode(latents)
        return (walking[0] * steps / count + decoding[0]) / size.peer_batch

    with torch.inference_mode():
        decode(walk(1))
    return measure


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """The seconds that the block takes, in a list that is filled at its end."""
    seconds: list[float] = []
    begin = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - begin)
