"""What an evaluation can measure: each score's name, what it is called, what is good of it, what counts as real."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Better = Literal["low", "high", "near"]
Rule = Literal["", "classifier", "two-sided", "chance"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of measures.csv: what the scores of one name measure.

    part: of an evaluation, or "cascade"; "" for any. better: what is good: low, high, or near what real images score.
    margin: half the width of what is called as real around the null's middle, in `unit`, or where it is relative as a
    share of that middle; None (KID, MMD, C_T): no difference is known to be small, and none is ever called as real.
    rule: of a classifier, since whoever cannot tell does not do better by being wrong; two-sided, where p counts both
    sides though one is good; chance, where the null is what a good image is meant to beat, so that nothing is judged.
    """

    name: str
    part: str
    title: str
    meaning: str
    unit: str
    better: Better
    margin: float | None
    relative: bool
    rule: Rule


def measure_of(name: str) -> Measure:
    """The measure of this name. Raises ValueError where there is none."""
    if name not in MEASURES:
        raise ValueError(f"'{name}' is no score: evaluation/measures.csv has the names of all")
    return MEASURES[name]


def _measure(row: Mapping[str, Any]) -> Measure:
    number = row["margin"].removesuffix("%")
    relative = number != row["margin"]
    margin = float(number) / (100 if relative else 1) if number else None
    return Measure(**{**row, "margin": margin, "relative": relative})


with Path(__file__).with_name("measures.csv").open(encoding="utf-8", newline="") as _file:
    MEASURES: Mapping[str, Measure] = {row["name"]: _measure(row) for row in csv.DictReader(_file)}
