"""The one rule: what a score says, from its value, null, interval, p and n, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..statistics.estimate import holm
from .measures import Measure, measure_of
from .score import Score

Outcome = Literal["apart", "better", "as real", "not shown", ""]

LEVEL = 0.05


def outcome_of(score: Score) -> Outcome:
    """What a score says of synthetic beside real images; "" where it has no value or nothing to be judged by.

    apart      it lies beyond the null's range on a bad side, its interval excludes the null's middle, p is below LEVEL
    better     the same on the good side of a measure that has one, classifiers excepted
    as real    its interval and the null's spread around it lie within the margin of the null's middle, p is not below
    not shown  all else: n is too small to say either

    What a row lacks is not asked for, but without interval, p or range it shows nothing: where the row's figures
    disagree, neither is said.  [equivalence by interval inclusion: Westlake 1972, Schuirmann 1987]
    """
    measure = measure_of(score.name)
    if _known(score.value) is None or score.null is None or measure.rule == "chance":
        return ""
    bad, good = {"low": ((1,), (-1,)), "high": ((-1,), (1,)), "near": ((1, -1), ())}[measure.better]
    if any(_beyond(score, side, measure, bad=True) for side in bad):
        return "apart"
    if measure.rule != "classifier" and any(_beyond(score, side, measure, bad=False) for side in good):
        return "better"
    return "as real" if _within(score) else "not shown"


def differing(scores: Sequence[Score]) -> list[Score]:
    """Those that are apart, and have a p below LEVEL after Holm's correction for all that have one."""
    tested = [score for score in scores if _known(score.p) is not None]
    adjusted = holm([score.p or 0.0 for score in tested]) if tested else []
    return [s for s, p in zip(tested, adjusted, strict=True) if p < LEVEL and outcome_of(s) == "apart"]


def distance(score: Score) -> float | None:
    """How far from the null's median, in half-widths of its range on that side: beyond ±1 is not as real."""
    if score.value is None or score.null is None:
        return None
    apart = score.value - score.null.value
    half = score.null.high - score.null.value if apart > 0 else score.null.value - score.null.low
    return apart / half if half > 0 else None


def margin_of(score: Score) -> float | None:
    """How far from the null's middle is still called as real, in the score's unit; None where no margin is stated."""
    measure = measure_of(score.name)
    if score.null is None or measure.margin is None:
        return None
    return measure.margin * abs(score.null.value) if measure.relative else measure.margin


def reach_of(score: Score) -> tuple[float, float] | None:
    """Where the score may lie: its own interval, and at least the spread of real draws around it; None if unknown."""
    value, null, ends = _known(score.value), score.null, []
    if value is None:
        return None
    if (own := _interval(score)) is not None:
        ends += own
    if null is not None and null.draws and null.low < null.high:  # draws that are all alike tell of no spread
        ends += [value + null.low - null.value, value + null.high - null.value]
    return (min(ends), max(ends)) if ends else None


def _beyond(score: Score, side: int, measure: Measure, *, bad: bool) -> bool:
    """Whether value, interval and p all say that the score lies above (side 1) or below (side -1) the null."""
    value, null, own, p = _known(score.value), score.null, _interval(score), _known(score.p)
    if value is None or null is None:
        return False
    edge = null.high if side > 0 else null.low
    both_sides = measure.better == "near" or measure.rule == "two-sided"
    tested = own is not None or null.low < null.high or (p is not None and (bad or both_sides))
    nearest = own[0 if side > 0 else 1] if own is not None else value
    by_p = p is None or (p < LEVEL if bad or both_sides else p >= LEVEL)
    return tested and by_p and side * (value - edge) > 0 and side * (nearest - null.value) > 0


def _within(score: Score) -> bool:
    """Whether all that the score may be lies within the margin, and no test speaks against it."""
    reach, margin, p = reach_of(score), margin_of(score), _known(score.p)
    if reach is None or margin is None or score.null is None or not score.n or (p is not None and p < LEVEL):
        return False
    return score.null.value - margin <= reach[0] and reach[1] <= score.null.value + margin


def _interval(score: Score) -> tuple[float, float] | None:
    low, high = _known(score.low), _known(score.high)
    return None if low is None or high is None else (low, high)


def _known(number: float | None) -> float | None:
    """The number, if it is one: JSON has no others."""
    return number if number is not None and math.isfinite(number) else None
