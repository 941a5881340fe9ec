"""Broken files against every reader: no traceback, no half-written set, no hang, no memory without end."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from phonybrains.errors import PhonyBrainsError

from .readers import READERS, Reader
from .timing import children_cpu_s

HANG_S = 20
MEMORY_BYTES = 3 * 2**30
"""What a reader may take on top of what the process has when it starts."""
BATCHES_A_PROCESS = 40
GOOD = ("read", "refused")


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
        begun = time.process_time() + children_cpu_s()
        reader, found = READERS[name], Counter[str]()
        reader.prepare(folder / name)
        batches = -(-n * reader.share // total // reader.together)
        run = Run(reader, name, seed, folder / name, kept)
        for first in range(0, batches, BATCHES_A_PROCESS):
            found += run.in_a_process(range(first, min(batches, first + BATCHES_A_PROCESS)))
        each_ms = 1000 * (time.process_time() + children_cpu_s() - begun) / max(1, batches * reader.together)
        ended = ", ".join(f"{count} {how}" for how, count in sorted(found.items()))
        print(f"{name}: {ended}; {each_ms:.1f} ms each", flush=True)
        counts += found
    return counts


@dataclass(frozen=True)
class Run:
    """A reader, called by its name, in a folder of its own; what makes it fail is kept."""

    reader: Reader
    name: str
    seed: int
    folder: Path
    kept: Path

    def in_a_process(self, numbers: range) -> Counter[str]:
        """Run batches in a forked process; one that dies of a batch is a failure, and the rest goes on in another."""
        found: Counter[str] = Counter()
        left, told = list(numbers), self.folder / "told"
        while left:
            told.write_text("")
            process = os.fork()
            if not process:
                try:
                    self._work(left, told)
                finally:
                    os._exit(0)
            _, status = os.waitpid(process, 0)
            lines = [json.loads(line) for line in told.read_text().splitlines()]
            found += sum((Counter(ended) for _, ended in lines if ended), Counter())
            begun = [number for number, ended in lines if ended is None]
            left = [number for number in left if number not in begun]
            if dead := [number for number in begun if number not in {number for number, ended in lines if ended}]:
                found["died"] += 1
                for index, content in enumerate(self._inputs(dead[0])):
                    self._keep(f"{dead[0]}-{index}-died", content, f"ended with status {status}")
        return found

    def _work(self, numbers: list[int], told: Path) -> None:
        """Write a line when a batch begins, and how its inputs ended."""
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        with told.open("a", buffering=1) as file:
            for number in numbers:
                file.write(f"[{number}, null]\n")
                file.write(json.dumps([number, self._batch(number)]) + "\n")

    def _inputs(self, number: int) -> list[bytes]:
        """The inputs of a batch: always the same for a seed, a reader and a number."""
        rng, whole = random.Random(f"{self.seed} {self.name} {number}"), self.reader.whole
        return [self.reader.mutate(rng, rng.choice(whole), whole) for _ in range(self.reader.together)]

    def _batch(self, number: int) -> Counter[str]:
        """How the inputs of a batch end, read together; where that fails, one by one, to find which it is."""
        inputs = self._inputs(number)
        how = self._read(inputs)
        if len(inputs) > 1 and how in GOOD:
            return Counter({"read together": len(inputs)})
        ends = [self._read([content]) for content in inputs] if len(inputs) > 1 else [how]
        if all(end in GOOD for end in ends) and how not in GOOD:
            for index, content in enumerate(inputs):
                self._keep(f"{number}-{index}-together", content, how)
            return Counter(ends) + Counter(FAILED=1)
        for index, (content, end) in enumerate(zip(inputs, ends, strict=True)):
            if end not in GOOD:
                self._keep(f"{number}-{index}", content, end)
        return Counter(end if end in GOOD else "FAILED" for end in ends)

    def _read(self, inputs: list[bytes]) -> str:
        place = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            with within(HANG_S):
                self.reader.read(inputs, place)
            return "read"
        except PhonyBrainsError as error:
            text = str(error)
            return "refused" if text.strip() and "\n" not in text.strip() else f"a message of many lines: {text!r}"
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "phonybrains" in f.filename][-3:]
            return f"{type(error).__name__}: {str(error)[:300]} at {' '.join(own)}"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _keep(self, name: str, content: bytes, how: str) -> None:
        self.kept.mkdir(parents=True, exist_ok=True)
        (self.kept / f"{self.name}-{name}").write_bytes(content)
        with (self.kept / "failures.txt").open("a", errors="backslashreplace") as file:
            file.write(f"{self.name}-{name}: {how}\n")
