"""The processes that train together, on CPU or GPU, alone or started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ..errors import ConfigError
from ..files import write_whole
from ..model.workers import chosen_device, this_device
from ..record import Record, draft_folder, publish
from ..startup import end_with_parent
from ..wording import count_of
from .config import LoopConfig


class Training(Protocol):
    """What the configuration of every training says: its arithmetic (auto, bf16 or fp32), and its loops by name."""

    @property
    def precision(self) -> str: ...
    @property
    def loops(self) -> Mapping[str, LoopConfig]: ...


@contextmanager
def accelerating(config: Training, draft: Path) -> Iterator[Accelerator]:
    """accelerate's state is global to the process; it is left clean, for another training with other settings.

    Raises ConfigError where something else in this process has begun to use it.
    """
    end_with_parent()
    _check_devices()
    if AcceleratorState._shared_state:
        raise ConfigError("this process uses accelerate already, whose state is global. Train in a process of its own.")
    with _told(chosen_device()):
        accelerator = Accelerator(
            mixed_precision="bf16" if settled(config.precision)["precision"] == "bf16" else "no",
            cpu=this_device() == "cpu",
            log_with="tensorboard",
            project_dir=draft / "training",
        )
    try:
        for name, loop in config.loops.items():
            if loop.steps and loop.batch_size < accelerator.num_processes:
                raise ConfigError(
                    f"{name}.batch_size {loop.batch_size} is less than the {accelerator.num_processes} processes."
                )
        yield accelerator
    finally:
        accelerator.state.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)


def settled(precision: str) -> dict[str, object]:
    """What changes the weights and a configuration leaves open: the arithmetic here, and how many processes there are.

    Each of several processes draws noise of its own.
    """
    auto = "bf16" if _has_bf16() else "fp32"
    return {"precision": auto if precision == "auto" else precision, "processes": int(os.environ.get("WORLD_SIZE", 1))}


@contextmanager
def same_threads(draft: Path) -> Iterator[int]:
    """Compute with as many threads as this training began with: how a sum is split up changes its last bits."""
    path, own = draft / "work" / "threads", torch.get_num_threads()
    path.parent.mkdir(exist_ok=True)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    count = int(text) if text.isascii() and text.isdigit() and int(text) > 0 else own
    if text != str(count):
        write_whole(path, str(count).encode())
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(own)


@contextmanager
def _told(device: str) -> Iterator[None]:
    """Tell accelerate of a device, which it takes from the environment as it starts."""
    said = {} if device in ("", "cpu", "cuda") else {"ACCELERATE_TORCH_DEVICE": device}
    os.environ.update(said)
    try:
        yield
    finally:
        for name in said:
            del os.environ[name]


def _check_devices() -> None:
    mine = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if this_device().startswith("cuda") and mine > torch.cuda.device_count():
        raise ConfigError(
            f"{mine} processes on this machine, but only {count_of(torch.cuda.device_count(), 'GPU')}. "
            "Start as many as there are GPUs."
        )


def _has_bf16() -> bool:
    if (device := this_device()) != "cpu":
        return device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextmanager
def shared_draft(out: Path, record: Record, accelerator: Accelerator) -> Iterator[Path]:
    """The draft folder, which the main process makes and publishes and the others only use."""
    if accelerator.is_main_process:
        with publish(out, record, resume=True) as draft:
            accelerator.wait_for_everyone()
            yield draft
            accelerator.wait_for_everyone()
    else:
        accelerator.wait_for_everyone()
        yield draft_folder(out, record)
        accelerator.wait_for_everyone()
