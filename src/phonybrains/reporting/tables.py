"""What a report says as data: CSV that a spreadsheet opens safely, JSON without what is not finite."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
UNSEEN = " \u00a0\u200b\u200c\u200d\u2060\ufeff"


def escape_formula(value: object) -> object:
    """Text as a spreadsheet shows it and does not run it; what is not text comes back as it is."""
    if isinstance(value, str) and value.lstrip(UNSEEN).startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


def write_rows(file: TextIO, rows: Iterable[Iterable[object]]) -> None:
    """Write rows of a CSV that no spreadsheet takes for formulas, each of which stays one row.

    A row with a line break of any kind in a cell (CR, LF, U+2028 and their kin) is quoted whole; a NUL, at which
    spreadsheets stop, becomes U+FFFD.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        cells = [escape_formula(value) for value in row]
        cells = [cell.replace("\0", "\ufffd") if isinstance(cell, str) else cell for cell in cells]
        breaks = any(isinstance(cell, str) and cell.splitlines() not in ([], [cell]) for cell in cells)
        (quoted if breaks else plain).writerow(cells)


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str]) -> None:
    """Write a CSV that no spreadsheet takes for formulas."""
    columns = list(columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, [columns, *([row[column] for column in columns] for row in rows)])


def finite(value: Any) -> Any:
    """Plain data with None in place of numbers that are not finite, which JSON lacks; NumPy's as Python's own."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
