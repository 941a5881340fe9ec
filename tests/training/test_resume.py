"""Training that is killed at any moment, and given again, ends in the same bytes as a training that never was."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import phonybrains.training.inspection as inspection
import phonybrains.training.stage as stage
from phonybrains.errors import ConfigError, OutputError
from phonybrains.imageset import ImageSet
from phonybrains.model.description import FEW_STEP_PARTS, PARTS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.optimising.checkpoint import TrainState
from phonybrains.optimising.processes import accelerating
from phonybrains.record import Record
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.few_step import FewStepTask
from phonybrains.training.guidance import GuidanceTask
from phonybrains.training.stage import train
from tests.conftest import one_at_a_time
from tests.support.forked import FORKS, WAIT_S, be_rank, deadly, ended, free_port, started, wait_for, works

LOOP = {"steps": 6, "batch_size": 4, "warmup": 2, "validate_every": 3, "checkpoint_every": 2}
TASKS = ("autoencoder", "denoiser", "guidance", "few_step")
UNET = "unet/diffusion_pytorch_model.safetensors"


def config(**loops: dict[str, int]) -> TrainConfig:
    """Six steps of each task, or other loops for some."""
    parts: dict[str, Any] = {task: {"loop": LOOP | loops.get(task, {})} for task in TASKS}
    parts["denoiser"]["shape"] = {"widths": [16]}
    return load_train_config("tiny", conditions=("plane", "age_years"), **parts)


def results(folder: Path) -> dict[str, bytes]:
    """What must not depend on how often a training was stopped: every part, the log and the sheets, as bytes."""
    sheets = [f"training/{path.name}" for path in (folder / "training").glob("*.png")]
    names = (*PARTS, *FEW_STEP_PARTS, "model.json", "README.md", "training/log.jsonl", *sheets)
    return {name: (folder / name).read_bytes() for name in names}


def half_written(calls: int) -> None:
    """Die at the n-th file of tensors, when half of it is written."""
    write, left = Path.write_bytes, [calls]

    def written(self: Path, data: bytes) -> int:
        left[0] -= ".safetensors." in self.name
        if left[0] == 0:
            write(self, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    Path.write_bytes = written  # type: ignore[method-assign]


def while_encoding(means: int) -> None:
    encode = stage.encode_latents

    def encoded(*args: Any) -> Iterator[int]:
        yield next(encode(*args))
        os.kill(os.getpid(), means)

    stage.encode_latents = encoded


CTRL_C = signal.SIGINT
DEATHS: dict[str, Callable[[], object]] = {
    "while pixels are cached": lambda: deadly(ImageSet, "pixels", 20),
    "before the first checkpoint": lambda: deadly(TrainState, "average", 2),
    "between checkpoints": lambda: deadly(TrainState, "average", 3),
    "Ctrl-C between checkpoints": lambda: deadly(TrainState, "average", means=CTRL_C),
    "with half a checkpoint written": lambda: half_written(2),
    "after a report, before its checkpoint": lambda: deadly(TrainState, "save"),
    "right after a checkpoint": lambda: deadly(TrainState, "save", after=True),
    "while a sheet is drawn": lambda: deadly(inspection, "contact_sheet"),
    "while latents are encoded": lambda: while_encoding(signal.SIGKILL),
    "Ctrl-C while latents are encoded": lambda: while_encoding(CTRL_C),
    "with half the latents written": lambda: half_written(1),
    "before the denoiser's first checkpoint": lambda: deadly(DenoiserTask, "loss", 2),
    "between the denoiser's checkpoints": lambda: deadly(DenoiserTask, "loss", 5),
    "Ctrl-C between the denoiser's checkpoints": lambda: deadly(DenoiserTask, "loss", means=CTRL_C),
    "while the denoiser's sheet is made": lambda: deadly(LatentDiffusion, "paint"),
    "when all the denoiser's steps are made": lambda: deadly(DenoiserTask, "mean_error", 4),
    "between the guidance's checkpoints": lambda: deadly(GuidanceTask, "loss", 5),
    "when guidance is built in": lambda: deadly(stage, "_guide", after=True),
    "before the few-step weights' first checkpoint": lambda: deadly(FewStepTask, "loss", 2),
    "between the few-step weights' checkpoints": lambda: deadly(FewStepTask, "loss", 5),
    "Ctrl-C between the few-step weights' checkpoints": lambda: deadly(FewStepTask, "loss", means=CTRL_C),
    "while the few-step weights' sheet is made": lambda: deadly(LatentDiffusion, "shortcut", 4),
    "when all steps are made": lambda: deadly(stage, "_tune", after=True),
    "while the model is saved": lambda: deadly(LatentDiffusion, "save", after=True),
    "before the record is written": lambda: deadly(Record, "write"),
    "before the draft is renamed": lambda: deadly(Record, "write", after=True),
    "before the work is cleaned up": lambda: deadly(shutil, "rmtree"),
}
"""In the order in which a training comes past them."""


def child(corpus: Path, out: Path, death: str = "", **loops: Any) -> None:
    """The body of a process that trains, and dies if told to."""
    torch.set_num_threads(1)
    inspection.COUNT = 2  # images on a sheet
    if death:
        DEATHS[death]()
    train(corpus, out, config(**loops), show=False)


def run_for(corpus: Path, out: Path, cpu_s: float) -> tuple[int | None, float]:
    """Train until so much CPU time is spent, then kill; the exit code, None if killed, and the CPU time."""
    process, spent = started(child, corpus, out), 0.0
    watched = psutil.Process(process.pid)
    while process.exitcode is None and spent < cpu_s:
        process.join(0.01)
        try:
            spent = sum(watched.cpu_times()[:2])
        except psutil.NoSuchProcess:
            process.join(WAIT_S)
    code = process.exitcode
    process.kill()
    process.join(WAIT_S)
    return code, spent


@pytest.fixture(scope="module")
def whole_run(phantom_corpus: Path, shared_folder: Path) -> tuple[dict[str, bytes], float]:
    """The results of a training that is never stopped, made once a run, and its CPU time in seconds."""
    with one_at_a_time(shared_folder, "undisturbed") as folder:
        if not (folder / "cpu_s").exists():
            code, spent = run_for(phantom_corpus, folder / "model", math.inf)
            assert code == 0
            (folder / "cpu_s").write_text(str(spent))
        return results(folder / "model"), float((folder / "cpu_s").read_text())


@pytest.fixture(scope="module")
def undisturbed(whole_run: tuple[dict[str, bytes], float]) -> dict[str, bytes]:
    return whole_run[0]


@pytest.fixture(scope="module")
def stopped(phantom_corpus: Path, shared_folder: Path) -> Path:
    """One training, stopped at each place in turn; what lies in its folder after each, by the place's name."""
    with one_at_a_time(shared_folder, "stopped") as folder:
        for death in DEATHS:
            if not (folder / death).exists():
                code = 1 if death.startswith("Ctrl-C") else -signal.SIGKILL
                assert ended(started(child, phantom_corpus, folder / "run" / "model", death)) == [code], death
                assert (folder / "run" / "model").exists() == (death == "before the work is cleaned up"), death
                shutil.copytree(folder / "run", folder / death)
        return folder


def draft_at(stopped: Path, death: str, place: Path) -> Path:
    """The folder of a training that was killed there, copied to a place; where its model will be."""
    shutil.copytree(stopped / death, place, dirs_exist_ok=True)
    return place / "model"


def assert_ends_the_same(corpus: Path, out: Path, undisturbed: dict[str, bytes]) -> None:
    """Given again, the training ends as if nothing had been, and leaves neither draft nor work."""
    assert ended(started(child, corpus, out)) == [0]
    assert_is_whole(out, undisturbed)


def assert_is_whole(out: Path, undisturbed: dict[str, bytes]) -> None:
    assert results(out) == undisturbed
    assert {p.name for p in out.parent.iterdir()} == {out.name}
    assert not (out / "work").exists()


def test_stopped_everywhere(phantom_corpus: Path, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """One training, killed -9 at twenty-three places one after the other, and stopped by Ctrl-C in four stages.

    From the first pixel to the last cleaning; Ctrl-C ends with an error, and the same call goes on in the draft.
    """
    assert [death.startswith("Ctrl-C") for death in DEATHS].count(False) == 23
    assert_ends_the_same(phantom_corpus, draft_at(stopped, list(DEATHS)[-1], tmp_path), undisturbed)


@pytest.mark.parametrize(
    "death", ["between checkpoints", "between the denoiser's checkpoints", "when all steps are made"]
)
def test_the_rest_is_made_at_once(
    phantom_corpus: Path, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path, death: str
):
    """Killed -9 in a stage, all that is left is made by one process; guidance and few-step weights: see below."""
    assert_ends_the_same(phantom_corpus, draft_at(stopped, death, tmp_path), undisturbed)


def test_killed_at_random_moments(phantom_corpus: Path, whole_run: tuple[dict[str, bytes], float], tmp_path: Path):
    """Killed -9 from outside, again and again, after any part of the CPU time that a whole training takes."""
    undisturbed, whole_s = whole_run
    out, rng, kills = tmp_path / "model", random.Random(0), 0
    while kills < 3 and run_for(phantom_corpus, out, whole_s * rng.uniform(0.05, 0.5))[0] is None:
        kills += 1
    assert kills >= 2
    assert_ends_the_same(phantom_corpus, out, undisturbed)


def test_the_log_has_every_step_once(undisturbed: dict[str, bytes]):
    """What the killed runs are compared with is a log without gaps."""
    entries = [json.loads(line) for line in undisturbed["training/log.jsonl"].splitlines()]
    assert [(e["step"], next(k for k in e if k.endswith("/loss"))) for e in entries] == [
        (step, f"{task}/loss") for task in TASKS for step in (2, 3, 4, 6)
    ]


def test_damage_between_two_calls(phantom_corpus: Path, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """A flipped bit, a length of 0 or half a line of the log, in all files of the draft: the same in the end.

    None hides another: what is made anew out of one that is damaged and not noticed is other images' weights.
    """
    out = draft_at(stopped, "between the guidance's checkpoints", tmp_path)
    (draft,) = tmp_path.glob(".model.*.partial")
    for name in ("pixels.npy", "latents.safetensors", "guidance.safetensors"):
        content = bytearray((draft / "work" / name).read_bytes())
        content[-9] ^= 4
        (draft / "work" / name).write_bytes(content)
    for name in ("autoencoder.safetensors", "denoiser.safetensors"):
        (draft / "work" / name).write_bytes(b"")
    with (draft / "training" / "log.jsonl").open("ab") as log:
        log.write(b'{"step": 4, "guid')
    assert_ends_the_same(phantom_corpus, out, undisturbed)


# A full disk


def test_a_full_disk_in_a_checkpoint(
    phantom_corpus: Path, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """ENOSPC while a checkpoint is written: OutputError; the draft keeps the one before, and training goes on."""
    out = draft_at(stopped, "between the few-step weights' checkpoints", tmp_path)
    work = next(tmp_path.glob(".model.*.partial/work"))
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if ".safetensors." in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"model: the disk is full\. What is done is kept: free some space"):
            train(phantom_corpus, out, config(), show=False)
    assert "few_step.safetensors" in before
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before
    assert_ends_the_same(phantom_corpus, out, undisturbed)


def on_a_small_disk(corpus: Path, disk: Path, sizes_kib: list[int], told: Any) -> None:
    """Train on a disk that is enlarged from one size to the next, and tell how each attempt ended."""
    for size in sizes_kib:
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        try:
            child(corpus, disk / "model")
            told.put("done")
        except BaseException as error:
            told.put(f"{type(error).__name__}: {error}")


@pytest.mark.needs("root")
def test_a_disk_that_is_really_full(phantom_corpus: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """On a file system of some kilobytes, wherever it fills up: the same error, and the same model in the end."""
    disk, sizes = tmp_path / "disk", [100, 240, 1000, 2700, 3200, 4500, 5000, 5500, 40_000]
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        told = FORKS.Queue()
        assert ended(started(on_a_small_disk, phantom_corpus, disk, sizes, told)) == [0]  # a bus error would be -7
        hint = "the disk is full. What is done is kept: free some space, give the command again."
        full = f"OutputError: {disk / 'model'}: {hint}"
        assert [told.get(timeout=5) for _ in sizes] == [full] * (len(sizes) - 1) + ["done"]
        assert_is_whole(disk / "model", undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Two processes


def rank(number: int, port: int, corpus: Path, out: Path, death: str = "", **loops: Any) -> None:
    """The body of one of two processes, as torchrun starts them; beside the model it tells what weights it has."""
    be_rank(number, port)
    both = stage._train_both

    def told(run: Any, *rest: Any) -> Any:
        model, figures = both(run, *rest)
        digest = hashlib.sha256()
        for network in (model.autoencoder, model.denoiser, model.few_step):
            for tensor in network.state_dict().values():
                digest.update(tensor.contiguous().numpy().tobytes())
        Path(f"{out}.rank{number}").write_text(f"{digest.hexdigest()} {run.accelerator.num_processes}")
        return model, figures

    stage._train_both = told
    child(corpus, out, death if number == 0 else "", **loops)


def run_two(corpus: Path, out: Path, death: str = "") -> list[int | None]:
    """Train with two processes; where the first is killed the second is too. Their exit codes."""
    port = free_port()
    return ended(*(started(rank, number, port, corpus, out, death) for number in (0, 1)))


def test_two_processes(phantom_corpus: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """Two processes end with the same weights; killed and given again, with the same as undisturbed.

    Each shows half a batch: the curves are those of one process but for the noise drawn, and the weights are near.
    """
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_two(phantom_corpus, whole) == [0, 0]
    first, second = run_two(phantom_corpus, stopped, "between the denoiser's checkpoints")
    assert first == -signal.SIGKILL
    assert second != 0
    assert not stopped.exists()
    assert run_two(phantom_corpus, stopped) == [0, 0]
    ranks = [Path(f"{whole}.rank{i}").read_text().split() for i in (0, 1)]
    assert ranks[0] == ranks[1]
    assert ranks[0][1] == "2"
    found = results(whole)
    assert results(stopped) == found

    both, alone = (map(json.loads, made["training/log.jsonl"].splitlines()) for made in (found, undisturbed))
    for a, b in zip(both, alone, strict=True):
        assert a == pytest.approx(b, rel=0.15, abs=0.02)
    for part in (UNET, f"few_step_{UNET}"):
        (tmp_path / "one").write_bytes(undisturbed[part])
        one, two = load_file(tmp_path / "one"), load_file(whole / part)
        vectors = [torch.cat([w[name].float().flatten() for name in one]) for w in (one, two)]
        assert torch.nn.functional.cosine_similarity(*vectors, dim=0) > 0.99
        assert not torch.equal(*vectors)


@pytest.mark.parametrize("task", TASKS)
def test_more_processes_than_images_in_a_batch(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
):
    """A batch that cannot be shared, of images or of paths, is refused before anything is written."""
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 4))
    with pytest.raises(ConfigError, match=rf"{task}\.loop\.batch_size 3 is less than the 4 processes"):
        train(phantom_corpus, tmp_path / "model", config(**{task: {"batch_size": 3}}), show=False)
    assert list(tmp_path.iterdir()) == []
    with accelerating(config(**{task: {"batch_size": 3, "steps": 0}}), tmp_path / "draft"):
        pass  # a part that is not trained needs no batch


# A launcher that is gone


def test_workers_end_with_their_launcher(phantom_corpus: Path, tmp_path: Path):
    """torchrun killed -9 in the middle of training: both workers end too, and the same command goes on."""
    script, out = tmp_path / "script.py", tmp_path / "model"
    script.write_text(f"""
import os
from pathlib import Path
import phonybrains.training.stage as stage
from phonybrains.training.config import load_train_config
Path({str(tmp_path)!r}, "pid" + os.environ["RANK"]).write_text(str(os.getpid()))
loop = {{"steps": 10**6, "batch_size": 4, "warmup": 1, "validate_every": 10**6, "checkpoint_every": 4}}
stage.train({str(phantom_corpus)!r}, {str(out)!r}, load_train_config("tiny", autoencoder={{"loop": loop}}), show=False)
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    launcher = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    workers: list[int] = []
    try:
        wait_for(lambda: any(tmp_path.glob(".model.*.partial/work/autoencoder.safetensors")))
        workers = [int((tmp_path / f"pid{rank}").read_text()) for rank in (0, 1)]
        processes = [psutil.Process(pid) for pid in workers]
        assert all(map(works, processes))
        launcher.kill()
        launcher.wait()
        wait_for(lambda: not any(map(works, processes)))
    finally:
        launcher.kill()
        launcher.wait()
        for worker in workers:
            if psutil.pid_exists(worker):
                os.kill(worker, signal.SIGKILL)
