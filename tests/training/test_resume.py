"""Training that is killed at any moment, and given again, ends in the same bytes as a training that never was."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
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

LOOP = {"steps": 6, "batch_size": 4, "warmup": 2, "validate_every": 3, "checkpoint_every": 2}
SETTINGS: dict[str, Any] = {
    "conditions": ("plane", "age_years"),
    "autoencoder": {"loop": LOOP},
    "denoiser": {"loop": LOOP, "shape": {"widths": [16]}},
    "guidance": {"loop": LOOP},
    "few_step": {"loop": LOOP},
}
UNET = "unet/diffusion_pytorch_model.safetensors"
WAIT_S = 600
"""Many times what anything here takes, on a machine that has other work."""


def config() -> TrainConfig:
    return load_train_config("tiny", **SETTINGS)


def results(folder: Path) -> dict[str, bytes]:
    """What must not depend on how often a training was stopped: every part, the log and the sheets, as bytes."""
    sheets = [f"training/{path.name}" for path in (folder / "training").glob("*.png")]
    names = (*PARTS, *FEW_STEP_PARTS, "model.json", "README.md", "training/log.jsonl", *sheets)
    return {name: (folder / name).read_bytes() for name in names}


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
    "before the first checkpoint": lambda: Deadly(TrainState, "average", 2),
    "between checkpoints": lambda: Deadly(TrainState, "average", 3),
    "with half a checkpoint written": lambda: half_written(2),
    "after a report, before its checkpoint": lambda: Deadly(TrainState, "save", 1),
    "right after a checkpoint": lambda: Deadly(TrainState, "save", 1, after=True),
    "while a sheet is drawn": lambda: Deadly(inspection, "contact_sheet", 1),
    "while latents are encoded": while_encoding,
    "with half the latents written": lambda: half_written(1),
    "before the denoiser's first checkpoint": lambda: Deadly(DenoiserTask, "loss", 2),
    "between the denoiser's checkpoints": lambda: Deadly(DenoiserTask, "loss", 5),
    "while the denoiser's sheet is made": lambda: Deadly(LatentDiffusion, "paint", 1),
    "when all the denoiser's steps are made": lambda: Deadly(DenoiserTask, "mean_error", 4),
    "between the guidance's checkpoints": lambda: Deadly(GuidanceTask, "loss", 5),
    "when guidance is built in": lambda: Deadly(stage, "_guide", 1, after=True),
    "before the few-step weights' first checkpoint": lambda: Deadly(FewStepTask, "loss", 2),
    "between the few-step weights' checkpoints": lambda: Deadly(FewStepTask, "loss", 5),
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
    inspection.COUNT = 2  # images on a sheet
    MEANS[0] = means
    if death is not None:
        DEATHS[death]()
    train(corpus, out, config(), show=False)


class Trainer:
    """Starts trainings in processes of their own, forked from one that has imported everything."""

    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__, "torch.utils.tensorboard"])

    def start(self, out: Path, death: str | None = None, means: signal.Signals = signal.SIGKILL) -> BaseProcess:
        process = self.context.Process(target=child, args=(self.corpus, out, death, means), daemon=True)
        process.start()
        return process

    def run(self, out: Path, death: str | None = None, means: signal.Signals = signal.SIGKILL) -> int | None:
        """Train to the end or the death; the exit code."""
        process = self.start(out, death, means)
        process.join(WAIT_S)
        return process.exitcode

    def run_for(self, out: Path, cpu_s: float) -> tuple[int | None, float]:
        """Train until so much CPU time is spent, then kill; the exit code, None if killed, and the CPU time."""
        process, spent = self.start(out), 0.0
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
def trainer(phantom_corpus: Path) -> Trainer:
    return Trainer(phantom_corpus)


@pytest.fixture(scope="module")
def whole_run(trainer: Trainer, shared_folder: Path) -> tuple[dict[str, bytes], float]:
    """The results of a training that is never stopped, made once a run, and its CPU time in seconds."""
    with one_at_a_time(shared_folder, "undisturbed") as folder:
        if not (folder / "cpu_s").exists():
            code, spent = trainer.run_for(folder / "model", math.inf)
            assert code == 0
            (folder / "cpu_s").write_text(str(spent))
        return results(folder / "model"), float((folder / "cpu_s").read_text())


@pytest.fixture(scope="module")
def undisturbed(whole_run: tuple[dict[str, bytes], float]) -> dict[str, bytes]:
    return whole_run[0]


@pytest.fixture(scope="module")
def stopped(trainer: Trainer, shared_folder: Path) -> Path:
    """One training, killed -9 at each place in turn; what lies in its folder after each, by the place's number."""
    with one_at_a_time(shared_folder, "stopped") as folder:
        for number, death in enumerate(DEATHS):
            if not (folder / f"{number}").exists():
                assert trainer.run(folder / "run" / "model", death) == -signal.SIGKILL, death
                assert (folder / "run" / "model").exists() == (death == "before the work is cleaned up"), death
                shutil.copytree(folder / "run", folder / f"{number}")
        return folder


def draft_at(stopped: Path, death: str, place: Path) -> Path:
    """The folder of a training that was killed there, copied to a place; where its model will be."""
    shutil.copytree(stopped / str(list(DEATHS).index(death)), place, dirs_exist_ok=True)
    return place / "model"


def assert_published_alone(out: Path) -> None:
    """Nothing but the model is left: no draft, no work."""
    assert {p.name for p in out.parent.iterdir()} == {out.name}
    assert not (out / "work").exists()


def assert_ends_the_same(trainer: Trainer, out: Path, undisturbed: dict[str, bytes]) -> None:
    """Given again, the training ends as if nothing had been."""
    assert trainer.run(out) == 0
    assert results(out) == undisturbed
    assert_published_alone(out)


def test_killed_everywhere(trainer: Trainer, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path):
    """One training, killed -9 at twenty-three places one after the other, from the first pixel to the last cleaning."""
    assert len(DEATHS) == 23
    assert_ends_the_same(trainer, draft_at(stopped, list(DEATHS)[-1], tmp_path), undisturbed)


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
def test_the_rest_is_made_at_once(
    trainer: Trainer, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path, death: str
):
    """Killed -9 in each stage, all that is left of the training made by one process."""
    assert_ends_the_same(trainer, draft_at(stopped, death, tmp_path), undisturbed)


def test_killed_at_random_moments(trainer: Trainer, whole_run: tuple[dict[str, bytes], float], tmp_path: Path):
    """Killed -9 from outside, again and again, after any part of the CPU time that a whole training takes."""
    undisturbed, whole_s = whole_run
    out, rng, kills = tmp_path / "model", random.Random(0), 0
    while kills < 5 and trainer.run_for(out, whole_s * rng.uniform(0.05, 0.5))[0] is None:
        kills += 1
    assert kills >= 2
    assert_ends_the_same(trainer, out, undisturbed)


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
    assert_ends_the_same(trainer, out, undisturbed)


def test_the_log_has_every_step_once(undisturbed: dict[str, bytes]):
    """What the killed runs are compared with is a log without gaps."""
    entries = [json.loads(line) for line in undisturbed["training/log.jsonl"].splitlines()]
    assert [(e["step"], next(k for k in e if k.endswith("/loss"))) for e in entries] == [
        (step, f"{task}/loss") for task in ("autoencoder", "denoiser", "guidance", "few_step") for step in (2, 3, 4, 6)
    ]


# Damage


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("work/pixels.npy", "a bit"),
        ("work/autoencoder.safetensors", "empty"),
        ("work/latents.safetensors", "a bit"),
        ("work/denoiser.safetensors", "empty"),
        ("work/guidance.safetensors", "a bit"),
        ("training/log.jsonl", "torn"),
    ],
)
def test_damage_between_two_calls(
    trainer: Trainer, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path, name: str, damage: str
):
    """A bit that flips in any file of the draft, one of length 0 or half a line of the log: the same in the end."""
    out = draft_at(stopped, "between the guidance's checkpoints", tmp_path)
    path = next(tmp_path.glob(f".model.*.partial/{name}"))
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
    path.write_bytes({"a bit": flipped, "empty": b"", "torn": content + b'{"step": 4, "guid'}[damage])
    assert_ends_the_same(trainer, out, undisturbed)


# A full disk


def test_a_full_disk_in_a_checkpoint(
    trainer: Trainer, stopped: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    monkeypatch.setattr(inspection, "COUNT", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"model: the disk is full\. What is done is kept: free some space"):
            train(trainer.corpus, out, config(), show=False)
    assert "few_step.safetensors" in before
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before
    assert_ends_the_same(trainer, out, undisturbed)


def on_a_small_disk(corpus: Path, disk: Path, sizes_kib: list[int], told: Any) -> None:
    """Train on a disk that is enlarged from one size to the next, and tell how each attempt ended."""
    torch.set_num_threads(1)
    inspection.COUNT = 2
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
        sizes, told = [100, 240, 1000, 2700, 3200, 4500, 5000, 5500, 40_000], trainer.context.Queue()
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


# Two processes


def rank(number: int, port: int, corpus: Path, out: Path, death: str) -> None:
    """The body of one of two processes, as torchrun starts them; beside the model it tells what weights it has."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, RANK=f"{number}", LOCAL_RANK=f"{number}", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
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
    child(corpus, out, death if number == 0 and death else None, signal.SIGKILL)


def run_two(trainer: Trainer, out: Path, death: str = "") -> list[int | None]:
    """Train with two processes; where the first is killed the second is too, as torchrun does. Their exit codes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ranks = [trainer.context.Process(target=rank, args=(n, port, trainer.corpus, out, death)) for n in (0, 1)]
    for process in ranks:
        process.start()
    ranks[0].join(WAIT_S)
    if ranks[0].exitcode != 0:
        ranks[1].kill()
    ranks[1].join(WAIT_S)
    return [process.exitcode for process in ranks]


def test_two_processes(trainer: Trainer, undisturbed: dict[str, bytes], tmp_path: Path):
    """Two processes end with the same weights; killed and given again, with the same as undisturbed.

    Each shows half a batch: the curves are those of one process but for the noise drawn, and the weights are near.
    """
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_two(trainer, whole) == [0, 0]
    assert run_two(trainer, stopped, "between the denoiser's checkpoints") == [-signal.SIGKILL] * 2
    assert not stopped.exists()
    assert run_two(trainer, stopped) == [0, 0]
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
