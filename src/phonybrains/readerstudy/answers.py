"""Answers as a table: one row for each presentation that was answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from ..reporting.tables import write_rows
from .study import Answer

ANSWER_COLUMNS = (
    "reader",
    "position",
    "kind",
    "case_id",
    "call",
    "confidence",
    "description",
    "marks",
    "seconds",
    "answered_at",
)


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers as CSV; text that a spreadsheet would take for a formula gets an apostrophe in front."""
    with path.open("w", encoding="utf-8", newline="") as file:
        write_answer_rows(file, answers)


def write_answer_rows(file: TextIO, answers: Iterable[Answer]) -> None:
    """`write_answers` into an open file."""
    rows = (
        asdict(answer) | {"marks": json.dumps([[m.x, m.y] for m in answer.marks]) if answer.marks else ""}
        for answer in answers
    )
    write_rows(file, [ANSWER_COLUMNS, *([row[column] for column in ANSWER_COLUMNS] for row in rows)])
