"""Blocks as a tagged PDF on A4 (PDF/UA-1), set by Typst; equal blocks of one day give equal bytes."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .blocks import Block, Bullets, Cell, Figure, Gallery, Heading, Note, Paragraph, Picture, Table, columns_kept
from .wording import NONE, count_of

if TYPE_CHECKING:
    from typst import Fonts

TEMPLATE = Path(__file__).with_name("report.typ")
FEW = 5
KEPT_ROWS = 4  # a gallery of so many rows stays on one page
FIRST_FONTS = ("Noto Sans", "DejaVu Sans", "Noto Sans CJK SC")
"""Then every other family of the packages: DejaVu has Arabic and Hebrew letters that are found again when copied."""
UNSHOWN = ("Cc", "Cs", "Co", "Cn")
MISSING = re.compile(r"[\s–()\[\],/]*(?:–\s*to\s*–[\s–()\[\],/]*)?")
BETWEEN_NAMES = re.compile(r"(?<=[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])[,;:()/]+")


def render_pdf(title: str, subtitle: str, blocks: Sequence[Block], footer: str, day: date) -> bytes:
    """The whole report: structure, language, title and alternative texts for those who hear it; fonts are embedded.

    Texts are data and not markup, so that what a reader typed stays text. Letters that no font of the packages has are
    taken from the system's; where none has them, the file is tagged but does not claim PDF/UA.
    """
    import typst

    with TemporaryDirectory() as folder:
        root = Path(folder)
        entry = _Files(root).entry
        report = {
            "title": printable(title) or "Report",
            "subtitle": printable(subtitle),
            "footer": printable(footer),
            "day": day.isoformat(),
            "date": {"year": day.year, "month": day.month, "day": day.day},
            "fonts": families(),
            "blocks": list(_levelled(map(entry, blocks))),
        }
        (root / "report.json").write_text(json.dumps(report), encoding="utf-8")
        (root / TEMPLATE.name).write_bytes(TEMPLATE.read_bytes())
        compiler = typst.Compiler(root / TEMPLATE.name, root, fonts())
        made = datetime(day.year, day.month, day.day, tzinfo=UTC)
        try:
            pdf = compiler.compile(format="pdf", pdf_standards="ua-1", timestamp=made)
        except typst.TypstError:
            pdf = compiler.compile(format="pdf", timestamp=made)
    assert isinstance(pdf, bytes)
    return pdf


def _noto() -> list[Any]:
    return [str(files(name)) for name in ("manimgx_fonts", "manimgx_fonts_cjk")]


@cache
def fonts() -> Fonts:
    """The fonts of the packages (Noto and Noto CJK, OFL; DejaVu), and behind them the system's."""
    import typst

    return typst.Fonts(True, False, [*_noto(), str(files("matplotlib") / "mpl-data" / "fonts" / "ttf")])


@cache
def families() -> list[str]:
    """Names of the packages' font families, in the order in which a letter is looked for."""
    import typst

    noto = typst.Fonts(False, False, _noto()).families()
    return [*FIRST_FONTS, *(name for name in noto if name not in FIRST_FONTS)]


def printable(text: str) -> str:
    """Text as it is to be set: signs that no font can show (controls, private or unassigned codes) are replaced.

    Marks between names that run from right to left keep these names in their order.  [Unicode TR 9, sec. 2.6]
    """
    shown = ("\ufffd" if unicodedata.category(c) in UNSHOWN and c not in "\n\t" else c for c in text)
    return BETWEEN_NAMES.sub("\u200e\\g<0>\u200e", "".join(shown))


def filled(table: Table) -> Table:
    """The table without rows and columns that hold no value, which the caption then tells; labels stand first.

    So few empty rows as FEW are left: that there is nothing is then what they say.
    """
    count = len(table.columns)
    labels = max(1, next((i for i in range(count) if i not in table.text_columns), 1))
    rows = [row for row in table.rows if count <= labels or any(map(_said, row[labels:]))]
    if len(table.rows) - len(rows) <= FEW:
        rows = list(table.rows)
    kept = [i for i in range(count) if i < labels or len(rows) <= FEW or any(_said(row[i]) for row in rows)]
    gone = [table.columns[i] for i in range(count) if i not in kept]
    notes = [table.caption]
    if len(rows) < len(table.rows):
        notes.append(f"Without a value, and left out: {count_of(len(table.rows) - len(rows), 'row')}.")
    if gone:
        notes.append(f"Empty in every row, and left out: {', '.join(gone)}.")
    return columns_kept(replace(table, rows=tuple(rows), caption=" ".join(filter(None, notes))), kept)


def _said(cell: Cell) -> bool:
    """Whether a cell holds more than dashes for what is missing: `–`, `– (– to –)`."""
    return isinstance(cell, Picture) or not MISSING.fullmatch(cell)


class _Files:
    """Blocks as what report.typ reads; their pictures are written into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def entry(self, block: Block) -> dict[str, Any]:
        match block:
            case Heading():
                return {"kind": "heading", "level": block.level, "text": printable(block.text).strip() or NONE}
            case Paragraph():
                return {"kind": "paragraph", "text": printable(block.text)}
            case Note():
                return {"kind": block.kind, "text": printable(block.text)}
            case Bullets():
                return {"kind": "bullets", "items": [printable(item) for item in block.items]}
            case Table():
                return self._table(filled(block))
            case Gallery():
                return self._gallery(block)
            case Figure():
                return {
                    "kind": "figure",
                    "file": self._write(block.svg.encode(), "svg"),
                    "width": block.width,
                    "caption": printable(block.caption),
                }

    def _table(self, table: Table) -> dict[str, Any]:
        usual = [1.6 if i in table.text_columns else 1.0 for i in range(len(table.columns))]
        return {
            "kind": "table",
            "columns": [printable(name) for name in table.columns],
            "rows": [[self._cell(cell) for cell in row] for row in table.rows],
            "caption": printable(table.caption),
            "widths": list(table.widths or usual),
            "text_columns": list(table.text_columns),
        }

    def _gallery(self, gallery: Gallery) -> dict[str, Any]:
        pairs = zip(gallery.pictures, gallery.labels, strict=True)
        pictures = [self._picture(picture) | {"label": printable(label)} for picture, label in pairs]
        return {
            "kind": "gallery",
            "columns": gallery.columns,
            "caption": printable(gallery.caption),
            "breakable": len(pictures) > KEPT_ROWS * gallery.columns,
            "pictures": pictures,
        }

    def _cell(self, cell: Cell) -> Any:
        return self._picture(cell) if isinstance(cell, Picture) else printable(cell)

    def _picture(self, picture: Picture) -> dict[str, Any]:
        return {"file": self._write(picture.png, "png"), "alt": printable(picture.alt) or "picture"}

    def _write(self, content: bytes, ending: str) -> str:
        self.count += 1
        name = f"{self.count}.{ending}"
        (self.folder / name).write_bytes(content)
        return name


def _levelled(entries: Any) -> Any:
    """Entries whose headings never skip a level, as those who hear a page need it."""
    last = 1
    for entry in entries:
        if entry["kind"] == "heading":
            last = min(entry["level"], last + 1)
            entry["level"] = last
        yield entry
