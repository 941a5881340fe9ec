"""Contact sheets and film strips: many images on one picture, to look at."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..files import write_whole
from ..marks import OF_A_MODEL, SyntheticMark, marked
from ..replacing import write_named

GAP, LABEL_HEIGHT, PAPER, INK = 4, 14, 255, 0
OUTLINE, XMP_TAG = (255, 176, 0), 700
COLUMNS, SIDE, LINES = 10, 128, 3
BLANK = "  "
"""Between two words of a label: the font's own blank all but vanishes."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
HIGHEST = {".png": 500_000, ".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".tif": 500_000, ".tiff": 500_000}
"""Pixels that a picture of each kind can be high: by its format, or so that it fits into memory (0.7 GB)."""
SHEET_SUFFIXES = tuple(HIGHEST)


def most_images(path: Path) -> int:
    """How many labelled images a contact sheet in this file can hold."""
    return (HIGHEST[path.suffix.lower()] - GAP) // (SIDE + GAP + LABEL_HEIGHT) * COLUMNS


def contact_sheet(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    path: Path,
    columns: int = COLUMNS,
    side: int = SIDE,
    labels: Sequence[str] = (),
    masks: Sequence[NDArray[np.bool_] | None] = (),
    mark: SyntheticMark | None = OF_A_MODEL,
    named: bool = False,
) -> Path:
    """Draw images, each (H, W) uint8 or uint16, in rows of `columns`, `side` pixels wide, with labels if given.

    masks: one (H, W) or None for each image, whose outline is drawn over it in colour; mark: what the sheet says of
    itself, in any format that is written; named: a person named the file, so that another that is there stays, with an
    OutputError.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    most = (HIGHEST[path.suffix.lower()] - GAP) // rows - side - GAP
    font = ImageFont.load_default(size=10)
    texts = [_fitted(label, side - GAP, max(1, min(LINES, most // LABEL_HEIGHT)), font) for label in labels]
    cell = side + GAP, side + GAP + LABEL_HEIGHT * max(map(len, texts), default=0)
    sheet = Image.new("L", (columns * cell[0] + GAP, rows * cell[1] + GAP), PAPER)
    sheet = sheet.convert("RGB") if masks else sheet
    pen = ImageDraw.Draw(sheet)
    for i, pixels in enumerate(images):
        x, y = GAP + i % columns * cell[0], GAP + i // columns * cell[1]
        sheet.paste(_thumbnail(pixels, side), (x, y))
        if masks and (mask := masks[i]) is not None:
            sheet.paste(OUTLINE, (x, y), Image.fromarray(_outline(mask, side)))
        for number, text in enumerate(texts[i] if texts else ()):
            pen.text((x, y + side + number * LABEL_HEIGHT), text, fill=INK, font=font)
    return _write(sheet, path, mark, named)


def _fitted(label: str, width: int, lines: int, font: Font) -> list[str]:
    """A label in lines that are not wider than its image; what has no room ends in an ellipsis."""
    found = [""]
    for word in label.split():
        longer = f"{found[-1]}{BLANK}{word}" if found[-1] else word
        if font.getlength(longer) <= width or not found[-1]:
            found[-1] = longer
        else:
            found.append(word)
    if len(found) > lines:
        found[lines - 1 :] = [BLANK.join(found[lines - 1 :])]
    return [_cut(line, width, font) for line in found]


def _cut(line: str, width: int, font: Font) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


def film_strip(rows: Mapping[str, Sequence[tuple[str, NDArray[Any]]]], path: Path, side: int = 160) -> Path:
    """Draw rows of frames, each row under its title, each frame (H, W) above its label."""
    cell, row_height = side + GAP, side + 2 * LABEL_HEIGHT + 3 * GAP
    strip = Image.new("L", (max(map(len, rows.values())) * cell + GAP, len(rows) * row_height + GAP), PAPER)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=10)
    for number, (title, frames) in enumerate(rows.items()):
        top = GAP + number * row_height
        pen.text((GAP, top), title, fill=INK, font=ImageFont.load_default(size=11))
        for i, (label, pixels) in enumerate(frames):
            x, y = GAP + i * cell, top + LABEL_HEIGHT + GAP
            strip.paste(_thumbnail(pixels, side), (x, y))
            pen.text((x, y + side), label, fill=INK, font=font)
    return _write(strip, path, OF_A_MODEL)


def _write(picture: Image.Image, path: Path, mark: SyntheticMark | None, named: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer, kind = io.BytesIO(), Image.registered_extensions()[path.suffix.lower()]
    said: dict[str, Any] = {}
    if mark and kind != "PNG":
        said = {"tiffinfo": {XMP_TAG: mark.xmp}} if kind == "TIFF" else {"xmp": mark.xmp}
    picture.save(buffer, kind, **said)
    content = marked(buffer.getvalue(), mark) if mark and kind == "PNG" else buffer.getvalue()
    (write_named if named else write_whole)(path, content)
    return path


def _outline(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """The pixels of a mask, drawn `side` wide, that have a neighbour outside it."""
    large = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
    around = np.pad(large, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return large & ~inner


def _thumbnail(pixels: NDArray[Any], side: int) -> Image.Image:
    eight_bit = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return Image.fromarray(eight_bit).resize((side, side), Image.Resampling.LANCZOS)
