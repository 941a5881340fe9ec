"""A picture of an edited set: before, after, spread or map, and the truth where it is known, a row for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..marks import EDITED, SyntheticMark
from ..reporting.sheets import SHEET_SUFFIXES, contact_sheet

MOST = 24
"""Rows of the picture."""
MAPS = ("changed", "spread")
BRIGHTER = 2
"""Maps are in quarters of a grey level; so much brighter, what is 32 grey levels is white."""


def check_grid(grid: Path, out: Path) -> None:
    """Raise ConfigError for a picture that cannot be drawn: before the images are made, not after."""
    if grid.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{grid}: the grid is a picture: {', '.join(SHEET_SUFFIXES)}.")
    if grid.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{grid} lies inside {out}, which holds the images alone. Put it beside it.")


def as_seen(line: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """What there is to see of an image, by label, with maps made so bright that they can be seen."""
    bright = {label: np.clip(image.astype(int) * BRIGHTER, 0, 255).astype(np.uint8) for label, image in line.items()}
    return {label: bright[label] if label in MAPS else image for label, image in line.items()}


def draw_grid(lines: Sequence[Mapping[str, NDArray[np.uint8]]], path: Path) -> Path:
    """Draw what there is to see of some images, by label: before | after | spread or map | truth."""
    cells, labels = [], []
    for row, line in enumerate(lines):
        cells += as_seen(line).values()
        labels += [f"{row} {label}" for label in line]
    return contact_sheet(
        cells, path, columns=len(lines[0]), side=256, labels=labels, mark=SyntheticMark(EDITED), named=True
    )
