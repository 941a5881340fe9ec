"""Work that stops between its steps, so that others get their turn, without being written as a generator."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch

T = TypeVar("T")


class Dropped(Exception):
    """Nobody goes on with this work."""


def in_steps(work: Callable[[Callable[[], None]], T]) -> Generator[T | None]:
    """Yield None each time that `work(pause)` calls `pause`, then what it returns.

    It runs in a thread of its own, with as many threads of torch as who asks first, and only while the next item is
    waited for. An iterator that is closed ends it at its pause.
    """
    told, turns = SimpleQueue[Future[T] | None](), SimpleQueue[bool]()

    def pause() -> None:
        told.put(None)
        if not turns.get():
            raise Dropped

    with ThreadPoolExecutor(1, "in-steps", torch.set_num_threads, (torch.get_num_threads(),)) as pool:
        pool.submit(work, pause).add_done_callback(told.put)
        try:
            while (done := told.get()) is None:
                yield None
                turns.put(True)
        finally:
            turns.put(False)
    yield done.result()
