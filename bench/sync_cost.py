"""What it costs that a set is on the disk before it has its name: publishing with and without."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import phonybrains.files
from phonybrains.imageset import write_png
from phonybrains.phantom.corpus import draw_phantom
from phonybrains.record import Record, publish

ROUNDS = 3
DRAWN = 40


def sync_cost(n: int, folder: Path) -> None:
    """Publish n images of 256×256 in turns with and without syncing, encoded before; print the seconds of each."""
    images = [_png(draw_phantom(np.random.default_rng(i), "MR")[0], folder) for i in range(DRAWN)]
    sync, seconds = phonybrains.files._sync, {True: list[float](), False: list[float]()}
    size = 0
    for number in range(2 * ROUNDS):
        synced, out = number % 2 == 0, folder / str(number)
        phonybrains.files._sync = sync if synced else lambda handle: None
        begun = time.perf_counter()
        with publish(out, Record("cost", {"number": number})) as draft:
            (draft / "images").mkdir()
            for i in range(n):
                phonybrains.files.write_whole(draft / "images" / f"{i:06d}.png", images[i % DRAWN], sync=False)
        seconds[synced].append(time.perf_counter() - begun)
        size = sum(path.stat().st_size for path in out.rglob("*.png"))
        shutil.rmtree(out)
    print(f"{n} images, {size / 1e6:.0f} MB")
    for synced, taken in seconds.items():
        how = "synced" if synced else "not synced"
        print(f"{how}: {statistics.median(taken):.2f} s ({min(taken):.2f} … {max(taken):.2f})")


def _png(pixels: NDArray[np.uint8], folder: Path) -> bytes:
    write_png(folder / "one.png", pixels)
    return (folder / "one.png").read_bytes()
