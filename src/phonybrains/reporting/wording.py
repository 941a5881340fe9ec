"""Figures in words: the one way in which shares, p and counts are written in reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"


def percent(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return NONE
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 makes a rounded -0 a 0


def as_p(p: float | None) -> str:
    """`< 0.001`, `0.0123`, `0.500`, `1.00`: three significant digits, and never 0."""
    return NONE if p is None or math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:#.3g}"


def p_words(p: float) -> str:
    """`p < 0.001`, `p = 0.0123`."""
    return f"p {as_p(p)}" if p < 0.001 else f"p = {as_p(p)}"


def count_of(n: int, one: str, many: str = "") -> str:
    """`1 reader`, `2 readers`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nobody"
