"""How often does each test of the evaluation reject a perfect set? Simulated sets, of which the truth is known.

    python -m bench evaluation_level --sets 1000

Real images: vectors from one normal distribution; each perfect set: others from the same. A test of level 5 % should
reject about 5 % of them: 4 to 6 % at 1000 sets. The exact test of the classifier's accuracy may reject less, because
its p comes in steps. Prints the share of each test with its exact interval. Needs what the extra `bench` installs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from phonybrains.evaluation.features.spectrum import BANDS
from phonybrains.evaluation.features.texture import NAMES
from phonybrains.evaluation.quality import c2st
from phonybrains.evaluation.quality.distances import kid
from phonybrains.evaluation.quality.nulls import other_people, p_of, real_against_real
from phonybrains.evaluation.quality.scores import (
    Against,
    frechet_score,
    kernel_scores,
    neighbour_scores,
    noise_score,
    two_sample_scores,
)
from phonybrains.evaluation.quality.texture import spectrum_score, worst_feature
from phonybrains.evaluation.score import Score
from phonybrains.statistics.proportions import clopper_pearson

from .options import measurement
from .timing import table

LEVEL, FEATURES = 0.05, len(NAMES)
Array = NDArray[Any]


def simulated(rng: np.random.Generator, n: int, width: int, draws: int) -> Against:
    """A perfect set of n beside 5 n real images, two of each patient, of which n are held out."""
    groups = [str(i // 2) for i in range(5 * n)]
    pairs = list(real_against_real(groups, n, n, draws, int(rng.integers(2**31))))
    made, real = rng.normal(size=(n, width)), rng.normal(size=(5 * n, width))
    return Against(made, real, groups, np.arange(n), pairs, {}, int(rng.integers(2**31)))


def tests_of(x: Against, rng: np.random.Generator, permutations: int, with_auc: bool) -> Iterator[tuple[str, float]]:
    """Each test's name and p."""
    for score in kernel_scores(x, permutations):
        yield f"{score.name}, permutation", _p(score)
    yield "kid, real against real", _p(_without_permutation(x))
    made, real = rng.exponential(size=(len(x.made), BANDS)), rng.exponential(size=(len(x.real), BANDS))
    scores = [
        frechet_score(x, "fd"),
        frechet_score(x, "fd_handcrafted"),
        *neighbour_scores(x, 5),
        noise_score(x, made[:, 0], real[:, 0]),
    ]
    for score in scores:
        yield f"{score.name}, real against real", _p(score)
    others = list(other_people(x.groups, x.held, x.n, len(x.draws), x.seed))
    of_texture = replace(x, made=rng.normal(size=(len(x.made), FEATURES)), real=_people(x, rng), draws=others)
    for score in (worst_feature(of_texture)[0], spectrum_score(of_texture)):
        yield f"{score.name}, other people", _p(score)
    auc, accuracy = two_sample_scores(x, "c2st", c2st.logistic, len(x.draws) if with_auc else 0)[0]
    yield "c2st_accuracy, exact", _p(accuracy)
    if with_auc:
        yield "c2st_auc, real against real", _p(auc)


def _people(x: Against, rng: np.random.Generator) -> Array:
    """Features of real images, half of whose variance is their patient's."""
    names, codes = np.unique(np.asarray(x.groups), return_inverse=True)
    each, theirs = (rng.normal(size=(n, FEATURES)) for n in (len(codes), len(names)))
    return (each + theirs[codes]) / np.sqrt(2)


def _without_permutation(x: Against) -> Score:
    value = kid(x.made, x.real[x.held])[0]
    return Score("kid", value, p=p_of(value, [kid(x.real[a], x.real[b])[0] for a, b in x.draws]))


def _p(score: Score) -> float:
    return 1.0 if score.p is None else score.p


app = measurement(__name__, __doc__)


@app.default
def main(
    *,
    sets: int = 1000,
    n: int = 40,
    width: int = 16,
    draws: int = 39,
    permutations: int = 99,
    auc_every: int = 10,
    seed: int = 0,
    out: Path | None = None,
) -> dict[str, float]:
    """Count rejections.

    Args:
        sets: Perfect sets to test.
        n: Images of each, and as many held-out ones.
        width: Features of an image.
        draws: Real against real; p comes in steps of 1 / (draws + 1), so that 39 make 5 % possible two-sidedly too.
        permutations: Of the kernel tests.
        auc_every: Once in so many sets the two-sample test's AUC, the slow one, is tested too.
        seed: Start of the random numbers.
        out: File for the table.
    """
    rejected: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for i in track(range(sets), "perfect sets", transient=True):
        rng = np.random.default_rng([seed, i])
        for name, p in tests_of(simulated(rng, n, width, draws), rng, permutations, i % auc_every == 0):
            rejected[name] += p <= LEVEL + 1e-12
            tried[name] += 1
    shares = {name: clopper_pearson(count, tried[name]) for name, count in rejected.items()}
    rows = [[name, x.n, f"{x.value:.1%}", f"{x.low:.1%}-{x.high:.1%}"] for name, x in shares.items()]
    text = table(["test", "sets", "rejects", "95 % interval"], rows)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    return {name: count / tried[name] for name, count in rejected.items()}
