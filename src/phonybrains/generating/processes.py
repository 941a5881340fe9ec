"""Several processes that make one image set together, each its share, when torchrun starts them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..errors import OutputError
from ..record import Record, draft_folder, publish


@dataclass(frozen=True)
class Share:
    """Which images this process makes: those whose index leaves `rank` when divided by `world`."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of_this_process(cls) -> Share:
        """As torchrun says in the environment; the whole where there is no torchrun."""
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def together(share: Share) -> Iterator[None]:
    """Join the processes that torchrun started, to wait for one another."""
    if share.world == 1:
        yield
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def wait_for_all(share: Share) -> None:
    """Wait until every process is here, in naps, so that Ctrl-C is heard."""
    if share.world == 1:
        return
    from torch import distributed

    arrival = distributed.barrier(async_op=True)
    if arrival is None:
        return
    while not arrival.is_completed():
        time.sleep(0.02)
    try:
        arrival.wait()
    except RuntimeError:
        raise OutputError("another process has stopped. What is done is kept: give the command again.") from None


@contextmanager
def shared_draft(out: Path, record: Record, share: Share) -> Iterator[Path]:
    """The draft folder, which the first process makes and publishes and the others only use."""
    if share.rank == 0:
        with publish(out, record, resume=True) as draft:
            (draft / "images").mkdir(exist_ok=True)
            wait_for_all(share)
            yield draft
    else:
        wait_for_all(share)
        yield draft_folder(out, record)
