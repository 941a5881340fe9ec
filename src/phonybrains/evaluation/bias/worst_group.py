"""For whom are the images worst? Distance and coverage of each group, at the same number of images for all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...statistics.estimate import Estimate
from ...statistics.multireader import shares, these_readers
from ...statistics.proportions import clopper_pearson
from ...wording import count_of
from ..inputs.real import Compared
from ..inputs.sets import grouping
from ..quality.distances import kid_interval, kid_of_people, standardise
from ..quality.neighbours import covered
from ..quality.nulls import null_of, other_people
from ..score import Null, Score, unavailable

Array = NDArray[Any]
DRAWS = 40
MOST = 100


@dataclass(frozen=True)
class OfPeople:
    """Features of images, (n, d), and whom each shows."""

    features: Array
    people: Sequence[str]

    def __len__(self) -> int:
        return len(self.features)

    def part(self, numbers: Array) -> OfPeople:
        return OfPeople(self.features[numbers], [self.people[int(i)] for i in numbers])


@dataclass(frozen=True)
class GroupMeasures:
    """One group: means over draws of n images a side, with intervals by person; made images count as one person each.

    kid: NaN, and without interval, where its real images show one person. coverage: no surer than n independent images
    allow. null_kids, null_coverages: what n images of other real people, drawn again, score against these; none where
    they are too few.
    """

    name: str
    n: int
    people: int
    kid: float
    limits: Estimate | None
    coverage: Estimate
    null_kids: Sequence[float] = ()
    null_coverages: Sequence[float] = ()


def measure_groups(
    made: dict[str, Array],
    real: dict[str, OfPeople],
    others: dict[str, OfPeople],
    smallest: int,
    k: int,
    rng: np.random.Generator,
) -> list[GroupMeasures]:
    """KID and coverage of each group, the worst KID first, from features by group at one n for all.

    made (n, d) against real; `others`: real images of other people, which take the place of the made ones for the null.
    Groups with fewer than `smallest` images on either side are left out.
    """
    names = [name for name in made if min(len(made[name]), len(real.get(name, ()))) >= smallest]
    if not names:
        return []
    n = min(MOST, *(min(len(made[name]), len(real[name])) for name in names))
    found = [_measure(name, made[name], real[name], others.get(name), n, min(k, n - 1), rng) for name in names]
    return sorted(found, key=lambda group: -group.kid if math.isfinite(group.kid) else math.inf)


def _measure(
    name: str, made: Array, real: OfPeople, others: OfPeople | None, n: int, k: int, rng: np.random.Generator
) -> GroupMeasures:
    hits = np.full((DRAWS, len(real)), np.nan)
    values, errors = np.full(DRAWS, np.nan), np.full(DRAWS, np.nan)
    for i in range(DRAWS):
        mine, theirs = (rng.choice(len(side), n, replace=False) for side in (made, real))
        one, other = made[mine], real.part(theirs)
        if len(set(other.people)) > 1:
            values[i], errors[i] = kid_of_people(one, other.features, None, other.people)
        hits[i, theirs] = covered(one, other.features, k)
    value, error = (float(np.mean(x[np.isfinite(x)])) if np.isfinite(x).any() else math.nan for x in (values, errors))
    limits = kid_interval(value, error, n, real.people)
    share = these_readers(shares(hits, real.people)).estimate
    exact = clopper_pearson(round(share.value * n), n)
    coverage = Estimate(share.value, min(share.low, exact.low), max(share.high, exact.high), n)
    nulls = _nulls(real, others, n, k, rng) if others is not None and len(others) else ([], [])
    return GroupMeasures(name, n, len(set(real.people)), value, limits, coverage, *nulls)


def _nulls(real: OfPeople, others: OfPeople, n: int, k: int, rng: np.random.Generator) -> tuple[list[float], ...]:
    """KID and coverage of n images of other people, drawn again, against n of these; none where they are too few."""
    both = np.concatenate([others.features, real.features])
    people = [*(f"other {name}" for name in others.people), *(f"real {name}" for name in real.people)]
    held, kids, coverages = np.arange(len(others), len(both)), [], []
    try:
        for made, _ in other_people(people, held, n, DRAWS, int(rng.integers(2**31))):
            theirs = real.part(rng.choice(len(real), n, replace=False))
            owners = [people[i] for i in made.tolist()]
            if len(made) == n and min(len(set(owners)), len(set(theirs.people))) > 1:  # not too few of those drawn
                kids.append(kid_of_people(both[made], theirs.features, owners, theirs.people)[0])
                coverages.append(float(covered(both[made], theirs.features, k).mean()))
    except ValueError:
        return [], []
    return (kids, coverages) if 2 * len(kids) > DRAWS else ([], [])


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
        mine = {name: made[asked == code] for code, name in enumerate(scale.names)}
        theirs, of_training = (
            {
                name: OfPeople(real, side.real.people).part(
                    np.array([i for i in numbers if true[i] == code], dtype=int)
                )
                for code, name in enumerate(scale.names)
            }
            for numbers in (side.reference, rest)
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
        where["group"] = f"{attribute}={group.name}"
        note = f"{group.n} images a side, as all groups of {attribute}; {_real_people(group)}"
        yield _kid("group_kid", group, group.null_kids, note, where)
        usual = _null(group.null_coverages)
        yield Score.of("group_coverage", group.coverage, null=usual, note=note, **where)
    groups = [group for group in groups if math.isfinite(group.kid)]
    if len(groups) > 1:
        worst = groups[0]
        where["group"] = f"{attribute}={worst.name}"
        note = f"the worst of {len(groups)} groups at {worst.n} a side; null: the worst of as many"
        yield _kid("worst_group_kid", worst, worst_nulls(groups), note, where)


def worst_nulls(groups: Sequence[GroupMeasures]) -> list[float]:
    """The worst KID of all groups in each draw of their nulls, so that choosing the worst of many is paid for."""
    draws = min(len(group.null_kids) for group in groups)
    return np.max([group.null_kids[:draws] for group in groups], axis=0).tolist() if draws else []


def _kid(name: str, group: GroupMeasures, nulls: Sequence[float], note: str, where: dict[str, Any]) -> Score:
    if not math.isfinite(group.kid):
        return unavailable(
            name, f"{note}: images of one person are not compared with each other, two are needed", **where
        )
    low, high = (group.limits.low, group.limits.high) if group.limits else (None, None)
    return Score(name, group.kid, low, high, group.n, _null(nulls), note=note, **where)


def _null(drawn: Sequence[float]) -> Null | None:
    return null_of(drawn) if drawn else None


def _real_people(group: GroupMeasures) -> str:
    return f"real ones of {count_of(group.people, 'person', 'people')}"
