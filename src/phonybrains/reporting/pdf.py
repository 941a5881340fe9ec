"""Blocks as a PDF on A4, laid out by reportlab; equal blocks give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .blocks import Block, Bullets, Cell, Figure, Gallery, Heading, Note, Paragraph, Picture, Table

CELL_PICTURE = 52  # points
KEPT_ROWS = 4  # a gallery of so many rows stays on one page
MARGIN_MM, SANS, BOLD = 18, "DejaVuSans", "DejaVuSans-Bold"
INK, SOFT, LINE, TINT, BLUE, WARN = "#1a1a1a", "#595959", "#d9d9d9", "#f5f6f8", "#00568a", "#8f3b00"


def render_pdf(title: str, subtitle: str, blocks: Sequence[Block], footer: str) -> bytes:
    """The whole report; texts are escaped, so that what a reader typed stays text."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import BaseDocTemplate, CondPageBreak, Frame, PageTemplate, Spacer
    from reportlab.platypus import Paragraph as Text

    _register_fonts()
    buffer = io.BytesIO()
    width, height = A4[0] - 2 * MARGIN_MM * mm, A4[1] - 2 * MARGIN_MM * mm
    document = BaseDocTemplate(buffer, pagesize=A4, title=title, author="phonybrains", invariant=1, lang="en")

    def foot(canvas, doc) -> None:
        canvas.setFont(SANS, 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(MARGIN_MM * mm, 10 * mm, footer)
        canvas.drawRightString(A4[0] - MARGIN_MM * mm, 10 * mm, str(doc.page))

    frame = Frame(MARGIN_MM * mm, MARGIN_MM * mm, width, height, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate("page", [frame], onPage=foot)])
    styles = _styles()
    story = [Text(escape(title), styles["title"]), Text(escape(subtitle), styles["soft"]), Spacer(1, 4 * mm)]
    for i, block in enumerate(blocks):
        if isinstance(block, Heading):
            story.append(CondPageBreak(min(30 + _needed(blocks[i + 1 :], width, height), height)))
        story += _flow(block, width, height, styles)
    document.build(story)
    return buffer.getvalue()


@cache
def _register_fonts() -> None:
    """DejaVu Sans, which comes with matplotlib: it has the Greek letters and signs that PDF's own fonts lack."""
    import matplotlib
    from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (SANS, BOLD):
        registerFont(TTFont(name, folder / f"{name}.ttf"))
    registerFontFamily(SANS, normal=SANS, bold=BOLD, italic=SANS, boldItalic=BOLD)


def _styles() -> dict[str, Any]:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.enums import TA_CENTER, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle

    text: Any = ParagraphStyle(
        "text", None, fontName=SANS, fontSize=8.5, leading=12.5, textColor=HexColor(INK), spaceAfter=4
    )

    def like(name: str, **other) -> ParagraphStyle:
        return ParagraphStyle(name, parent=text, **other)

    boxed = {"backColor": TINT, "borderPadding": (4, 6, 4, 6), "leftIndent": 6, "rightIndent": 6,
             "spaceBefore": 8, "spaceAfter": 10}  # fmt: skip
    return {
        "title": like("title", fontName=BOLD, fontSize=18, leading=22),
        "h2": like("h2", fontName=BOLD, fontSize=13, leading=16, spaceBefore=16, spaceAfter=5),
        "h3": like("h3", fontName=BOLD, fontSize=10, leading=13, spaceBefore=9, spaceAfter=3),
        "text": text,
        "soft": like("soft", fontSize=7.5, leading=10.5, textColor=SOFT),
        "caption": like("caption", fontSize=7.5, leading=10.5, textColor=SOFT, spaceBefore=4),
        "note": like("note", **boxed, borderColor=BLUE, borderWidth=0.8),
        "warning": like("warning", **boxed, borderColor=WARN, borderWidth=0.8),
        "banner": like("banner", fontName=BOLD, fontSize=15, leading=19, textColor=WARN, alignment=TA_CENTER,
                       borderColor=WARN, borderWidth=2, borderPadding=8, spaceBefore=10, spaceAfter=14),
        "cell": like("cell", fontSize=7, leading=9, spaceAfter=0),
        "number": like("number", fontSize=7, leading=9, spaceAfter=0, alignment=TA_RIGHT),
        "head": like("head", fontName=BOLD, fontSize=7, leading=9, spaceAfter=0),
        "headnumber": like("headnumber", fontName=BOLD, fontSize=7, leading=9, spaceAfter=0, alignment=TA_RIGHT),
        "label": like("label", fontSize=5.5, leading=7, spaceAfter=0),
    }  # fmt: skip


def _needed(blocks: Sequence[Block], width: float, height: float) -> float:
    """How much room what follows a heading takes at least, in points, so that no heading stands alone."""
    match blocks[0] if blocks else None:
        case Figure() as figure:
            return _size(figure, width, height)[1] + 30
        case Gallery() as gallery:
            rows = -(-len(gallery.pictures) // gallery.columns)
            return width / gallery.columns * (rows if rows <= KEPT_ROWS else 2) * 1.06 + 50
        case Paragraph() | Note() | Heading():
            return 45 + _needed(blocks[1:], width, height)
        case Table():
            return 110
    return 40


def _size(figure: Figure, width: float, height: float) -> tuple[float, float]:
    shown = min(width, figure.width * 72, (height - 60) * figure.width / figure.height)
    return shown, shown * figure.height / figure.width


def _flow(block: Block, width: float, height: float, styles) -> list:
    from reportlab.platypus import CondPageBreak, KeepTogether, Spacer
    from reportlab.platypus import Paragraph as Text

    match block:
        case Heading():
            return [Text(escape(block.text), styles[f"h{block.level}"])]
        case Paragraph():
            return [Text(escape(block.text), styles["text"])]
        case Note():
            return [Text(escape(block.text), styles[block.kind])]
        case Bullets():
            return [Text(escape(item), styles["text"], bulletText="•") for item in block.items]
        case Table():
            caption = [Text(escape(block.caption), styles["caption"])] if block.caption else []
            return [
                CondPageBreak(50 + 14 * min(len(block.rows), 8)),
                *caption,
                _table(block, width, styles),
                Spacer(1, 8),
            ]
        case Gallery():
            parts = [_gallery(block, width, styles), Text(escape(block.caption), styles["soft"]), Spacer(1, 6)]
            return [KeepTogether(parts)] if len(block.pictures) <= KEPT_ROWS * block.columns else parts
        case Figure():
            picture = _image(block.png, *_size(block, width, height))
            return [KeepTogether([picture, Text(escape(block.caption), styles["soft"]), Spacer(1, 6)])]


def _image(png: bytes, width: float, height: float):
    from reportlab.platypus import Image

    return Image(io.BytesIO(png), width, height)


def _table(table: Table, width: float, styles):
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Table as Grid

    count = len(table.columns)
    shares = table.widths or tuple(1.6 if i in table.text_columns else 1.0 for i in range(count))
    widths = [width * share / sum(shares) for share in shares]

    def cell(i: int, value: Cell, head: bool = False):
        if isinstance(value, Picture):
            return _image(value.png, *[min(widths[i] - 6, CELL_PICTURE)] * 2)
        style = ("head" if head else "cell") if i in table.text_columns else ("headnumber" if head else "number")
        return Text(escape(value).replace("\n", "<br/>"), styles[style])

    rows = [[cell(i, value, True) for i, value in enumerate(table.columns)]]
    rows += [[cell(i, value) for i, value in enumerate(row)] for row in table.rows]
    return Grid(rows, widths, repeatRows=1, style=[
        ("LINEBELOW", (0, 0), (-1, 0), 1, INK), ("LINEBELOW", (0, 1), (-1, -1), 0.4, LINE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5), ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ])  # fmt: skip


def _gallery(gallery: Gallery, width: float, styles):
    from reportlab.platypus import Paragraph as Text
    from reportlab.platypus import Table as Grid

    side = width / gallery.columns
    cells = [
        [_image(picture.png, side - 4, side - 4), Text(escape(label), styles["label"])]
        for picture, label in zip(gallery.pictures, gallery.labels, strict=True)
    ]
    cells += [[]] * (-len(cells) % gallery.columns)
    rows = [cells[i : i + gallery.columns] for i in range(0, len(cells), gallery.columns)]
    return Grid(rows, [side] * gallery.columns, style=[
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2), ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ])  # fmt: skip
