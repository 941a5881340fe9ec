"""What it costs that a set is on the disk before it has its name: publishing with and without."""

from __future__ import annotations

import shutil
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np

import phonybrains.files
from phonybrains.imageset import write_png
from phonybrains.phantom.corpus import draw_phantom
from phonybrains.record import Record, publish

from .timing import in_turns

ROUNDS = 3
DRAWN = 40


def sync_cost(n: int, folder: Path) -> None:
    """Publish n images of 256×256 in turns with and without syncing, encoded before; print the seconds of each."""
    images = []
    for i in range(DRAWN):
        write_png(folder / "one.png", draw_phantom(np.random.default_rng(i), "MR")[0])
        images.append((folder / "one.png").read_bytes())
    ways = {"synced": phonybrains.files._sync, "not synced": lambda handle: None}

    def seconds(way: str, number: int) -> float:
        phonybrains.files._sync = ways[way]
        begun = time.perf_counter()
        with publish(folder / "out", Record("cost", {"number": number})) as draft:
            (draft / "images").mkdir()
            for i in range(n):
                phonybrains.files.write_whole(draft / "images" / f"{i:06d}.png", images[i % DRAWN], sync=False)
        taken = time.perf_counter() - begun
        shutil.rmtree(folder / "out")
        return taken

    columns = in_turns([partial(seconds, way) for way in ways], ROUNDS)
    print(f"{n} images, {sum(len(images[i % DRAWN]) for i in range(n)) / 1e6:.0f} MB")
    for way, taken in zip(ways, columns, strict=True):
        print(f"{way}: {statistics.median(taken):.2f} s ({min(taken):.2f} … {max(taken):.2f})")
