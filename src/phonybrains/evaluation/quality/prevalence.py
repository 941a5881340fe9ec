"""How often an attribute has a value, on both sides: what no distance of features sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import fisher_exact

from ...imageset import Row
from ...statistics.bootstrap import SHARE, Drawn, drawn_again, share_again
from ...statistics.proportions import clopper_pearson
from ..inputs.labels import Scale
from ..score import Null, Score, unavailable

DRAWS = 1000


def prevalence(
    made: Sequence[Row], real: Sequence[Row], people: Sequence[str], scale: Scale, seed: int = 0, **where: Any
) -> list[Score]:
    """The share of each label among the made images that have one, with its exact interval and p that it is as among
    the real ones; the null is the real share with its interval. people: whom each real image shows.

    Labels are what the metadata say: of made images, what they were asked to show. Made images are taken for
    independent; real ones are drawn again by person, and neither interval nor p is smaller than the exact ones of
    independent images.  [exact: Clopper & Pearson 1934; Fisher]
    """
    attribute, rng = scale.attribute, np.random.default_rng([seed, 17])
    sides = [np.array([label for label in scale.labels(rows) if label]) for rows in (made, real)]
    if not all(map(len, sides)):
        side = "real" if len(sides[0]) else "made"
        return [unavailable("prevalence", f"no {side} image has the attribute '{attribute}'", group=attribute, **where)]
    owners = np.array([who for who, label in zip(people, scale.labels(real), strict=True) if label])
    (asked, shown), again = sides, drawn_again(owners, DRAWS, rng)
    n, m = len(asked), len(shown)
    where |= {"n": min(n, m), "note": "as the metadata say; real people drawn again"}
    scores = []
    for label in scale.names:
        k, j = (int((side == label).sum()) for side in sides)
        share = share_again((shown == label).astype(float), owners, again, rng)
        apart = Drawn(k / n, rng.beta(k + 0.5, n - k + 0.5, DRAWS), math.inf, SHARE).minus(share)
        p = float(fisher_exact([[k, n - k], [j, m - j]]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
        own, exact = share.estimate(m), clopper_pearson(j, m)
        null = Null(own.value, min(own.low, exact.low), max(own.high, exact.high))
        of: dict[str, Any] = {"null": null, "p": max(p, apart.p_value()), "group": f"{attribute}={label}"}
        scores.append(Score.of("prevalence", clopper_pearson(k, n), **of, **where))
    return scores
