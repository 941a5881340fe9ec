"""`phonybrains show`: an image set as a contact sheet, or one image and its record; in a terminal, a file or a page."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ConfigError, StudyError
from ..generating.sheet import draw_sheet, label_of
from ..imageset import COLUMNS, ImageSet, Row
from ..marks import EDITED, SyntheticMark, mark_in
from ..networks.conditions import as_spelt, labels_of, near
from ..replacing import write_named
from ..reporting.html import STYLE, data_image
from ..reporting.pictures import picture
from ..reporting.terminal import kitty, protocol_of_terminal, sixel
from ..wording import count_of

GRID = (10, 6)
MOST_ON_PAGE = 2000
HASHES = ("sha256", "mask_sha256")
PAGE_STYLE = """
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .6rem; }
main a { font-size: .75rem; line-height: 1.3; color: inherit; text-decoration: none; overflow-wrap: anywhere; }
main img { width: 100%; display: block; background: #000; }
section { display: none; position: fixed; inset: 0; overflow: auto; background: var(--ground); }
section { padding: 1.5rem; z-index: 1; }
section:target { display: block; }
section img { width: min(100%, 40rem); image-rendering: pixelated; background: #000; }
section table { max-width: 40rem; }
body { max-width: none; }
"""


def show_set(
    folder: str | Path,
    *,
    where: Mapping[str, str] | None = None,
    grid: tuple[int, int] = GRID,
    image: str | None = None,
    out: str | Path | None = None,
    browser: bool = False,
) -> list[str]:
    """Show a set, or one image of it, and return what there is to say of it, line by line.

    where: columns and values of the images that are shown; grid: columns and rows, of images evenly spread over these;
    image: a file name of the set or its number, to see alone with its record; out: a picture, or with `browser` a page
    (.html) that holds every image, large with its record when it is clicked.

    In a terminal that takes pictures nothing is written unless `out` is given; elsewhere NAME-sheet.png appears in the
    current folder. What is there stays. Raises ConfigError for what the set does not have, StudyError for a study.
    """
    folder = Path(folder)
    _refuse_study(folder)
    images = ImageSet.open(folder)
    number = None if image is None else _number_of(images, image)
    shown = chosen(images, where or {})
    alone = None if number is None else replace(images, rows=(images.rows[number],))
    kind = f"image-{number}" if alone else "sheet"
    lines = [images.summary] if alone is None else _record_of(images, alone.rows[0])
    if browser:
        page = _page(folder.resolve().name, alone or shown, images)
        lines.append(str(_written(Path(out) if out else None, f"{folder.resolve().name}-{kind}.html", page.encode())))
        return lines
    spread = alone or _spread(shown, grid[0] * grid[1])
    lines += [] if alone else [f"{len(spread)} of {count_of(len(shown), 'image')}"]
    protocol = "" if out else protocol_of_terminal()
    suffix = Path(out).suffix.lower() if out else ".png"
    content = _drawn(spread, grid[0], alone is not None, suffix)
    if not protocol:
        return [*lines, str(_written(Path(out) if out else None, f"{folder.resolve().name}-{kind}.png", content))]
    sys.stdout.flush()
    with Image.open(io.BytesIO(content)) as sheet:
        sys.stdout.buffer.write(kitty(content) if protocol == "kitty" else sixel(sheet))
    return lines


def _refuse_study(folder: Path) -> None:
    """Raise StudyError for a study, or what lies in one: its pictures beside what they are would unblind it."""
    for place in (folder.resolve(), *folder.resolve().parents[:2]):
        if (place / "protocol.json").is_file() and (place / "cases.csv").is_file():
            what = "belongs to a study, which is blinded"
            raise StudyError(f"{folder} {what}: 'phonybrains study serve' shows its cases.")


def chosen(images: ImageSet, where: Mapping[str, str]) -> ImageSet:
    """The images that show all of this, in upper or lower case. Raises ConfigError, naming what there is."""
    rows = list(images.rows)
    for given, value in where.items():
        columns = [name for name in COLUMNS if name not in HASHES]
        columns += dict.fromkeys(name for row in images.rows for name in row.attributes)
        if (name := as_spelt(given, columns)) not in columns:
            raise ConfigError(f"--where {given}: the set has no such column.{near(given, columns)}")
        known = dict.fromkeys(label for row in images.rows for label in _labels(row, name))
        wanted = {as_spelt(label, known) for label in labels_of(value)}
        if unknown := sorted(wanted - known.keys()):
            raise ConfigError(f"--where {name}={value}: no image has {unknown[0]}.{near(unknown[0], list(known)[:40])}")
        rows = [row for row in rows if wanted <= {*_labels(row, name)}]
    if not rows:
        raise ConfigError(f"no image of {images.folder} shows all of that together. Ask for less.")
    return replace(images, rows=tuple(rows))


def _labels(row: Row, name: str) -> list[str]:
    value = row[name]
    return [] if value in (None, "") else labels_of(str(value).lower() if isinstance(value, bool) else value)


def _number_of(images: ImageSet, image: str) -> int:
    names = [row.file_name for row in images.rows]
    places = [i for i, name in enumerate(names) if image in (name, Path(name).name, Path(name).stem)]
    if not places and re.fullmatch(r"\d{1,9}", image):
        places = [int(image)] if int(image) < len(names) else []
    if len(places) != 1:
        raise ConfigError(
            f"--image {image}: it takes a number from 0 to {len(names) - 1}, or a file name such as {names[0]}."
        )
    return places[0]


def _spread(images: ImageSet, most: int) -> ImageSet:
    """At most so many of them, evenly spread."""
    places = np.unique(np.linspace(0, len(images) - 1, min(most, len(images))).astype(int))
    return replace(images, rows=tuple(images.rows[i] for i in places))


def _drawn(images: ImageSet, columns: int, alone: bool, suffix: str) -> bytes:
    """The picture of a sheet, or of one image as it is, which says what it is where it is not of real images alone."""
    if alone and suffix == ".png":
        return (images.folder / images.rows[0].file_name).read_bytes()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"sheet{suffix}"
        return draw_sheet(images, path, _mark_of(images), columns).read_bytes()


def _mark_of(images: ImageSet) -> SyntheticMark | None:
    synthetic = [row for row in images.rows if row.synthetic]
    if not synthetic:
        return None
    found = mark_in((images.folder / synthetic[0].file_name).read_bytes()) or SyntheticMark()
    return SyntheticMark(found.source_type if len(synthetic) == len(images) else EDITED)


def _record_of(images: ImageSet, row: Row) -> list[str]:
    """An image's row, a line each, and where its set comes from."""
    values = {name: row[name] for name in (*COLUMNS, *row.attributes)}
    lines = [f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}" for name, value in values.items()]
    empty = [f"{name}: {value}" for name, value in values.items() if value in ("", None)]
    record = images.record
    made_from = ", ".join(f"{one.get('name')} ({str(one.get('sha256'))[:12]})" for one in record.get("inputs") or ())
    said = [f"made by: {record['stage']}, {record.get('created', 'date not known')}"] if record.get("stage") else []
    said += [f"made from: {made_from}"] if made_from else []
    return [line for line in lines if line not in empty] + said


def _written(path: Path | None, name: str, content: bytes) -> Path:
    """Where a file was written: under its own name, or the first free one in the current folder."""
    if path is None:
        stem, suffix = Path(name).stem, Path(name).suffix
        path = next(p for p in _names(stem, suffix) if not p.exists() or p.read_bytes() == content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_named(path, content)
    return path


def _names(stem: str, suffix: str) -> Iterator[Path]:
    number = 1
    while True:
        yield Path(f"{stem}-{number}{suffix}" if number > 1 else f"{stem}{suffix}")
        number += 1


def _page(name: str, shown: ImageSet, images: ImageSet) -> str:
    """A page that needs nothing beside it, without scripts: a click on an image leads to it, large, and its record."""
    if len(shown) > MOST_ON_PAGE:
        raise ConfigError(f"a page holds up to {MOST_ON_PAGE} images, not {len(shown)}. Choose some with --where.")
    links, parts = list[str](), list[str]()
    for i, row in enumerate(shown.rows):
        label, pixels = label_of(row), shown.pixels(i)
        grey = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
        source = data_image(picture(grey, label, max(grey.shape)))
        links.append(f'<a href="#image-{i}">{data_image(picture(grey, label))}{escape(label)}</a>')
        parts.append(
            f'<section id="image-{i}"><p><a href="#">back</a></p>{source}{_table(_record_of(images, row))}</section>'
        )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(name)}</title><style>{STYLE}{PAGE_STYLE}</style></head><body><h1>{escape(name)}</h1>"
        f'<p class="subtitle">{escape(images.summary)}</p><main>{"".join(links)}</main>{"".join(parts)}</body></html>\n'
    )


def _table(lines: Sequence[str]) -> str:
    rows = (line.partition(": ") for line in lines)
    cells = (
        f'<tr><td class="text">{escape(key)}</td><td class="text">{escape(value)}</td></tr>' for key, _, value in rows
    )
    return f"<table>{''.join(cells)}</table>"
