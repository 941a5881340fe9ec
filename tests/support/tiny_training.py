"""Trainings of seconds: their settings, corpora of a few images, and what is read of their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from phonybrains.imageset import Row, write_metadata, write_png
from phonybrains.networks.squeezenet import FIRE, Fire
from phonybrains.training.config import TrainConfig, load_train_config

CPU = torch.device("cpu")
NAMES = ("plane", "hemorrhage", "age_years")
"""The conditions of the fixture tiny_model."""
LOOP = {"steps": 2, "batch_size": 4, "warmup": 1, "validate_every": 2, "checkpoint_every": 2}
ON = {"loop": LOOP}
OFF = {"loop": LOOP | {"steps": 0}}
LEARNT = ("autoencoder", "denoiser", "few_step")
PARTS = ("autoencoder", "unet", "condition_embedding")
FEW_STEP_PARTS = ("few_step_unet", "few_step_condition_embedding")


def quick_settings(folder: Path) -> Path:
    """A file for --config with which the preset takes two steps of each part."""
    lines = [f"{part}.loop = {{ steps = 2, validate_every = 2, checkpoint_every = 2 }}" for part in LEARNT]
    (folder / "quick.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "quick.toml"


def micro(**values: Any) -> TrainConfig:
    """The tiny preset with two steps of autoencoder, denoiser and few-step weights each."""
    parts = {part: ON | values.pop(part, {}) for part in LEARNT}
    return load_train_config("tiny", **{"precision": "fp32"} | parts | values)


def image_set(
    folder: Path, pixels: list[np.ndarray], split: str = "train", modality: str | list[str] = "MR", **columns: Any
) -> Path:
    """An image set of the given images, of one modality or one each."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, image in enumerate(pixels):
        digest = write_png(folder / f"images/{i}.png", image)
        own = modality if isinstance(modality, str) else modality[i]
        rows.append(Row(f"images/{i}.png", digest, own, split=split, attributes=columns))
    write_metadata(folder, rows)
    return folder


def noise_images(n: int, side: int = 32, dtype: Any = np.uint8) -> list[np.ndarray]:
    """Images of noise, always the same."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, np.iinfo(dtype).max, (side, side), dtype, endpoint=True) for _ in range(n)]


def weights(folder: Path, parts: tuple[str, ...] = PARTS) -> dict[str, bytes]:
    """The weights of a model's parts as their files have them."""
    return {part: (folder / part / "diffusion_pytorch_model.safetensors").read_bytes() for part in parts}


def log_of(folder: Path) -> list[dict[str, float]]:
    """The entries of a training's log."""
    return [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]


def save_squeezenet(path: Path, seed: int) -> Path:
    """Weights of the right shapes for `features`."""
    torch.manual_seed(seed)
    layers = {0: torch.nn.Conv2d(3, 64, 3, stride=2), **{i: Fire(*sizes) for i, sizes in FIRE.items()}}
    tensors = {f"features.{i}.{name}": p for i, layer in layers.items() for name, p in layer.state_dict().items()}
    save_file(tensors, path)
    return path


class Recorder(nn.Module):
    """A network that keeps what it is shown, and answers with zeros or what it is told."""

    def __init__(self, answer: Any = lambda x, *_: torch.zeros_like(x)) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.answer = answer

    def forward(self, *inputs: Any) -> Tensor:
        self.calls.append(inputs)
        return self.answer(*inputs)
