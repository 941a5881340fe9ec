"""Figures in words: the one way in which shares, intervals, p and counts are written in the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..findings.reads import Finding

NONE = "–"


def percent(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return NONE
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 makes a rounded -0 a 0


def as_share(finding: Finding | None, *, with_n: bool = False) -> str:
    """`62.5 % (45.8 to 77.3 %)`; with n `62.5 % (45.8 to 77.3) [40]`."""
    if finding is None or finding.value is None:
        return NONE
    text = percent(finding.value)
    if finding.low is not None and finding.high is not None:
        sign = "" if with_n else " %"
        text += f" ({100 * finding.low:.1f} to {100 * finding.high:.1f}{sign})"
    return f"{text} [{finding.n}]" if with_n else text


def as_rounded(finding: Finding) -> str:
    """`63 % [40]`."""
    return NONE if finding.value is None else f"{100 * finding.value:.0f}\u00a0% [{finding.n}]"


def as_number(finding: Finding | None, digits: int = 2) -> str:
    """`0.63 (0.46 to 0.77)`."""
    if finding is None or finding.value is None:
        return NONE
    text = number(finding.value, digits)
    if finding.low is not None and finding.high is not None:
        text += f" ({number(finding.low, digits)} to {number(finding.high, digits)})"
    return text


def as_p(p: float | None) -> str:
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def count_of(n: int, one: str, many: str = "") -> str:
    """`1 reader`, `2 readers`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nobody"
