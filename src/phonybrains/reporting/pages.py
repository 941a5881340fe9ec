"""A report's files: the same blocks as a page, as a PDF, and each figure on its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from .blocks import Block, Figure
from .html import render_html
from .pdf import render_pdf


def write_pages(
    folder: Path, title: str, subtitle: str, blocks: Sequence[Block], footer: str, day: date | None = None
) -> None:
    """Write report.html, report.pdf and figures/ into a folder; the day, today if none is given, is on the PDF."""
    (folder / "report.html").write_text(render_html(title, subtitle, blocks, footer), encoding="utf-8")
    day = day or datetime.now(UTC).date()
    (folder / "report.pdf").write_bytes(render_pdf(title, subtitle, blocks, footer, day))
    (folder / "figures").mkdir(exist_ok=True)
    for figure in blocks:
        if isinstance(figure, Figure):
            (folder / "figures" / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
            (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
