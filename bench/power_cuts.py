"""Power cuts: a command works on a loop-mounted ext4, and goes on from what the disk held at a random moment.

The cut is a copy of the file behind the mount: what the file system has not yet written to its device is lost. The
mount is as unkind as ext4 gets. `commit=1`: names reach the journal after a second, not five; `data=writeback`: the
journal does not wait for the content of files; `noauto_da_alloc`: a rename does not write the renamed file's content
early. So a file that has its name without having been synced is found empty after the cut. What the device itself holds
back in a cache of its own is not lost here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .disturbed import Calm, Command, Disturbed, Trial, compare, run_to_end, start, state_of, stop, wait

SIZE_MIB = 64
UNKIND = "loop,commit=1,noauto_da_alloc,data=writeback"
AFTER_S = 3.0
"""A cut comes up to so long after the command's end."""


def format_disk(image: Path) -> Path:
    """Make an empty file system in a file."""
    with image.open("wb") as file:
        file.truncate(SIZE_MIB * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(image)], check=True)
    return image


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The file system in a file, as a folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", UNKIND, str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def why_not(folder: Path) -> str:
    """Why no file system can be mounted here; empty where it can."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        return "mounting a file system needs root and mkfs.ext4"
    try:
        with mounted(format_disk(folder / "trial.img"), folder / "trial"):
            return ""
    except subprocess.CalledProcessError as error:
        return f"no file system can be mounted here ({error})"


def cut(image: Path, copy: Path) -> Path:
    """Copy what the device holds at this moment; until two copies agree, as the journal writes meanwhile."""
    last = b""
    for _ in range(100):
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        with copy.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found == last:
            return copy
        last = found
    raise Disturbed("the disk does not come to rest")


def unplugged(inputs: Path, empty: Path) -> Trial:
    """A trial: unplug a command at a moment of its run or soon after; look at what is there, and let it go on."""

    def trial(command: Command, calm: Calm, folder: Path, rng: np.random.Generator) -> str:
        image = folder / "before.img"
        subprocess.run(["cp", "--sparse=always", str(empty), str(image)], check=True)
        with mounted(image, folder / "disk") as disk:
            process = start(command, inputs, disk)
            moment = rng.uniform(0, calm.seconds + AFTER_S)
            begun = time.monotonic()
            running = wait(process, moment) is None
            if running:
                os.killpg(process, signal.SIGSTOP)
            else:
                time.sleep(max(0.0, begun + moment - time.monotonic()))
            after = cut(image, folder / "after.img")
            if running:
                stop(process, signal.SIGKILL)
        with mounted(after, folder / "disk") as disk:
            published = (disk / command.out).exists()
            when = f"cut at {moment:.2f} s of {calm.seconds:.2f}"
            if published:
                own = {name: digest for name, digest in calm.state.items() if name.startswith(f"{command.out}/")}
                compare(_published(disk, command), own, f"published, {when}")
            run_to_end(command, inputs, disk)
            compare(state_of(disk), calm.state, f"given again, {when}")
        shutil.rmtree(folder)
        return f"{'during' if running else 'after'} the run: {'whole' if published else 'not there'}"

    return trial


def _published(disk: Path, command: Command) -> dict[str, str]:
    """What is published; `work`, which only a finished training removes, is no part of it."""
    found = state_of(disk / command.out)
    return {f"{command.out}/{name}": digest for name, digest in found.items() if not name.startswith("work/")}
