"""Processes forked from one that has imported everything, so that they begin at once, and deaths inside them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from phonybrains.cli import app

WAIT_S = 600
"""Many times what anything here takes, on a machine that has other work."""
FORKS = multiprocessing.get_context("forkserver")
PACKAGE = [f"phonybrains.{name}" for name in ("cli.parser", "generating.stage", "training.stage")]
FORKS.set_forkserver_preload([__name__, "torch.utils.tensorboard", *PACKAGE])


def started(target: Any, *arguments: Any, daemon: bool = True) -> BaseProcess:
    """A process that calls a function of a test module."""
    process = FORKS.Process(target=target, args=arguments, daemon=daemon)
    process.start()
    return process


def ended(*processes: BaseProcess) -> list[int | None]:
    """The exit codes of processes; where the first fails the others are killed, as torchrun does."""
    for process in processes:
        process.join(WAIT_S)
        if processes[0].exitcode != 0:
            process.kill()
            process.join(WAIT_S)
    return [process.exitcode for process in processes]


def deadly(owner: Any, name: str, calls: int = 1, *, after: bool = False, means: int = signal.SIGKILL) -> None:
    """Let a function end its process by a signal at its n-th call, before or after it does its work."""
    function, left = getattr(owner, name), itertools.count(calls - 1, -1)

    def called(*args: Any, **kwargs: Any) -> Any:
        is_last = next(left) == 0
        if is_last and not after:
            os.kill(os.getpid(), means)
        result = function(*args, **kwargs)
        if is_last:
            os.kill(os.getpid(), means)
        return result

    setattr(owner, name, called)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def be_rank(number: int, port: int) -> None:
    """Say in the environment what torchrun says to each of two processes."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, RANK=f"{number}", LOCAL_RANK=f"{number}", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")


def command(words: list[str], said: Path, **environment: str) -> None:
    """The body of a process that is `phonybrains` with these words; what it prints goes into .out and .err."""
    torch.set_num_threads(1)
    os.environ.update(environment)
    for number, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(said.with_suffix(name), os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["phonybrains", *words]
    app.main()


def works(process: psutil.Process) -> bool:
    """Whether a process is there and does anything: one that nobody has asked about after its end does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def wait_for(condition: Callable[[], bool]) -> None:
    """Come back once it holds; fail after WAIT_S, many times what it takes."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
