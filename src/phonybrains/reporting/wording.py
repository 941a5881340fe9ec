"""Figures in words: the one way in which shares, p and counts are written in reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..statistics.estimate import format_p
from ..wording import count_of as count_of

NONE = "–"


def percent(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return NONE
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 makes a rounded -0 a 0


def as_p(p: float | None) -> str:
    """`< 0.0001`, `0.012`, `0.50`: two significant digits or more, never 0."""
    return NONE if p is None or math.isnan(p) else format_p(p)


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nobody"
