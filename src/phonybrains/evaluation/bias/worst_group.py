"""For whom are the images worst? Distance and coverage of each group, at the same number of images for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...statistics.estimate import Estimate
from ...statistics.proportions import clopper_pearson
from ..inputs.real import Compared
from ..inputs.sets import grouping
from ..quality.distances import kid, standardise
from ..quality.neighbours import neighbourhoods
from ..quality.nulls import null_of
from ..score import Null, Score, unavailable

Array = NDArray[Any]
ByLabel = dict[str, Array]
DRAWS = 20
MOST = 100


@dataclass(frozen=True)
class GroupMeasures:
    """One group: means over draws of n images a side, and what real images of the group score against each other.

    Limits: KID by the jackknife, coverage as an exact share of n images; both take images for independent.
    """

    name: str
    kid: Estimate
    coverage: Estimate
    kid_null: Null | None
    coverage_null: Null | None


def measure_groups(
    made: ByLabel, real: ByLabel, others: ByLabel, smallest: int, k: int, rng: np.random.Generator
) -> list[GroupMeasures]:
    """KID and coverage of each group, the worst KID first, from features (n, d) by group at one n for all.

    made against real; `others`: real images of other people, which take the place of the made ones for the null.
    Groups with fewer than `smallest` images on either side are left out.
    """
    names = [name for name in made if min(len(made[name]), len(real.get(name, ()))) >= smallest]
    if not names:
        return []
    n = min(MOST, *(min(len(made[name]), len(real[name])) for name in names))
    found = [_measure(name, made[name], real[name], others.get(name), n, min(k, n - 1), rng) for name in names]
    return sorted(found, key=lambda group: -group.kid.value)


def _measure(
    name: str, made: Array, real: Array, others: Array | None, n: int, k: int, rng: np.random.Generator
) -> GroupMeasures:
    drawn = np.array([_of_draw(made, real, n, k, rng) for _ in range(DRAWS)])
    nulls: Sequence[Null | None] = (None, None)
    if others is not None and len(others) >= n:
        null = np.array([_of_draw(others, real, n, k, rng) for _ in range(DRAWS)])
        nulls = [null_of(null[:, column].tolist()) for column in (0, 2)]
    value, error, coverage = (float(x) for x in drawn.mean(axis=0))
    exact = clopper_pearson(round(coverage * n), n)
    distance = Estimate(value, value - 1.96 * error, value + 1.96 * error, n)
    return GroupMeasures(name, distance, Estimate(coverage, exact.low, exact.high, n), *nulls)


def _of_draw(made: Array, real: Array, n: int, k: int, rng: np.random.Generator) -> tuple[float, float, float]:
    a, b = (side[rng.choice(len(side), n, replace=False)] for side in (made, real))
    return *kid(a, b), neighbourhoods(a, b, k).coverage


def worst_group_scores(side: Compared) -> Iterator[Score]:
    """KID and coverage of each label's images by attribute, and the worst of them by name."""
    reference = side.real.features[side.real.taught]
    made, real = standardise(side.features, reference), standardise(side.real.features, reference)
    held, settings = set(side.reference), side.config
    rest = [i for i in side.real.numbers("train") if i not in held]
    for attribute in grouping(side.attributes, settings):
        try:
            scale = side.real.readable(attribute).scale
        except ValueError:
            continue  # composition says why
        asked, true = scale.codes(side.made.rows), scale.codes(side.real.rows)
        mine, theirs, of_training = (
            {name: features[[i for i in numbers if codes[i] == code]] for code, name in enumerate(scale.names)}
            for features, codes, numbers in (
                (made, asked, range(len(asked))),
                (real, true, side.reference),
                (real, true, rest),
            )
        )
        smallest, k = settings.bias.smallest_group, settings.quality.neighbours
        groups = measure_groups(mine, theirs, of_training, smallest, k, side.rng(41))
        yield from _as_scores(side, attribute, groups)


def _as_scores(side: Compared, attribute: str, groups: list[GroupMeasures]) -> Iterator[Score]:
    where: dict[str, Any] = {"versus": side.versus, "extractor": side.extractor.identity}
    if not groups:
        least = side.config.bias.smallest_group
        yield unavailable("group_kid", f"no label has {least} images on both sides", group=attribute, **where)
        return
    for group in groups:
        where["group"], note = f"{attribute}={group.name}", f"{group.kid.n} images a side, as all groups of {attribute}"
        yield Score.of("group_kid", group.kid, null=group.kid_null, note=note, **where)
        yield Score.of("group_coverage", group.coverage, null=group.coverage_null, note=note, **where)
    if len(groups) > 1:
        worst = groups[0]
        where["group"], note = f"{attribute}={worst.name}", f"the worst of {len(groups)} groups at {worst.kid.n} a side"
        yield Score.of("worst_group_kid", worst.kid, null=worst.kid_null, note=note, **where)
