"""Which words does the evaluation's rule give to sets of which the truth is known?

    python -m bench evaluation_verdict --sets 60

Real images are vectors from one normal distribution, two of each patient; the sets come from the same, or have every
feature moved by some deviations. Prints, for each size and shift, the shares of scores that are apart, better, as real
and not shown, and the share of sets to which "as real?" is answered with no. Needs what the extra `bench` installs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
from rich.progress import track

from phonybrains.evaluation.outcomes import outcome_of
from phonybrains.evaluation.quality import c2st
from phonybrains.evaluation.quality.scores import frechet_score, kernel_scores, neighbour_scores, two_sample_scores
from phonybrains.evaluation.report.glance import as_real
from phonybrains.evaluation.score import Score

from .evaluation_level import simulated
from .options import measurement
from .timing import table

WORDS = ("apart", "better", "as real", "not shown")
app = measurement(__name__, __doc__)


def scores_of(n: int, shift: float, rng: np.random.Generator, width: int, draws: int) -> list[Score]:
    """Nine scores of one set of n."""
    x = simulated(rng, n, width, draws)
    x = replace(x, made=x.made + shift, where={"modality": "MR"})
    scores = [*kernel_scores(x, 99), frechet_score(x, "fd_handcrafted"), *neighbour_scores(x, 5)]
    return scores + two_sample_scores(x, "c2st", c2st.logistic)[0]


@app.default
def main(
    *,
    sets: int = 60,
    sizes: tuple[int, ...] = (10, 40, 160),
    shifts: tuple[float, ...] = (0.0, 0.25, 1.0),
    width: int = 16,
    draws: int = 40,
    seed: int = 0,
) -> None:
    """Count words.

    Args:
        sets: Sets of each size and shift.
        sizes: Images of a set, and as many held-out ones.
        shifts: Deviations by which every feature is moved.
        width: Features of an image.
        draws: Real against real.
        seed: Start of the random numbers.
    """
    rows: list[list[object]] = []
    for n, shift in product(sizes, shifts):
        words: Counter[str] = Counter()
        told = 0
        for i in track(range(sets), f"n = {n}, shift {shift}", transient=True):
            scores = scores_of(n, shift, np.random.default_rng([seed, n, i]), width, draws)
            words.update(map(outcome_of, scores))
            told += as_real(scores, ["MR"]).answer == "no"
        shares = [f"{words[word] / words.total():.1%}" for word in WORDS]
        rows.append([n, str(shift), words.total(), *shares, f"{told / sets:.0%}"])
    print(table(["n", "shift", "scores", *WORDS, "as real? no"], rows))
