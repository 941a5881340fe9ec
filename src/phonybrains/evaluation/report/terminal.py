"""What the command ends with: the table, and the four lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...reporting.wording import NONE, as_p, count_of
from ..outcomes import outcome_of
from ..score import Glance, Score
from .names import images_of, named, null_words, with_interval

COLOURS = {"as real": "green", "better": "green", "apart": "yellow", "not shown": "dim"}
COLOURS |= {"yes": "bold green", "no": "bold yellow", "not measured": "dim"}


def print_scores(scores: Sequence[tuple[str, Score]], warnings: Sequence[str]) -> None:
    """Print the scores over whole modalities, then what is odd."""
    console = _console()
    table = Table("part", "score", "images", box=box.SIMPLE, title_justify="left")
    for name in ("value (95 %)", "n", "real against real", "p"):
        table.add_column(name, justify="right")
    table.add_column("")
    shown = [(part, score) for part, score in scores if not score.group]
    last = ""
    for part, score in shown:
        if last and part != last:
            table.add_section()
        said = outcome_of(score)
        tail = f"[{COLOURS[said]}]{said}[/]" if said else ""
        value = with_interval(score.value, score.low, score.high) if score.value is not None else "not available"
        figures = (value, str(score.n or NONE), null_words(score.null), as_p(score.p))
        table.add_row(part if part != last else "", named(score), images_of(score), *figures, tail)
        last = part
    console.print(table)
    for note in dict.fromkeys(score.note for _, score in shown if score.value is None and score.note):
        console.print(f"not available: {note}", markup=False)
    if len(shown) < len(scores):
        console.print(f"{count_of(len(scores) - len(shown), 'score')} by attribute: in scores.csv and the report.")
    for warning in warnings:
        console.print(f"note: {warning}", markup=False)


def print_glances(lines: Sequence[Glance]) -> None:
    """Print the four lines, each as one, however long: question, answer, what it rests on."""
    said = [f"{one.question:<8}  [{COLOURS[one.answer]}]{one.answer:<12}[/]  {escape(one.said)}" for one in lines]
    _console().print("\n".join(said), soft_wrap=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)
