"""The course of a reading: learning, tiring, and the time each case took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...statistics.logistic import trend
from .reads import Finding, Read, Treatment, as_finding, readers_of, select
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
    own = [(read, right) for read in select(reads, reader=reader) if (right := read.correct(unclear)) is not None]
    own.sort(key=lambda pair: pair[0].answer.position)
    windows = []
    for part in np.array_split(np.arange(len(own)), max(1, min(WINDOWS, len(own) // FEWEST))):
        chosen = [own[i] for i in part]
        if chosen:
            positions = [read.answer.position for read, _ in chosen]
            seconds = [read.answer.seconds for read, _ in chosen if read.answer.seconds is not None]
            right = float(np.mean([right for _, right in chosen]))
            median = float(np.median(seconds)) if seconds else None
            windows.append(Window(float(np.mean(positions)), right, median, len(chosen)))
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
        own = [read for read in reads if read.reader == reader and read.correct(unclear) is not None]
        right, position = [bool(read.correct(unclear)) for read in own], [read.answer.position for read in own]
        try:
            slope = trend(right, position, level, patients_of(own))
        except ValueError as reason:
            found.append(Finding("trend", None, len(own), method, reader=reader, note=str(reason)))
        else:
            found.append(as_finding("trend", slope.slope_per_10, method, p=slope.p_value, reader=reader))
    return found
