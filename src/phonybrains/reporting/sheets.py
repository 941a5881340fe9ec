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

GAP, LABEL_HEIGHT, PAPER, INK = 4, 14, 255, 0
OUTLINE, XMP_TAG = (255, 176, 0), 700
COLUMNS, SIDE = 10, 128
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
    mark: SyntheticMark = OF_A_MODEL,
) -> Path:
    """Draw images, each (H, W) uint8 or uint16, in rows of `columns`, `side` pixels wide, with labels if given.

    masks: one (H, W) or None for each image, whose outline is drawn over it in colour; mark: what the sheet says of
    itself, in any format that is written.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    cell = side + GAP, side + GAP + (LABEL_HEIGHT if labels else 0)
    sheet = Image.new("L", (columns * cell[0] + GAP, rows * cell[1] + GAP), PAPER)
    sheet = sheet.convert("RGB") if masks else sheet
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for i, pixels in enumerate(images):
        x, y = GAP + i % columns * cell[0], GAP + i // columns * cell[1]
        sheet.paste(_thumbnail(pixels, side), (x, y))
        if masks and (mask := masks[i]) is not None:
            sheet.paste(OUTLINE, (x, y), Image.fromarray(_outline(mask, side)))
        if labels:
            text = labels[i][: side // 5].replace(" ", "  ")  # the font's own blanks all but vanish
            pen.text((x, y + side), text, fill=INK, font=font)
    return _write(sheet, path, mark)


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


def _write(picture: Image.Image, path: Path, mark: SyntheticMark) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer, kind = io.BytesIO(), Image.registered_extensions()[path.suffix.lower()]
    said: dict[str, Any] = {"TIFF": {"tiffinfo": {XMP_TAG: mark.xmp}}, "PNG": {}}.get(kind, {"xmp": mark.xmp})
    picture.save(buffer, kind, **said)
    write_whole(path, marked(buffer.getvalue(), mark) if kind == "PNG" else buffer.getvalue())
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
