"""Batches computed side by side: a core that works alone on a batch wastes less than two that share one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigError

if TYPE_CHECKING:
    import torch

DEVICE = "PHONYBRAINS_DEVICE"
MOST_WORKERS = 8
"""More share the cores among them: each holds a batch in memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_workers(device: torch.device) -> int:
    """One for a GPU, otherwise one for each of torch's threads, but no more than MOST_WORKERS."""
    import torch

    return 1 if device.type != "cpu" else min(torch.get_num_threads(), MOST_WORKERS)


def this_device() -> str:
    """The device that is asked for, else the graphics processor of this process, of those that torchrun started, or
    "cpu"."""
    chosen = chosen_device()
    if chosen not in ("", "cuda"):
        return chosen
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"


def chosen_device() -> str:
    """What PHONYBRAINS_DEVICE in the environment, or --device, asks for; empty where nothing does.

    Raises ConfigError for what is no device, or is not there; "cpu" needs no torch.
    """
    name = os.environ.get(DEVICE, "")
    kind, _, number = name.partition(":")
    if name in ("", "cpu"):
        return name
    if kind not in ("cuda", "mps") or name.endswith(":") or not f"{number or 0}".isdecimal():
        raise ConfigError(f"device {name}: it is cpu, cuda, one of several as cuda:1 (the second), or mps.")
    import torch

    there = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if int(number or 0) >= there:
        raise ConfigError(f"device {name}: torch {torch.__version__} finds {there} of {kind} here. Take cpu.")
    if number and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"device {name}: torchrun gives each of its processes one. Say {kind}, without a number.")
    return name


def even_batches(n: int, size: int, workers: int) -> list[slice]:
    """0 … n - 1 in batches of at most `size`, about as long as one another, and as many for each worker if n allows."""
    rounds = -(-n // (size * workers))
    count = min(n, rounds * workers)
    edges = [n * i // count for i in range(count + 1)] if count else []
    return [slice(begin, end) for begin, end in pairwise(edges)]


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """function(item) of all items, in order; torch's threads are shared out among the workers, and given back."""
    if workers == 1:
        yield from map(function, items)
        return
    import torch

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(max(1, threads // workers),))
    try:
        yield from in_order(function, items, pool, 2 * workers)
    finally:
        torch.set_num_threads(threads)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], pool: ThreadPoolExecutor, most_ahead: int
) -> Iterator[Result]:
    """function(item) of all items, in order, by the threads of a pool, which ends with them; none runs far ahead."""
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > most_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
