"""The last pages that every report has: where its images come from, what others found, what lies beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .blocks import Block, Bullets, Heading, Table
from .origin import chain_of, refusals

FIGURES = "figures/: every figure as SVG and PNG."


def origin_table(record: Mapping[str, Any], what: str) -> list[Block]:
    """The chain of records from `what`, back to its sources, and what a service refused on the way."""
    caption = f"The chain of records from {what} back to its sources; an indented step is an input of the one above."
    columns = ("Step", "name", "SHA-256", "what determined it")
    rows = tuple(chain_of(record))
    return [Table(columns, rows, caption, (1.4, 1.4, 1.2, 4.2), (0, 1, 2, 3)), *refusals(record)]


def published(columns: Sequence[str], rows: Iterable[tuple[str, ...]], widths: Sequence[float]) -> list[Block]:
    """Figures of others to stand beside these."""
    caption = "Designs differ; the figures show orders of magnitude and no ranking."
    table = Table(tuple(columns), tuple(rows), caption, tuple(widths), tuple(range(len(columns))))
    return [Heading("Published figures to compare with"), table]


def files(*own: str) -> list[Block]:
    """What lies beside the report, a sentence each."""
    return [Heading("Files"), Bullets(("report.html and report.pdf: this report.", *own))]
