"""Small picture folders for the tests of import."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def head(seed: int, size: int = 64) -> NDArray[np.uint8]:
    """A disc of smooth noise on black, unlike that of every other seed."""
    noise = np.random.default_rng(seed).integers(40, 255, (8, 8), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where(x**2 + y**2 < (0.45 * size) ** 2, smooth, 0).astype(np.uint8)


def save(path: Path, pixels: NDArray[Any] | Image.Image, **options: Any) -> Path:
    """Save pixels, or a Pillow image, in the format of the extension; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def write_table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write metadata.csv with the columns of the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
