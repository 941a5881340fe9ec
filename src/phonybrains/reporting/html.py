"""Blocks as one HTML file that needs nothing beside it: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

from .blocks import Block, Bullets, Cell, Figure, Gallery, Heading, Note, Paragraph, Picture, Table

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #595959; --line: #d9d9d9; --tint: #f5f6f8; --blue: #00568a;
  --warn: #8f3b00; --ground: #fff; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ink: #e8e8e8; --soft: #b3b3b3; --line: #444; --tint: #23272e; --blue: #7cc4f5;
    --warn: #ffb07a; --ground: #14171b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 60rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.55 "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .8rem; padding-top: .9rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .5rem; }
p, li { margin: .6rem 0; max-width: 46rem; overflow-wrap: anywhere; }
nav li { margin: 0; }
.subtitle { color: var(--soft); margin: 0 0 1rem; max-width: none; }
nav { background: var(--tint); padding: .8rem 1.2rem; margin: 1.2rem 0; border-radius: 4px; }
nav ol { columns: 3 13rem; column-gap: 1.6rem; margin: 0; padding-left: 1.4rem; font-size: .9rem; }
a { color: var(--blue); }
a:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
.note, .warning { border-left: 4px solid var(--blue); background: var(--tint); padding: .6rem 1rem; max-width: 48rem; }
.warning { border-color: var(--warn); }
.banner { border: 3px solid var(--warn); color: var(--warn); font-size: 1.5rem; font-weight: 700; text-align: center;
  padding: .8rem; max-width: none; letter-spacing: .02em; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; line-height: 1.4; }
caption { text-align: left; padding: 0 0 .4rem; color: var(--soft); font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
td.text { overflow-wrap: anywhere; }
th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
.text { text-align: left; }
td img { width: 6rem; height: auto; display: block; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; display: block; background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .4rem; max-width: 48rem; }
.gallery { display: grid; gap: .5rem; }
.gallery div { font-size: .75rem; line-height: 1.25; overflow-wrap: anywhere; }
.gallery img { width: 100%; height: auto; display: block; background: #000; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem; }
  .gallery { grid-template-columns: repeat(2, 1fr) !important; }
  table { width: max-content; min-width: 100%; }
  col { width: auto !important; }
  th, td, td.text { overflow-wrap: break-word; max-width: 14rem; }
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--ground); max-width: 9rem; }
  caption { max-width: calc(100vw - 2rem); }
  figure > div { overflow-x: auto; }
  figure svg { min-width: calc(.62 * var(--own)); }
}
@media print {
  @page { size: A4; margin: 16mm 15mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .35rem; }
  h2, h3, caption { break-after: avoid; }
  tr, .note, .warning, .banner, .gallery div { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
}
""".strip()


def render_html(title: str, subtitle: str, blocks: Sequence[Block], footer: str) -> str:
    """The whole page; every text is escaped, so that what a reader typed stays text."""
    headings = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    items = "".join(f'<li><a href="#{anchor(text)}">{escape(text)}</a></li>' for text in headings)
    body = "\n".join(_render(block) for block in blocks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>
{STYLE}
</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
</header>
<nav aria-label="Contents"><ol>{items}</ol></nav>
<main>
{body}
</main>
<footer>{escape(footer)}</footer>
</body>
</html>
"""


def anchor(text: str) -> str:
    """A heading's text as the name of its place."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _render(block: Block) -> str:
    match block:
        case Heading():
            return f'<h{block.level} id="{anchor(block.text)}">{escape(block.text)}</h{block.level}>'
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Note():
            return f'<p class="{block.kind}">{escape(block.text)}</p>'
        case Bullets():
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
        case Table():
            return _table(block)
        case Gallery():
            return _gallery(block)
        case Figure():
            svg = block.svg[block.svg.index("<svg") :]
            svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(block.caption)}"', 1)
            width = f"--own: {1.3 * block.width:.2f}in; max-width: var(--own)"
            return f'<figure><div style="{width}">{svg}</div><figcaption>{escape(block.caption)}</figcaption></figure>'


def _table(table: Table) -> str:
    def cells(tag: str, row: Sequence[Cell]) -> str:
        kinds = ["text" if i in table.text_columns else "" for i in range(len(row))]
        extra = ' scope="col"' if tag == "th" else ""
        opened = [f"<{tag}{extra}" + (f' class="{kind}">' if kind else ">") for kind in kinds]
        return "".join(f"{start}{_cell(cell)}</{tag}>" for start, cell in zip(opened, row, strict=True))

    total = sum(table.widths) or 1
    columns = "".join(f'<col style="width: {100 * width / total:.1f}%">' for width in table.widths)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    head = f"<thead><tr>{cells('th', table.columns)}</tr></thead>"
    return (
        f'<div class="scroll"><table>{caption}<colgroup>{columns}</colgroup>{head}<tbody>{rows}</tbody></table></div>'
    )


def _cell(cell: Cell) -> str:
    return data_image(cell) if isinstance(cell, Picture) else escape(cell).replace("\n", "<br>")


def data_image(picture: Picture) -> str:
    """A picture as an element that holds it."""
    data = base64.b64encode(picture.png).decode()
    return f'<img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">'


def _gallery(gallery: Gallery) -> str:
    shown = "".join(
        f"<div>{data_image(picture)}{escape(label)}</div>"
        for picture, label in zip(gallery.pictures, gallery.labels, strict=True)
    )
    grid = f'<div class="gallery" style="grid-template-columns: repeat({gallery.columns}, 1fr)">{shown}</div>'
    return f"<figure>{grid}<figcaption>{escape(gallery.caption)}</figcaption></figure>"
