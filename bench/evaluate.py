"""How fast is the evaluation beside torch-fidelity and MONAI, on the same features in one process, and is it the same?

    python -m bench evaluate                       # 2 × 1000 vectors of 512 features, seconds and ratios
    python -m bench evaluate --large-n 100000      # ours alone, in blocks: seconds and peak memory
    python -m bench evaluate --samples samples/ --corpus corpus/ --features squeezenet.safetensors

Ratios above 1 say that ours is faster. The last form times the whole quality part on two image sets. Needs what the
extra `bench` installs, and torch-fidelity; what is not installed is left out and named.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phonybrains.evaluation.config import EvaluateConfig
from phonybrains.evaluation.quality.audit import quality_audit
from phonybrains.evaluation.quality.distances import fid, kid, kid_of_blocks
from phonybrains.evaluation.quality.diversity import ms_ssim
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.imageset import ImageSet

from . import fidelity
from .options import measurement
from .timing import in_turns, own_peak_mib, table

Array = NDArray[Any]
K = 5


@dataclass(frozen=True)
class Contest:
    """One measure, ours and another's, each giving its value."""

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def contests(x: Array, y: Array, images: Array) -> Iterator[Contest]:
    """Every measure that a peer has too."""
    if fidelity.is_missing():
        print("torch-fidelity: skipped, it is not installed")
    else:
        peer = "torch-fidelity"
        yield Contest("KID", peer, lambda: kid(x, y)[0], lambda: fidelity.kid(x, y))
        yield Contest("FID", peer, lambda: fid(x, y), lambda: fidelity.fid(x, y))
        yield Contest("precision, recall", peer, lambda: _two(x, y), lambda: fidelity.precision_recall(x, y, K))
    if util.find_spec("monai") is None:
        print("MONAI: skipped, monai is not installed")
        return
    metrics = importlib.import_module("monai.metrics")
    pairs = images[::2], images[1::2]
    tensors = [torch.from_numpy(side.astype(np.float32))[:, None] for side in pairs]
    score = metrics.MultiScaleSSIMMetric(2, data_range=255.0, kernel_size=11)
    doubles = [torch.from_numpy(side.astype(np.float64)) for side in (x, y)]
    yield Contest("FID", "MONAI", lambda: fid(x, y), lambda: float(metrics.FIDMetric()(*doubles)))
    yield Contest("MS-SSIM of pairs", "MONAI", lambda: ms_ssim(*pairs).mean(), lambda: float(score(*tensors).mean()))


def _two(x: Array, y: Array) -> tuple[float, float]:
    found = neighbourhoods(x, y, K)
    return found.precision, found.recall


def compare(n: int, width: int, rounds: int) -> None:
    """Print a table of medians over rounds in turns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)).astype(np.float32)
    y = rng.normal(0.1, 1.1, (n, width)).astype(np.float32)
    images = rng.integers(0, 256, (40, 256, 256)).astype(np.uint8)
    rows: list[list[object]] = []
    for contest in contests(x, y, images):
        found = in_turns([_timed(contest.ours), _timed(contest.theirs)], rounds)
        ours, theirs = (float(np.median([seconds for seconds, _ in side])) for side in found)
        apart = np.abs(np.subtract(found[0][0][1], found[1][0][1])).max()
        rows.append([contest.name, contest.peer, ours, theirs, theirs / ours, f"{apart:.1e}"])
    print(f"\n2 × {n} vectors of {width} features, {torch.get_num_threads()} threads, {rounds} rounds")
    print(table(["measure", "peer", "ours s", "peer s", "ratio", "difference"], rows))


def _timed(work: Callable[[], Any]) -> Callable[[int], tuple[float, Any]]:
    def timed(_: int) -> tuple[float, Any]:
        start = time.perf_counter()
        value = work()
        return time.perf_counter() - start, value

    return timed


def large(n: int, width: int) -> None:
    """Print seconds and peak memory of the measures that are for any number of images."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((n, width), np.float32) for _ in range(2))
    rows: list[list[object]] = []
    for name, work in (("KID in blocks", lambda: kid_of_blocks(x, y)[0]), ("FID", lambda: fid(x, y))):
        seconds, value = _timed(work)(0)
        rows.append([name, seconds, float(value), own_peak_mib()])
    print(f"\n2 × {n} vectors of {width} features")
    print(table(["measure", "s", "value", "peak MiB"], rows))


def whole(samples: Path, corpus: Path, features: Path | None) -> None:
    """Print seconds and peak memory of the quality part on two image sets."""
    made, real = ImageSet.open(samples), ImageSet.open(corpus)
    seconds, found = _timed(lambda: quality_audit(made, real, EvaluateConfig(features=features)))(0)
    print(f"\nquality of {len(made)} images against {len(real)}: {seconds:.0f} s, {own_peak_mib():.0f} MiB, ", end="")
    print(f"{len(found.scores)} scores")


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    n: int = 1000,
    width: int = 512,
    rounds: int = 5,
    large_n: int = 0,
    samples: Path | None = None,
    corpus: Path | None = None,
    features: Path | None = None,
) -> None:
    """Time the measures.

    Args:
        n: Images a side.
        width: Features of an image.
        rounds: Turns of each contestant.
        large_n: Instead, measure so many images a side in blocks, ours alone.
        samples: Instead, time the quality part on this image set of generated images.
        corpus: Its corpus.
        features: SqueezeNet weights.
    """
    if samples and corpus:
        whole(samples, corpus, features)
    elif large_n:
        large(large_n, width)
    else:
        compare(n, width, rounds)
