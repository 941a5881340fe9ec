"""Broken files against every reader: no traceback, no half-written set, no hang, no memory without end."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phonybrains.errors import PhonyBrainsError

from .readers import READERS, Reader

HANG_S = 20
MEMORY_BYTES = 3 * 2**30
"""What a reader may take on top of what the process has when it starts."""
BATCHES_A_PROCESS = 40


class Hang(BaseException):
    """A reader took too long."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Hang after so many seconds of work, or thirty times as many on the clock: the machine may be busy."""

    def ring(*_: object) -> None:
        raise Hang(f"longer than {seconds:g} s")

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 30 * seconds))
    for clock, name, limit in clocks:
        signal.signal(name, ring)
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for clock, _, _ in clocks:
            signal.setitimer(clock, 0)


def fuzz(n: int, seed: int, folder: Path, kept: Path, names: list[str]) -> Counter[str]:
    """Give n broken inputs to the readers, each its share; how they ended. What fails is kept as a file."""
    counts: Counter[str] = Counter()
    total = sum(READERS[name].share for name in names)
    for name in names:
        begun = time.process_time() + sum(os.times()[2:4])
        reader, found = READERS[name], Counter[str]()
        reader.prepare(folder / name)
        batches = -(-n * reader.share // total // reader.together)
        for first in range(0, batches, BATCHES_A_PROCESS):
            numbers = range(first, min(batches, first + BATCHES_A_PROCESS))
            found += _in_a_process(reader, name, numbers, seed, folder / name, kept)
        spent = time.process_time() + sum(os.times()[2:4]) - begun
        print(
            f"{name}: {', '.join(f'{count} {how}' for how, count in sorted(found.items()))}; "
            f"{1000 * spent / max(1, batches * reader.together):.1f} ms each",
            flush=True,
        )
        counts += found
    return counts


def _in_a_process(reader: Reader, name: str, numbers: range, seed: int, folder: Path, kept: Path) -> Counter[str]:
    """Run batches in a forked process; one that dies of a batch is a failure, and the rest goes on in another."""
    found: Counter[str] = Counter()
    left = list(numbers)
    while left:
        told = folder / "told"
        told.write_text("")
        process = os.fork()
        if not process:
            try:
                _work(reader, name, left, seed, folder, kept)
            finally:
                os._exit(0)
        _, status = os.waitpid(process, 0)
        done = [line.split(" ", 2) for line in told.read_text().splitlines()]
        for _, how, count in done:
            if how != "begun":
                found[how.replace("_", " ")] += int(count)
        begun = [int(number) for number, how, _ in done if how == "begun"]
        ended = {int(number) for number, how, _ in done if how != "begun"}
        left = [number for number in left if number not in begun]
        if dead := [number for number in begun if number not in ended]:
            found["died"] += 1
            for index, content in enumerate(_inputs(reader, name, seed, dead[0])):
                _keep(kept, f"{name}-{dead[0]}-{index}-died", content, f"ended with status {status}")
    return found


def _work(reader: Reader, name: str, numbers: list[int], seed: int, folder: Path, kept: Path) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    with (folder / "told").open("a", buffering=1) as told:
        for number in numbers:
            told.write(f"{number} begun 0\n")
            for how, count in _batch(reader, name, _inputs(reader, name, seed, number), number, folder, kept).items():
                told.write(f"{number} {how.replace(' ', '_')} {count}\n")


def _inputs(reader: Reader, name: str, seed: int, number: int) -> list[bytes]:
    """The inputs of a batch: always the same for a seed, a reader and a number."""
    rng = random.Random(f"{seed} {name} {number}")
    return [reader.mutate(rng, rng.choice(reader.whole), reader.whole) for _ in range(reader.together)]


def _batch(reader: Reader, name: str, inputs: list[bytes], number: int, folder: Path, kept: Path) -> Counter[str]:
    """How the inputs of a batch end, read together; where that fails, one by one, to find which it is."""
    how = _read(reader, inputs, folder)
    if how in ("read", "refused") or len(inputs) == 1:
        if how not in ("read", "refused"):
            _keep(kept, f"{name}-{number}", inputs[0], how)
            how = "FAILED"
        return Counter({f"{how}" if len(inputs) == 1 else "read together": len(inputs)})
    alone = Counter[str]()
    for index, content in enumerate(inputs):
        ended = _read(reader, [content], folder)
        if ended not in ("read", "refused"):
            _keep(kept, f"{name}-{number}-{index}", content, ended)
            ended = "FAILED"
        alone[ended] += 1
    if "FAILED" not in alone:  # together alone
        for index, content in enumerate(inputs):
            _keep(kept, f"{name}-{number}-{index}-together", content, how)
        alone["FAILED"] += 1
    return alone


def _read(reader: Reader, inputs: list[bytes], folder: Path) -> str:
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        with within(HANG_S):
            reader.read(inputs, place)
        return "read"
    except PhonyBrainsError as error:
        text = str(error)
        return "refused" if text.strip() and "\n" not in text.strip() else f"a message of many lines: {text!r}"
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)
        own = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "phonybrains" in f.filename][-3:]
        return f"{type(error).__name__}: {str(error)[:300]} at {' '.join(own)}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _keep(kept: Path, name: str, content: bytes, how: str) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    (kept / name).write_bytes(content)
    with (kept / "failures.txt").open("a", errors="backslashreplace") as file:
        file.write(f"{name}: {how}\n")
