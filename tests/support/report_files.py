"""What a report's files say, and reports whose figures are painted but not rendered, which takes most of their time."""

from __future__ import annotations

import csv
import re
from html import unescape
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from pypdf import PdfReader

EMPTY = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def html_of(report: Path) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


def pdf_of(report: Path) -> str:
    """The text of the PDF, its blanks and lines as single blanks."""
    pages = PdfReader(report / "report.pdf").pages
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_sections(report: Path, sections: tuple[str, ...]) -> None:
    """Assert that the page has these sections alone, in their order, and the PDF all of them."""
    assert tuple(map(unescape, re.findall(r"<h2 [^>]*>(.*?)</h2>", html_of(report)))) == sections
    pdf = pdf_of(report)
    assert [section for section in sections if section not in pdf] == []


def check_nothing_from_elsewhere(report: Path) -> None:
    """Assert that the page has no script, no link to another host, and no picture but in itself."""
    html = html_of(report)
    assert "<script" not in html
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert all(link.startswith("#") for link in re.findall(r'<a href="([^"]*)"', html))


def keep_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The drawings of all figures that are drawn from now on; they are not rendered, which takes most of their time."""
    drawn: list[Figure] = []
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda self, file, **_: file.write(EMPTY))
    monkeypatch.setattr(FigureCanvasAgg, "print_figure", lambda self, file, **_: drawn.append(self.figure))
    return drawn


def illegible(drawing: Figure) -> list[str]:
    """What of a drawing cannot be read at its size: letters under 8 pt, what its edge cuts, legends over data."""
    drawing.canvas.draw()
    shown = drawing.get_tightbbox()
    title = " ".join(axes.get_title() or axes.get_title("left") for axes in drawing.axes)
    texts = [text for text in drawing.findobj(Text) if text.get_visible() and text.get_text().strip()]
    faults = [
        f"{title}: '{text.get_text()}' has {text.get_fontsize()} pt" for text in texts if float(text.get_fontsize()) < 8
    ]
    width, height = drawing.get_size_inches()
    if min(shown.x0, shown.y0, width - shown.x1, height - shown.y1) < -0.02:
        faults.append(f"{title}: cut at its edge, {shown}")
    legends = [legend.get_window_extent() for axes in drawing.axes if (legend := axes.get_legend())]
    boxes = [axes.get_window_extent() for axes in drawing.axes]
    over = any(legend.shrunk(0.9, 0.9).overlaps(box) for legend in legends for box in boxes)
    return faults + [f"{title}: a legend over data"] * over


def leave_figures_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint figures as ever, and write blank ones: for what a report says in words."""
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda self, file, **_: file.write(EMPTY))
    monkeypatch.setattr(FigureCanvasAgg, "print_figure", lambda self, file, **_: None)
