"""How scores, their images and their figures are written in the report."""

from __future__ import annotations

from ...reporting.wording import NONE, number
from ..measures import measure_of
from ..score import Null, Score


def made_with(score: Score) -> str:
    """The name of the features, without their hash."""
    return score.extractor.partition(" ")[0]


def named(score: Score) -> str:
    """The score's name in words, with its features where they are not handcrafted: `KID, squeezenet1_1`."""
    title, features = measure_of(score.name).title, made_with(score)
    return title if features.startswith("handcrafted") or not features else f"{title}, {features}"


def images_of(score: Score) -> str:
    """Which images a score concerns: `MR, plane = axial`."""
    return ", ".join(part for part in (score.modality or "all", score.group.replace("=", " = ", 1)) if part)


def figure(value: float | None, digits: int | None = None) -> str:
    """A number with two or three digits that count, at most four places: `0.012`, `1.65`, `153`, `−0.20`."""
    if value is None:
        return NONE
    return number(value, _digits(value) if digits is None else digits).replace("-", "−")


def _digits(*values: float) -> int:
    size = max(map(abs, values))
    return next((places for least, places in ((100, 0), (10, 1), (0.1, 2), (0.01, 3)) if size >= least), 4)


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.63 (0.46 to 0.77)`, or the number alone; it breaks only before the bracket."""
    if value is None or low is None or high is None:
        return figure(value)
    digits = _digits(value, low, high)
    shown = [figure(one, digits) for one in (value, low, high)]
    return f"{shown[0]} ({shown[1]}\u00a0to\u00a0{shown[2]})"


def null_words(null: Null | None) -> str:
    """What real against real gives: `0.002 (-0.01 to 0.02)`."""
    if null is None:
        return NONE
    return figure(null.value, 2) if null.low == null.high else with_interval(null.value, null.low, null.high)
