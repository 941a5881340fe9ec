"""Clocks, memory and tables of the speed benchmarks.

Nothing here imports torch: a child's peak memory is never less than its parent's at the time of the fork.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

T = TypeVar("T")
MAX_RSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of ru_maxrss."""
PHONYBRAINS = (sys.executable, "-m", "phonybrains")


@dataclass(frozen=True)
class Usage:
    """What a command used: wall and CPU seconds with all its children, and the peak memory of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mib: float

    @classmethod
    def median(cls, runs: Sequence[Usage]) -> Usage:
        return cls(*(median(getattr(run, name) for run in runs) for name in ("wall_s", "cpu_s", "peak_mib")))


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command in a process of its own; what it printed is shown only if it fails, and that ends the benchmark."""
    with tempfile.TemporaryFile("w+") as output:
        begin = time.perf_counter()
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(words)}: exit status {process.returncode}\n{output.read()}")
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * MAX_RSS_BYTES / 2**20)


@contextmanager
def serving(command: Sequence[str]) -> Iterator[list[str]]:
    """Run a server until the block ends; the lines that it printed until it served."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    lines: list[str] = []
    try:
        for line in server.stdout:
            lines.append(line)
            if line.startswith("Serving"):
                break
        else:
            sys.exit("the server did not start")
        yield lines
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def answer_times(seconds: Sequence[float]) -> str:
    """The quantiles of the times that answers took."""
    import numpy as np

    p50, p95, p99, longest = 1000 * np.quantile(seconds, (0.5, 0.95, 0.99, 1.0), method="higher")
    return f"time of an answer: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, longest {longest:.1f} ms"


def children_cpu_s() -> float:
    """CPU seconds of the children of this process that have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def own_peak_mib() -> float:
    """The highest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAX_RSS_BYTES / 2**20


def in_turns(contestants: Sequence[Callable[[int], T]], rounds: int) -> list[list[T]]:
    """Call each contestant once a round, so that a load that comes and goes falls on all; their results, by contestant.

    Each is told the number of the round.
    """
    results = [[contestant(number) for contestant in contestants] for number in range(rounds)]
    return [list(column) for column in zip(*results, strict=True)]


def use_threads(threads: int) -> None:
    """Set the number of threads of this process and its children; to be called before torch is imported."""
    if threads:
        os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    if threads and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine in a line: cores, threads, vector instructions, versions, and how busy it is."""
    import torch

    return (
        f"{cores()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}, load average {os.getloadavg()[0]:.1f}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, columns aligned; floats with three significant digits."""
    cells = [[figure(value) if isinstance(value, float) else str(value) for value in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def figure(value: float) -> str:
    """A number with three significant digits, and no power of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
