"""Changes of the whole process that are made for a while, by several threads at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from threading import Lock
from types import FrameType

OUTPUT, ERRORS = 1, 2

Change = Callable[..., AbstractContextManager[object]]


def process_wide(change: Change) -> Change:
    """A context manager whose change the first thread makes and the last one undoes, for equal arguments.

    Each by itself would save what another has changed already, and the last to leave would put that back for good.
    """
    lock, inside = Lock(), Counter[tuple[object, ...]]()
    made: dict[tuple[object, ...], ExitStack] = {}

    @contextmanager
    @wraps(change)
    def shared(*how: object) -> Iterator[None]:
        with lock:
            if not inside[how]:
                made[how] = ExitStack()
                made[how].enter_context(change(*how))
            inside[how] += 1
        try:
            yield
        finally:
            with lock:
                inside[how] -= 1
                if not inside[how]:
                    made.pop(how).close()

    return shared


@process_wide
def without_warnings() -> AbstractContextManager[object]:
    """Python's warnings are ignored meanwhile."""
    return warnings.catch_warnings(action="ignore")


@process_wide
@contextmanager
def silenced(descriptor: int) -> Iterator[None]:
    """What this process writes to OUTPUT or ERRORS meanwhile, as libraries do by themselves, goes nowhere."""
    (sys.stdout if descriptor == OUTPUT else sys.stderr).flush()
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def whole_steps(on: bool = True) -> Iterator[Callable[[], bool]]:
    """What SIGINT and SIGTERM would interrupt goes on to the end of this; the value says whether one came.

    A second one interrupts at once. Signals that are ignored, and other threads than the main one, stay as they are.
    """
    came = list[int]()

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            signal.default_int_handler(number, frame)

    ours = on and threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if ours}
    for number, handler in handlers.items():
        if handler == signal.default_int_handler:
            signal.signal(number, wait)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
