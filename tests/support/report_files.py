"""What a report's files say, and reports whose figures are painted but not rendered, which takes most of their time."""

from __future__ import annotations

import csv
import re
from html import unescape
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
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


def leave_figures_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint figures as ever, and write blank ones: for what a report says in words."""
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", lambda self, file, **_: file.write(EMPTY))
    monkeypatch.setattr(FigureCanvasAgg, "print_figure", lambda self, file, **_: None)
