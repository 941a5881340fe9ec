"""Training that is killed at any moment, and given again, ends in the same bytes as a training that never was."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import phonybrains.training.corpus as corpus_module
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
from tests.support.places import ROOT

LOOP = {"steps": 12, "batch_size": 4, "warmup": 2, "validate_every": 6, "checkpoint_every": 4}
SETTINGS: dict[str, Any] = {
    "conditions": ("plane", "age_years"),
    "autoencoder": {"loop": LOOP},
    "denoiser": {"loop": LOOP},
    "guidance": {"loop": LOOP},
    "few_step": {"loop": LOOP},
}
UNET = "unet/diffusion_pytorch_model.safetensors"
WAIT_S = 120


def config() -> TrainConfig:
    return load_train_config("tiny", **SETTINGS)


def results(folder: Path) -> dict[str, bytes]:
    """What must not depend on how often a training was stopped: every part, the log and the sheets, as bytes."""
    sheets = [f"training/{path.name}" for path in (folder / "training").glob("*.png")]
    return {
        name: (folder / name).read_bytes()
        for name in (*PARTS, *FEW_STEP_PARTS, "model.json", "README.md", "training/log.jsonl", *sheets)
    }


MEANS = [signal.SIGKILL]


def die() -> None:
    """kill -9, or what MEANS says, from inside."""
    os.kill(os.getpid(), MEANS[0])


class Deadly:
    """A function that kills its process at its n-th call, before or after it does its work."""

    def __init__(self, owner: Any, name: str, calls: int = 1, after: bool = False) -> None:
        self.function, self.left, self.after = getattr(owner, name), calls, after
        setattr(owner, name, lambda *args, **kwargs: self(*args, **kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            die()
        result = self.function(*args, **kwargs)
        if self.left == 0:
            die()
        return result


def half_written(calls: int) -> None:
    """Die at the n-th file of tensors, when half of it is written."""
    write, left = Path.write_bytes, [calls]

    def written(self: Path, data: bytes) -> int:
        left[0] -= ".safetensors." in self.name
        if left[0] == 0:
            write(self, data[: len(data) // 2])
            die()
        return write(self, data)

    Path.write_bytes = written  # type: ignore[method-assign]


def while_encoding() -> None:
    encode = stage.encode_latents

    def encoded(*args: Any) -> Iterator[tuple[int, int]]:
        yield next(encode(*args))
        die()

    stage.encode_latents = encoded


DEATHS: dict[str, Callable[[], object]] = {
    "while pixels are cached": lambda: Deadly(ImageSet, "pixels", 20),
    "before the first checkpoint": lambda: Deadly(TrainState, "average", 3),
    "between checkpoints": lambda: Deadly(TrainState, "average", 6),
    "with half a checkpoint written": lambda: half_written(2),
    "after a report, before its checkpoint": lambda: Deadly(TrainState, "save", 1),
    "right after a checkpoint": lambda: Deadly(TrainState, "save", 1, after=True),
    "while a sheet is drawn": lambda: Deadly(inspection, "contact_sheet", 1),
    "while latents are encoded": while_encoding,
    "with half the latents written": lambda: half_written(1),
    "before the denoiser's first checkpoint": lambda: Deadly(DenoiserTask, "loss", 3),
    "between the denoiser's checkpoints": lambda: Deadly(DenoiserTask, "loss", 10),
    "while the denoiser's sheet is made": lambda: Deadly(LatentDiffusion, "paint", 1),
    "when all the denoiser's steps are made": lambda: Deadly(DenoiserTask, "mean_error", 4),
    "between the guidance's checkpoints": lambda: Deadly(GuidanceTask, "loss", 10),
    "when guidance is built in": lambda: Deadly(stage, "_guide", 1, after=True),
    "before the few-step weights' first checkpoint": lambda: Deadly(FewStepTask, "loss", 3),
    "between the few-step weights' checkpoints": lambda: Deadly(FewStepTask, "loss", 10),
    "while the few-step weights' sheet is made": lambda: Deadly(LatentDiffusion, "shortcut", 4),
    "when all steps are made": lambda: Deadly(stage, "_tune", 1, after=True),
    "while the model is saved": lambda: Deadly(LatentDiffusion, "save", 1, after=True),
    "before the record is written": lambda: Deadly(Record, "write", 1),
    "before the draft is renamed": lambda: Deadly(Record, "write", 1, after=True),
    "before the work is cleaned up": lambda: Deadly(shutil, "rmtree", 1),
}
"""In the order in which a training comes past them."""


def child(corpus: Path, out: Path, death: str | None, means: signal.Signals) -> None:
    """The body of a process that trains, and dies if told to."""
    torch.set_num_threads(1)
    MEANS[0] = means
    if death is not None:
        DEATHS[death]()
    train(corpus, out, config(), show=False)


class Trainer:
    """Starts trainings in processes of their own, forked from one that has imported everything."""

    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["phonybrains.training.stage"])

    def start(self, out: Path, death: str | None = None, means: signal.Signals = signal.SIGKILL) -> BaseProcess:
        process = self.context.Process(target=child, args=(self.corpus, out, death, means), daemon=True)
        process.start()
        return process

    def run(self, out: Path, death: str | None = None, means: signal.Signals = signal.SIGKILL) -> int:
        """Train to the end or the death; the exit code."""
        process = self.start(out, death, means)
        process.join(WAIT_S)
        if process.exitcode is None:
            process.kill()
            pytest.fail(f"the training did not end in {WAIT_S} s")
        return process.exitcode


@pytest.fixture(scope="module")
def trainer(phantom_corpus: Path) -> Trainer:
    return Trainer(phantom_corpus)


@pytest.fixture(scope="module")
def undisturbed(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a training that is never stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "model"
    assert trainer.run(out) == 0
    return results(out)


def assert_published_alone(out: Path) -> None:
    """Nothing but the model is left: no draft, no work."""
    assert {p.name for p in out.parent.iterdir()} == {out.name}
    assert not (out / "work").exists()


def test_killed_everywhere(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path):
    """One training, killed -9 at twenty-one places one after the other, from the first pixel to the last cleaning."""
    out = tmp_path / "model"
    for death in DEATHS:
        assert trainer.run(out, death) == -signal.SIGKILL, death
        assert out.exists() == (death == "before the work is cleaned up"), death
    assert trainer.run(out) == 0
    assert results(out) == undisturbed
    assert_published_alone(out)


@pytest.mark.parametrize(
    "death",
    [
        "between checkpoints",
        "while latents are encoded",
        "before the denoiser's first checkpoint",
        "between the denoiser's checkpoints",
        "between the guidance's checkpoints",
        "between the few-step weights' checkpoints",
        "when all steps are made",
    ],
)
def test_killed_once(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path, death: str):
    """Killed -9 at one place of each stage, the rest of the training made by a second process."""
    assert trainer.run(tmp_path / "model", death) == -signal.SIGKILL
    assert trainer.run(tmp_path / "model") == 0
    assert results(tmp_path / "model") == undisturbed


def test_killed_at_random_moments(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path):
    """Killed -9 from outside, again and again, after any part of the time that a whole training takes."""
    out, rng, kills, whole = tmp_path / "model", random.Random(0), 0, 3.0
    for attempt in range(60):
        process = trainer.start(out)
        process.join(whole * rng.uniform(0.05, 0.4 + 0.1 * attempt))
        if process.exitcode is None:
            process.kill()
            process.join(WAIT_S)
            kills += 1
        elif kills:
            break
        else:  # a fast machine: once more, with less time
            shutil.rmtree(out)
            whole /= 2
    assert kills
    assert process.exitcode == 0
    assert results(out) == undisturbed
    assert_published_alone(out)


def test_interrupted_from_the_keyboard(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path):
    """Ctrl-C in each stage: the process ends with an error, the draft stays, and the same call goes on in it."""
    out = tmp_path / "model"
    for death in (
        "between checkpoints",
        "while latents are encoded",
        "between the denoiser's checkpoints",
        "between the few-step weights' checkpoints",
    ):
        assert trainer.run(out, death, signal.SIGINT) == 1
        assert not out.exists()
    assert trainer.run(out) == 0
    assert results(out) == undisturbed
    assert_published_alone(out)


def test_the_log_has_every_step_once(undisturbed: dict[str, bytes]):
    """What the killed runs are compared with is a log without gaps."""
    entries = [json.loads(line) for line in undisturbed["training/log.jsonl"].splitlines()]
    assert [(e["step"], next(k for k in e if k.endswith("/loss"))) for e in entries] == [
        (step, f"{task}/loss") for task in ("autoencoder", "denoiser", "guidance", "few_step") for step in (4, 6, 8, 12)
    ]


def test_a_torn_line_of_the_log_is_dropped(phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A line that a full disk or a power cut left half written does not stay in the log."""
    with monkeypatch.context() as patch:
        patch.setattr(stage, "encode_latents", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(phantom_corpus, tmp_path / "model", config(), show=False)
    log = next(tmp_path.glob(".model.*.partial")) / "training" / "log.jsonl"
    whole = log.read_text()
    log.write_text(whole + '{"step": 4, "denois')
    train(phantom_corpus, tmp_path / "model", config(), show=False)
    lines = (tmp_path / "model" / "training" / "log.jsonl").read_text().splitlines(keepends=True)
    assert "".join(lines[:4]) == whole
    assert len([json.loads(line) for line in lines]) == 16


# A full disk


def test_a_full_disk_in_a_checkpoint(phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """ENOSPC while a checkpoint is written: OutputError; the draft keeps the one before, and training goes on."""
    write, left = Path.write_bytes, [2]

    def full(self: Path, data: bytes) -> int:
        left[0] -= ".safetensors." in self.name
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"model: the disk is full\. What is done is kept: free some space"):
            train(phantom_corpus, tmp_path / "model", config(), show=False)
    draft = next(tmp_path.glob(".model.*.partial"))
    assert {p.name for p in (draft / "work").iterdir()} == {
        "pixels.npy",
        "pixels.sha256",
        "autoencoder.safetensors",
        "threads",
    }
    train(phantom_corpus, tmp_path / "model", config(), show=False)
    assert_published_alone(tmp_path / "model")


def on_a_small_disk(corpus: Path, disk: Path, sizes_kib: list[int], told: Any) -> None:
    """Train on a disk that is enlarged from one size to the next, and tell how each attempt ended."""
    torch.set_num_threads(1)
    for size in sizes_kib:
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        try:
            train(corpus, disk / "model", config(), show=False)
            told.put("done")
        except BaseException as error:
            told.put(f"{type(error).__name__}: {error}")


def test_a_disk_that_is_really_full(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path):
    """On a file system of some kilobytes, wherever it fills up: the same error, and the same model in the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs to be root")
    try:
        sizes, told = [100, 240, 500, 1000, 1300, 2200, 2500, 13_000, 40_000], trainer.context.Queue()
        process = trainer.context.Process(target=on_a_small_disk, args=(trainer.corpus, disk, sizes, told), daemon=True)
        process.start()
        process.join(WAIT_S)
        assert process.exitcode == 0  # a bus error would be -7
        ends = [told.get(timeout=5) for _ in sizes]
        assert ends[-1] == "done"
        full = (
            f"OutputError: {disk / 'model'}: the disk is full. "
            "What is done is kept: free some space, give the command again."
        )
        assert ends[:-1] == [full] * (len(sizes) - 1)
        assert results(disk / "model") == undisturbed
        assert_published_alone(disk / "model")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_pixel_cache_of_a_full_disk(phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache that was not finished is not taken for one."""
    images = ImageSet.open(phantom_corpus)
    conditions = corpus_module.check_corpus(images, (), 32)
    monkeypatch.setattr(ImageSet, "pixels", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            corpus_module.Corpus.open(images, conditions, tmp_path, torch.device("cpu"))
    monkeypatch.undo()
    held = corpus_module.Corpus.open(images, conditions, tmp_path, torch.device("cpu"))
    assert held.pixels.shape == (48, 64, 64)


# Two processes

SCRIPT = """
import hashlib, os, sys
from pathlib import Path
import phonybrains.training.stage as stage
sys.path.insert(0, {tests!r})
import tests.training.test_resume as t

both = stage._train_both

def told(run, *rest):
    model, figures = both(run, *rest)
    digest = hashlib.sha256()
    for network in (model.autoencoder, model.denoiser, model.few_step):
        for tensor in network.state_dict().values():
            digest.update(tensor.contiguous().numpy().tobytes())
    Path({out!r} + ".rank" + os.environ["RANK"]).write_text(digest.hexdigest() + f" {{run.accelerator.num_processes}}")
    return model, figures

stage._train_both = told
if {death!r} and os.environ["RANK"] == "0":
    t.DEATHS[{death!r}]()
stage.train({corpus!r}, {out!r}, t.config(), show=False)
"""


def torchrun(corpus: Path, out: Path, death: str = "") -> subprocess.CompletedProcess[str]:
    """Train with two processes as a user would start them."""
    script = out.parent / "script.py"
    script.write_text(SCRIPT.format(corpus=str(corpus), out=str(out), death=death, tests=str(ROOT)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=surroundings)


def test_two_processes(phantom_corpus: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """Under torchrun both processes end with the same weights; killed and given again, with the same as undisturbed.

    Each shows half a batch: the curves are those of one process but for the noise drawn, and the weights are near.
    """
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for out, death in ((whole, ""), (stopped, "between the denoiser's checkpoints"), (stopped, "")):
        run = torchrun(phantom_corpus, out, death)
        assert (run.returncode == 0) == (not death), run.stderr[-2000:]
        assert out.exists() == (not death)
    ranks = [Path(f"{whole}.rank{i}").read_text().split() for i in (0, 1)]
    assert ranks[0] == ranks[1]
    assert ranks[0][1] == "2"
    assert results(stopped) == results(whole)

    both = [json.loads(line) for line in results(whole)["training/log.jsonl"].splitlines()]
    alone = [json.loads(line) for line in undisturbed["training/log.jsonl"].splitlines()]
    for a, b in zip(both, alone, strict=True):
        assert a.keys() == b.keys()
        assert all(a[k] == pytest.approx(b[k], rel=0.15, abs=0.02) for k in a)
    for part in (UNET, f"few_step_{UNET}"):
        (tmp_path / "one").write_bytes(undisturbed[part])
        one, two = load_file(tmp_path / "one"), load_file(whole / part)
        vectors = [torch.cat([w[name].float().flatten() for name in one]) for w in (one, two)]
        assert torch.nn.functional.cosine_similarity(*vectors, dim=0) > 0.99
        assert not torch.equal(*vectors)


@pytest.mark.parametrize("part", ["autoencoder", "denoiser", "guidance", "few_step"])
def test_more_processes_than_images_in_a_batch(
    phantom_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
):
    """A batch that cannot be shared, of images or of paths, is refused before anything is written."""
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 4))
    small = load_train_config("tiny", **SETTINGS | {part: {"loop": LOOP | {"batch_size": 3}}})
    with pytest.raises(ConfigError, match=rf"{part}\.loop\.batch_size 3 is less than the 4 processes"):
        train(phantom_corpus, tmp_path / "model", small, show=False)
    assert list(tmp_path.iterdir()) == []
    unused = load_train_config("tiny", **SETTINGS | {part: {"loop": LOOP | {"batch_size": 3, "steps": 0}}})
    with accelerating(unused, tmp_path / "draft"):
        pass  # a part that is not trained needs no batch


# A launcher that is gone


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks after processes in /proc")
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
        assert all(map(is_alive, workers))
        launcher.kill()
        launcher.wait()
        wait_for(lambda: not any(map(is_alive, workers)))
    finally:
        launcher.kill()
        launcher.wait()
        for worker in filter(is_alive, workers):
            os.kill(worker, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process is there and does anything: one that nobody has asked about after its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Come back once it holds; fail after WAIT_S, many times what it takes."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


# Damage


@pytest.mark.parametrize(
    "name", ["pixels.npy", "autoencoder.safetensors", "latents.safetensors", "denoiser.safetensors"]
)
@pytest.mark.parametrize("damage", ["a bit", "empty"])
def test_damage_between_two_calls(
    trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path, name: str, damage: str
):
    """A bit that flips in any file of the draft, or a file of length 0 after a power cut: the same model in the end."""
    out = tmp_path / "model"
    assert trainer.run(out, "between the guidance's checkpoints") == -signal.SIGKILL
    path = next(tmp_path.glob(f".model.*.partial/work/{name}"))
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content if damage == "a bit" else b"")
    assert trainer.run(out) == 0
    assert results(out) == undisturbed
    assert_published_alone(out)
