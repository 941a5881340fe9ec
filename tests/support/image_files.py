"""Image sets written out of pixels, for tests that know what each image shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phonybrains.imageset import ImageSet, Row, write_metadata, write_png


def written(folder: Path, images: Iterable[np.ndarray], **columns: Any) -> ImageSet:
    """An image set of these pixels; columns: of `Row`, a list with one value each or one for all.

    The modality is CT, and images without a split count as generated, unless that is given.
    """
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, pixels in enumerate(images):
        own = {name: values[i] if isinstance(values, list) else values for name, values in columns.items()}
        name, usual = f"images/{i:03d}.png", {"modality": "CT", "synthetic": not own.get("split")}
        digest = write_png(folder / name, np.ascontiguousarray(pixels))
        rows.append(Row(name, digest, **usual | own))
    write_metadata(folder, rows)
    return ImageSet.open(folder)


def drawn_small(pixels: np.ndarray, scale: float, right: float = 0.0) -> np.ndarray:
    """An image drawn at a part of its size on black, moved to the right by a share of the frame."""
    size, side = len(pixels), round(scale * len(pixels))
    frame, top = np.zeros_like(pixels), (size - side) // 2
    left = top + round(right * size)
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
    frame[top : top + side, left : left + side] = np.asarray(small)
    return frame


def copied(images: ImageSet, folder: Path) -> list[Row]:
    """Copy the files of a set into a folder, as they are, and return its rows."""
    for row in images.rows:
        for name in filter(None, (row.file_name, row.mask_file_name)):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes((images.folder / name).read_bytes())
    return list(images.rows)
