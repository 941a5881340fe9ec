"""What a report says as data: CSV that a spreadsheet opens safely, JSON without what is not finite."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def escape_formula(value: object) -> object:
    """Text as a spreadsheet shows it and does not run it; what is not text comes back as it is."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str]) -> None:
    """Write a CSV that no spreadsheet takes for formulas."""
    columns = list(columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([escape_formula(row[column]) for column in columns] for row in rows)


def finite(value: Any) -> Any:
    """Plain data with None in place of numbers that are not finite, which JSON lacks; NumPy's as Python's own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
