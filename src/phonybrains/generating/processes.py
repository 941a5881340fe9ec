"""Shares of the images of a run: shards, each a set of its own, and processes of torchrun, which make one together."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..errors import ConfigError, OutputError
from ..record import Record, draft_folder, publish


@dataclass(frozen=True)
class Share:
    """One of `world` runs of images as long as one another, up to one: the first is `rank` 0."""

    rank: int = 0
    world: int = 1

    def __str__(self) -> str:
        return f"{self.rank + 1}/{self.world}"

    @classmethod
    def of_this_process(cls) -> Share:
        """As torchrun says in the environment; the whole where there is no torchrun."""
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))

    @classmethod
    def read(cls, text: str) -> Share:
        """As --shard says it: "3/8" is the third of eight; the whole where it says nothing. Raises ConfigError."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text or "1/1")
        number, world = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= world:
            raise ConfigError(f"--shard {text}: it takes which shard of how many, from 1/8 to 8/8 where there are 8.")
        return cls(number - 1, world)

    def of(self, indices: range) -> range:
        """This share of the images with these indices."""
        n = len(indices)
        return indices[n * self.rank // self.world : n * (self.rank + 1) // self.world]


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
def shared_draft(out: Path, record: Record, share: Share, begin: Callable[[Path], object]) -> Iterator[Path]:
    """The draft folder, which the first process makes, begins and publishes, and the others only use."""
    if share.rank == 0:
        with publish(out, record, resume=True) as draft:
            (draft / "images").mkdir(exist_ok=True)
            begin(draft)
            wait_for_all(share)
            yield draft
    else:
        wait_for_all(share)
        yield draft_folder(out, record)
