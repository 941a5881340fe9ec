"""Keeps what libraries print by themselves off the terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OUTPUT, ERRORS = 1, 2
_one_at_a_time = threading.Lock()


@contextmanager
def silenced(descriptor: int = OUTPUT) -> Iterator[None]:
    """What this process writes to OUTPUT or ERRORS meanwhile goes nowhere; other threads that want the same wait.

    Two at once would each take the other's silence for what there was before, and one of them would keep it.
    """
    with _one_at_a_time:
        (sys.stdout if descriptor == OUTPUT else sys.stderr).flush()
        kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, descriptor)
            yield
        finally:
            os.dup2(kept, descriptor)
            os.close(kept)
            os.close(nowhere)
