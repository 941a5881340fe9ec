"""Do generated images lie nearer to people of the training split than to others? Tested by exchanging people.

To a model that repeats nobody, it is chance who of the real people is in the training split. So people change sides at
random, as many as there are, and each figure is measured again: exact at its level, however alike the images of one
person are, however few people there are, and whatever generated images have in common.  [permutation of clusters: Good
2005, ch. 3; AuthPct: Alaa 2022, sec. 3.3; C_T: Meehan 2020, sec. 3]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...reporting.wording import as_p
from ...wording import count_of
from ..findings import NearnessSign, Sign
from ..inputs.patients import patients
from ..score import Null, Score, unavailable
from .search import Search
from .signs import LEVEL, graded

Array = NDArray[Any]
ROWS, MOST = 512, 2000
"""Images at a time, and real images whose closeness to others is measured, at the most."""
PERMUTATIONS, FEWEST = 999, 10
NAMES = ("nearest_share", "copying_z", "authentic_share")
COPYING = -3.0
"""C_T from which nobody takes it for chance."""
BY_EXCHANGE = "null: people of both splits change sides"
SAID = {
    "passed": "no nearer to training people than chance gives",
    "look": "nearer to training people than chance gives",
    "failed": "most images lie nearer to training people than chance gives",
}


@dataclass(frozen=True)
class Closeness:
    """The highest cosine, -1…1, of an image's features with those of any image of a person, mirrored or not.

    made (n, P): of generated images, with P people; real (N, P): of real ones, whose own person is `owner` (N,) and
    whose number in the corpus is `numbers`. authentic (n, P): whether a generated image lies farther from that person's
    nearest image than this image lies from its own nearest one. trained (P,): who is in the training split.
    """

    made: Array
    authentic: Array
    real: Array
    owner: Array
    numbers: Sequence[int]
    names: Sequence[str]
    trained: Array
    features: str

    @property
    def held_out(self) -> int:
        """How many people are not in the training split."""
        return int((~self.trained).sum())


def closeness_of(
    search: Search, samples: ImageSet, corpus: ImageSet, others: Sequence[int], seed: int = 0
) -> Closeness:
    """Measure it for the generated images of a modality and its corpus; others: numbers of the held-out images."""
    training = [i for i, row in enumerate(corpus.rows) if row.split == "train"]
    numbers, everyone = [*training, *others], patients(corpus.rows)
    names, owner = np.unique([everyone[i] for i in numbers], return_inverse=True)
    stock, mirrored = search.views(corpus, numbers)
    best, which = _nearest_of_each(search.views(samples, range(len(samples))), stock, owner)
    some = np.sort(np.random.default_rng([seed, 13]).permutation(len(numbers))[:MOST])
    real, _ = _nearest_of_each([stock[some], mirrored[some]], stock, owner)
    authentic, shown = best < _own(stock)[which], [numbers[i] for i in some]
    trained = np.isin(np.arange(len(names)), owner[: len(training)])
    return Closeness(best, authentic, real, owner[some], shown, names.tolist(), trained, search.features_name)


def _nearest_of_each(views: Sequence[Array], stock: Array, owner: Array) -> tuple[Array, Array]:
    """For images seen in some views, each (n, d) of unit length: the highest cosine with each person, and its image."""
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(owner.max() + 2))
    best = np.full((len(views[0]), len(bounds) - 1), -2.0, np.float32)
    which = np.zeros(best.shape, dtype=int)
    for view in views:
        for start in range(0, len(view), ROWS):
            alike = view[start : start + ROWS] @ stock[order].T
            for person, (first, stop) in enumerate(pairwise(bounds)):
                place = alike[:, first:stop].argmax(axis=1)
                found = alike[np.arange(len(alike)), first + place]
                rows = start + np.flatnonzero(found > best[start : start + ROWS, person])
                best[rows, person], which[rows, person] = found[rows - start], order[first + place[rows - start]]
    return best, which


def _own(stock: Array) -> Array:
    """The cosine of each image with the nearest other one, (n,)."""
    found = np.empty(len(stock), np.float32)
    for start in range(0, len(stock), ROWS):
        alike = stock[start : start + ROWS] @ stock.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -2
        found[start : start + ROWS] = alike.max(axis=1)
    return found


@dataclass(frozen=True)
class Nearness:
    """The figures of NAMES, (3,), and what they come to where people change sides, (PERMUTATIONS, 3)."""

    found: Array
    drawn: Array
    n: int
    people: int
    held_out: int
    features: str

    @property
    def ps(self) -> Array:
        """P that exchanged people give as much nearness: a higher share, a lower C_T, fewer authentic images."""
        sign = np.array([-1, 1, 1])
        beyond = (sign * self.drawn <= sign * self.found + 1e-9).sum(axis=0)
        return (1 + beyond) / (1 + len(self.drawn))

    @property
    def p(self) -> float:
        """The least of the three, which pays for three looks."""
        return min(1.0, len(NAMES) * float(self.ps.min()))

    @property
    def chance(self) -> float:
        """The share of images whose nearest person is by chance a training one."""
        return float(np.median(self.drawn[:, 0]))

    @property
    def most(self) -> bool:
        """Whether more than half of the images lie near training people beyond chance."""
        return bool(self.found[0] - self.chance > (1 - self.chance) / 2)


def nearness_of(close: Closeness, seed: int = 0) -> Nearness:
    """Measure it. Raises ValueError where there are too few people or held-out images to change sides."""
    people, held_out = len(close.trained), close.held_out
    images, ways = int((~close.trained[close.owner]).sum()), math.comb(people, held_out)
    if images < FEWEST:
        raise ValueError(f"only {count_of(images, 'held-out image')}")
    if ways < len(NAMES) / LEVEL:
        sides = f"{people - held_out} training and {held_out} held-out people"
        raise ValueError(f"{sides} can change sides in only {ways} ways: too few to tell from chance")
    rng = np.random.default_rng([seed, 12])
    found = np.array(_figures(close, close.trained))
    drawn = np.array([_figures(close, rng.permutation(close.trained)) for _ in range(PERMUTATIONS)])
    middle, spread = drawn[:, 1].mean(), max(float(drawn[:, 1].std()), 1e-9)
    found[1], drawn[:, 1] = (found[1] - middle) / spread, (drawn[:, 1] - middle) / spread
    return Nearness(found, drawn, len(close.made), people, held_out, close.features)


def _figures(close: Closeness, trained: Array) -> tuple[float, float, float]:
    """The share whose nearest person is a training one; P(farther from training than held-out ones are); authentic."""
    near, held = close.made[:, trained], close.made[:, ~trained]
    unseen = np.sort(close.real[~trained[close.owner]][:, trained].max(axis=1))
    closest = near.max(axis=1)
    farther = len(unseen) - (np.searchsorted(unseen, closest, "left") + np.searchsorted(unseen, closest, "right")) / 2
    authentic = close.authentic[:, trained][np.arange(len(near)), near.argmax(axis=1)]
    return float((closest > held.max(axis=1)).mean()), float(farther.mean() / len(unseen)), float(authentic.mean())


def nearness_signs(close: Closeness, modality: str, looks: int = 1, seed: int = 0) -> tuple[list[Score], list[Sign]]:
    """The figures and what they say, or why nothing is said; looks: in how many kinds of features one looks for it."""
    where = {"versus": "train", "modality": modality, "extractor": close.features}
    try:
        near = nearness_of(close, seed)
    except ValueError as error:
        text = f"{modality}: nearness to training people cannot be judged: {error}"
        nothing = [unavailable(name, str(error), **where) for name in NAMES]
        return nothing, [Sign("nearness", "undecided", modality, text)]
    return scores_of(near, **where), [sign_of(near, modality, looks)]


def scores_of(near: Nearness, **where: Any) -> list[Score]:
    """The three figures, each beside what exchanged people give, at the level at which the audit speaks."""
    tail, scores = LEVEL / len(NAMES), []
    for name, value, drawn, p in zip(NAMES, near.found, near.drawn.T, near.ps, strict=True):
        low, middle, high = np.quantile(drawn, [tail, 0.5, 1 - tail]).tolist()
        null = Null(middle, low, high, len(drawn))
        scores.append(Score(name, float(value), n=near.n, null=null, p=float(p), note=BY_EXCHANGE, **where))
    return scores


def sign_of(near: Nearness, modality: str, looks: int = 1) -> NearnessSign:
    """What the nearness says; looks: in how many kinds of features one looked for it."""
    p, (share, z, authentic) = min(1.0, looks * near.p), near.found.tolist()
    word = graded(0.0 if z < COPYING else p, near.most)
    text = (
        f"{modality}: {SAID[word]}: of all real people the nearest is a training one for {share:.2f} of the images "
        f"(chance {near.chance:.2f}), C_T {z:.1f} (copies: below {COPYING:.0f}), p {as_p(p)}"
    )
    return NearnessSign(
        "nearness",
        word,
        modality,
        text,
        p=p,
        nearest_share=share,
        chance=near.chance,
        copying_z=z,
        authentic_share=authentic,
        n=near.n,
        features=near.features,
        training_people=near.people - near.held_out,
        held_out_people=near.held_out,
    )
