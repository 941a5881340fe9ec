"""Answers as a table: one row for each presentation that was answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, TextIO

from ..reporting.tables import write_rows
from .study import Answer

ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))


def answer_row(answer: Answer) -> dict[str, Any]:
    """An answer as cells of a table; marks are `[[x, y], …]`."""
    marks = json.dumps([[mark.x, mark.y] for mark in answer.marks]) if answer.marks else ""
    return asdict(answer) | {"marks": marks}


def write_answer_rows(file: TextIO, answers: Iterable[Answer]) -> None:
    """Write answers as CSV; text that a spreadsheet would take for a formula gets an apostrophe in front."""
    write_rows(file, [ANSWER_COLUMNS, *(answer_row(answer).values() for answer in answers)])
