"""How long the search for near duplicates takes, and how much memory, beside a plain NumPy one.

    python -m bench import_duplicates                          # 2,048 to 16,384 slices, apart and all alike
    python -m bench import_duplicates --slices 4096 --repeats 1

"apart": smooth noise, in which few pairs are alike; "alike": one slice with noise, in which all pairs are, as in a set
of slices of one phantom. Plain is what one would write with NumPy: the whole matrix of correlations, and its pairs as
indices. Each figure is of a process of its own: the median of the repeats, with their range, and the peak of memory
above what the process had before.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from phonybrains.importing.duplicates import THRESHOLD, WORST, find_near_duplicates

from .options import measurement
from .timing import table

app = measurement(__name__, __doc__)


def thumbnails(n: int, alike: bool) -> NDArray[np.uint8]:
    """(n, 32, 32) uint8: of n heads, or of one with a little noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (1 if alike else n, 8, 8), dtype=np.uint8)
    smooth = np.stack([np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC)) for each in coarse])
    return np.clip(smooth + rng.normal(0, 3, (n, 32, 32)), 0, 255).astype(np.uint8)


def plain(images: NDArray[np.uint8], splits: list[str], patients: list[str]) -> tuple[int, int, int, list[float]]:
    """Counts of all pairs, of those across splits and patients, and the correlations of the most alike of these."""
    correlation = np.asarray(np.corrcoef(images.reshape(len(images), -1).astype(np.float32)))
    first, second = np.nonzero(np.triu(correlation > THRESHOLD, 1))
    split, patient = np.array(splits), np.array(patients)
    across, other = split[first] != split[second], patient[first] != patient[second]
    found = np.sort(correlation[first, second][across | other])[::-1][:WORST]
    return len(first), int(across.sum()), int(other.sum()), found.round(4).tolist()


def measure(who: str, n: int, alike: bool) -> dict[str, object]:
    """Time and memory of one search in this process."""
    images = thumbnails(n, alike)
    splits, patients = ["train" if i % 5 else "test" for i in range(n)], [str(i // 20) for i in range(n)]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if who == "plain":
        counts = plain(images, splits, patients)
    else:
        near = find_near_duplicates(images, splits, patients, ["CT"] * n)
        worst = [round(pair.correlation, 4) for pair in near.worst]
        counts = near.pairs, near.across_splits, near.across_patients, worst
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "counts": counts}


@app.default
def main(*, slices: tuple[int, ...] = (2048, 4096, 8192, 16384), repeats: int = 3) -> None:
    """Print the table.

    Args:
        slices: Sizes of the sets.
        repeats: Processes for each figure.
    """
    rows: list[list[object]] = []
    for n, kind, who in product(slices, ("apart", "alike"), ("ours", "plain")):
        words = [sys.executable, "-m", "bench", "import_duplicates", "once", who, str(n), kind]
        runs = [json.loads(subprocess.check_output(words)) for _ in range(repeats)]
        seconds = sorted(run["seconds"] for run in runs)
        took = f"{statistics.median(seconds):.2f} ({seconds[0]:.2f}…{seconds[-1]:.2f})"
        rows.append([n, kind, who, took, max(run["kib"] for run in runs) // 1024, *runs[0]["counts"][:2]])
        if who == "plain" and rows[-1][-2:] != rows[-2][-2:]:
            print(f"{n} slices, {kind}: the two differ")
    print(table(["slices", "kind", "who", "seconds", "MiB", "pairs", "across splits"], rows))


@app.command
def once(who: str, n: int, kind: str, /) -> None:
    """One figure, for the table."""
    print(json.dumps(measure(who, n, kind == "alike")))
