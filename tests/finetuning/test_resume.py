"""Fine-tuning that is killed at any moment, and given again, ends in the same bytes as one that never was."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from phonybrains.finetuning import stage
from phonybrains.finetuning.stage import finetune
from phonybrains.finetuning.task import LoraTask
from phonybrains.optimising.checkpoint import TrainState
from tests.support.forked import deadly
from tests.support.stable_diffusion_files import make_base

LOOP = {"steps": 6, "batch_size": 2, "learning_rate": 1e-3, "warmup": 1, "validate_every": 3, "checkpoint_every": 2}
SETTINGS: dict[str, Any] = {"show": False, "precision": "fp32", "rank": 2, "loop": LOOP}
DESCRIBED = ("pytorch_lora_weights.safetensors", "finetune.json", "conditions.json", "README.md")
LOGGED = ("training/log.jsonl", "training/lora-0000003.png", "training/lora-0000006.png")
IMPORTED = ("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "peft")

DEATHS: dict[str, Callable[[], None]] = {
    "when the captions are encoded": lambda: deadly(stage, "_cache_texts", after=True),
    "between checkpoints": lambda: deadly(LoraTask, "loss", 4),
    "while a checkpoint is written": lambda: deadly(Path, "rename", 2),
    "right after a checkpoint": lambda: deadly(TrainState, "save", 1, after=True),
    "while a sheet is drawn": lambda: deadly(stage, "contact_sheet", 1),
    "when the weights are written": lambda: deadly(stage, "write_lora", 1, after=True),
}
"""In the order in which a fine-tuning comes past them."""


def child(base: Path, corpus: Path, out: Path, death: str) -> None:
    torch.set_num_threads(1)
    DEATHS[death]()
    finetune(str(base), corpus, out, **SETTINGS)


def die_in_turn(base: Path, corpus: Path, out: Path, told: Any) -> None:
    """Import everything once, fine-tune to each death, and tell how it ended and whether there is a model."""
    for name in IMPORTED:
        importlib.import_module(name)
    for death in DEATHS:
        process = multiprocessing.get_context("fork").Process(target=child, args=(base, corpus, out, death))
        process.start()
        process.join()
        told.put((death, process.exitcode, out.exists()))


def test_killed_at_every_stage_it_ends_in_the_same_bytes(tmp_path: Path, phantom_corpus: Path):
    """Six deaths one after the other; each time the same command goes on; nothing is half there in between."""
    base, out = make_base(tmp_path / "base"), tmp_path / "model"
    expected = finetune(str(base), phantom_corpus, tmp_path / "undisturbed", **SETTINGS)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    context.Process(target=die_in_turn, args=(base, phantom_corpus, out, told)).start()
    for death in DEATHS:
        assert told.get(timeout=600) == (death, -signal.SIGKILL, False)
    assert finetune(str(base), phantom_corpus, out, **SETTINGS) == out
    for name in (*DESCRIBED, *LOGGED):
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    assert not (out / "work").exists()
    before = (out / "record.json").stat().st_mtime_ns
    finetune(str(base), phantom_corpus, out, **SETTINGS)
    assert (out / "record.json").stat().st_mtime_ns == before
