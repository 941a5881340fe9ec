"""What real images score against real images at the same n: the null that a score is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...wording import count_of
from ..arrays import Array
from ..measures import Better
from ..score import Null

FEWEST_PEOPLE = 5
"""Patients besides those held out from whom a null is drawn."""


def real_against_real(
    groups: Sequence[str], made: int, real: int, draws: int, seed: int = 0
) -> Iterator[tuple[Array, Array]]:
    """Numbers of real images in the place of the made ones, and of the held-out ones, for each draw.

    Those of the held-out side are whole patients, as a split's are, the last cut short; the others are random images
    of the remaining patients, as a perfect generator's would be. Where these are fewer than `made`, all of them are
    taken. Raises ValueError where a side would have fewer than two images.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(codes)
    for i in range(draws):
        rng = np.random.default_rng([seed, i])
        order = rng.permutation(len(names))
        taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), real)) + 1]
        held, rest = (np.flatnonzero(side) for side in (np.isin(codes, taken), ~np.isin(codes, taken)))
        if len(rest) < 2 or len(held) < 2:
            raise ValueError(
                f"{count_of(len(names), 'patient is', 'patients are')} too few to divide into {real} and {made} images."
            )
        place = np.argsort(order)  # of each patient: the last one taken is the one cut short
        shown = held[np.argsort(place[codes[held]], kind="stable")][:real]
        yield np.sort(rng.permutation(rest)[:made]), np.sort(shown)


def other_people(
    groups: Sequence[str], held: Array, n: int, draws: int, seed: int = 0
) -> Iterator[tuple[Array, Array]]:
    """Numbers of n real images of patients who are not held out, and those held out, for each draw.

    Patients are drawn again with replacement, and n of the images they come with at random: what a perfect copy of the
    other patients' distribution scores against these held-out images. Where they come with fewer, all are taken.
    Raises ValueError with fewer than FEWEST_PEOPLE other patients.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    others = np.setdiff1d(codes, codes[held])
    if len(others) < FEWEST_PEOPLE:
        raise ValueError(
            f"of {count_of(len(names), 'patient')}, only {count_of(len(others), 'is', 'are')} not held out: "
            f"at least {FEWEST_PEOPLE} are needed to say what real images score"
        )
    images = {code: np.flatnonzero(codes == code) for code in others.tolist()}
    for i in range(draws):
        rng = np.random.default_rng([seed, 5, i])
        pool = np.concatenate([images[code] for code in rng.choice(others, len(others)).tolist()])
        yield rng.permutation(pool)[:n], held


def deal_like(folds: Array, n: int, rng: np.random.Generator) -> Array:
    """Random folds for n images without a patient, each fold's share that which it has in `folds`."""
    ends = np.rint(np.cumsum(np.bincount(folds)) / len(folds) * n).astype(int)
    return rng.permutation(np.searchsorted(ends, np.arange(n), side="right"))


def null_of(drawn: Sequence[float]) -> Null:
    """Median and 95 % range of what the draws gave."""
    low, middle, high = np.quantile(np.asarray(drawn, dtype=float), [0.025, 0.5, 0.975])
    return Null(float(middle), float(low), float(high), len(drawn))


def p_of(value: float, drawn: Sequence[float], better: Better = "low") -> float:
    """The chance that real images do as badly as `value` or worse, (1 + such draws) / (1 + draws).

    better: what is good: low (a distance), high (coverage), or near the draws' median (diversity; two-sided).
    """
    x = np.asarray(drawn, dtype=float)
    slack = 1e-9 * max(1.0, abs(value))
    above, below = (1 + (x >= value - slack).sum()) / (1 + len(x)), (1 + (x <= value + slack).sum()) / (1 + len(x))
    return float({"low": above, "high": below, "near": min(1.0, 2 * min(above, below))}[better])
