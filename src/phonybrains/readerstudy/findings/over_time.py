"""The course of a reading: learning, tiring, and the time each case took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...statistics.logistic import trend
from .reads import Finding, Read, Treatment, answered, as_finding, readers_of, select
from .shares import patients_of

WINDOWS, FEWEST = 6, 3


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one reader's reading: its middle position, the share right, median seconds, and reads."""

    middle: float
    right: float
    seconds: float | None
    n: int


def follow_course(reads: Sequence[Read], reader: str, unclear: Treatment) -> list[Window]:
    """One reader's answers in up to six stretches of equal length, in the order they were given."""
    own, right = answered(sorted(select(reads, reader=reader), key=lambda read: read.answer.position), unclear)
    windows = []
    for part in np.array_split(np.arange(len(own)), max(1, min(WINDOWS, len(own) // FEWEST))) if own else ():
        answers = [own[i].answer for i in part]
        seconds = [answer.seconds for answer in answers if answer.seconds is not None]
        middle = float(np.mean([answer.position for answer in answers]))
        median = float(np.median(seconds)) if seconds else None
        windows.append(Window(middle, float(np.mean([right[i] for i in part])), median, len(part)))
    return windows


def measure_times(reads: Sequence[Read]) -> list[Finding]:
    """The median time per case of each reader; low and high are the quartiles."""
    found = []
    for reader in readers_of(reads):
        seconds = [read.answer.seconds for read in reads if read.reader == reader and read.answer.seconds is not None]
        if seconds:
            low, middle, high = (float(q) for q in np.quantile(seconds, (0.25, 0.5, 0.75)))
            method = "median, quartiles"
            found.append(Finding("seconds per case", middle, len(seconds), method, low, high, reader=reader))
    return found


def measure_trend(reads: Sequence[Read], unclear: Treatment, level: float) -> list[Finding]:
    """The change of the log odds of a right answer over ten presentations: above 0 learning, below 0 tiring."""
    found = []
    method = "logistic regression on the position, Wald over patients"
    for reader in readers_of(reads):
        own, right = answered(select(reads, reader=reader), unclear)
        try:
            slope = trend(right, [read.answer.position for read in own], level, patients_of(own))
            found.append(as_finding("trend", slope.slope_per_10, method, p=slope.p_value, reader=reader))
        except ValueError as reason:
            found.append(Finding("trend", None, len(own), method, reader=reader, note=str(reason)))
    return found
