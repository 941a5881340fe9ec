"""Findings in words: the one way in which figures with their intervals are written in the report."""

from __future__ import annotations

from ...reporting.wording import NONE, number, percent
from ..findings.reads import Finding


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
