"""The parts a report is made of: plain data, which HTML and PDF render each in their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Heading:
    """Start of a section (level 2) or of a part of one (3)."""

    text: str
    level: Literal[2, 3] = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text; no markup is read from it."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph that stands out: what to keep in mind, what is wrong, or what must not be missed."""

    text: str
    kind: Literal["note", "warning", "banner"] = "note"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a table's cell or a gallery: PNG, and what it shows."""

    png: bytes
    alt: str


Cell = str | Picture


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header; `widths` are shares of the page's width, the first column is text, numbers go right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    widths: tuple[float, ...] = ()
    text_columns: tuple[int, ...] = (0,)


def columns_kept(table: Table, kept: Sequence[int]) -> Table:
    """The table with these of its columns alone."""
    columns = tuple(table.columns[i] for i in kept)
    widths = tuple(table.widths[i] for i in kept if table.widths)
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    texts = tuple(place for place, i in enumerate(kept) if i in table.text_columns)
    return Table(columns, rows, table.caption, widths, texts)


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side, each above its label."""

    name: str
    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]
    caption: str
    columns: int = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, drawn as SVG and as PNG of 200 dpi; `width` and `height` in inches."""

    name: str
    svg: str
    png: bytes
    width: float
    height: float
    caption: str


Block = Heading | Paragraph | Note | Bullets | Table | Gallery | Figure
