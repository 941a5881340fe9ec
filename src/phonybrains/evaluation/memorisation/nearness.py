"""Do generated images lie nearer to people of the training split than to others? Tested by exchanging people.

To a model that repeats nobody, it is chance who of the real people is in the training split. So people change sides at
random, as many as there are, and each figure is measured again: exact at its level, however alike the images of one
person are, however few people there are, and whatever generated images have in common.  [permutation of clusters: Good
2005, ch. 3; AuthPct: Alaa 2022, sec. 3.3; C_T: Meehan 2020, sec. 3]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...reporting.wording import as_p
from ..findings import NearnessSign, Sign
from ..score import Null, Score, unavailable
from .closeness import Closeness
from .signs import LEVEL, graded

Array = NDArray[Any]
PERMUTATIONS, FEWEST = 999, 10
NAMES = ("nearest_share", "copying_z", "authentic_share")
COPYING = -3.0
"""C_T from which nobody takes it for chance."""
BY_EXCHANGE = "null: people of both splits change sides"


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
    def most(self) -> bool:
        """Whether more than half of the images lie near training people beyond chance."""
        chance = float(np.median(self.drawn[:, 0]))
        return bool(self.found[0] - chance > (1 - chance) / 2)


def nearness_of(close: Closeness, seed: int = 0) -> Nearness:
    """Measure it. Raises ValueError where there are too few people or held-out images to change sides."""
    people, held_out = len(close.trained), close.held_out
    images = int((~close.trained[close.owner]).sum())
    if images < FEWEST:
        raise ValueError(f"only {images} held-out images")
    if math.comb(people, held_out) < len(NAMES) / LEVEL:
        raise ValueError(
            f"{people - held_out} training and {held_out} held-out people can change sides in only "
            f"{math.comb(people, held_out)} ways: too few to tell from chance"
        )
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


def scores_of(near: Nearness, **where: Any) -> list[Score]:
    """The three figures, each beside what exchanged people give, at the level at which the audit speaks."""
    tails = LEVEL / len(NAMES)
    scores = []
    for name, value, drawn, p in zip(NAMES, near.found, near.drawn.T, near.ps, strict=True):
        low, middle, high = np.quantile(drawn, [tails, 0.5, 1 - tails]).tolist()
        null = Null(middle, low, high, len(drawn))
        scores.append(Score(name, float(value), n=near.n, null=null, p=float(p), note=BY_EXCHANGE, **where))
    return scores


def not_measured(reason: str, **where: Any) -> list[Score]:
    """The three figures where they could not be had, and why."""
    return [unavailable(name, reason, **where) for name in NAMES]


def sign_of(near: Nearness, modality: str, looks: int = 1) -> Sign:
    """What the nearness says; looks: in how many kinds of features one looked for it."""
    p, (share, z, authentic) = min(1.0, looks * near.p), near.found.tolist()
    word = graded(0.0 if z < COPYING else p, near.most)
    chance = float(np.median(near.drawn[:, 0]))
    beyond = {
        "passed": "no nearer to training people than chance gives",
        "look": "nearer to training people than chance gives",
        "failed": "most images lie nearer to training people than chance gives",
    }[word]
    text = (
        f"{modality}: {beyond}: of all real people the nearest is a training one for {share:.2f} of the images "
        f"(chance {chance:.2f}), C_T {z:.1f} (copies: below {COPYING:.0f}), p {as_p(p)}"
    )
    return NearnessSign(
        "nearness",
        word,
        modality,
        text,
        p=p,
        nearest_share=share,
        chance=chance,
        copying_z=z,
        authentic_share=authentic,
        n=near.n,
        features=near.features,
        training_people=near.people - near.held_out,
        held_out_people=near.held_out,
    )


def unjudged(reason: str, modality: str) -> Sign:
    """The sign where nearness could not be judged."""
    return Sign(
        "nearness", "undecided", modality, f"{modality}: nearness to training people cannot be judged: {reason}"
    )
