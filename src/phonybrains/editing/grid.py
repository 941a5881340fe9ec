"""A picture of an edited set: before, after, spread or map, and the truth where it is known, a row for each image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError
from ..imageset import read_png
from ..reporting.sheets import SHEET_SUFFIXES, contact_sheet

if TYPE_CHECKING:
    from .stage import Edits

MOST = 24
"""Rows of the picture."""
BRIGHTER = 2
"""Maps are in quarters of a grey level; so much brighter, what is 32 grey levels is white."""


def check_grid(grid: Path, out: Path) -> None:
    """Raise ConfigError for a picture that cannot be drawn: before the images are made, not after."""
    if grid.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{grid}: the grid is a picture: {', '.join(SHEET_SUFFIXES)}.")
    if grid.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{grid} lies inside {out}, which holds the images alone. Put it beside it.")


def draw_grid(edits: Edits, out: Path, path: Path) -> Path:
    """Draw the first images of an edited set: before | after | spread or map | truth."""
    cells, labels, columns = [], [], 0
    for row in range(min(MOST, len(edits.source))):
        name = edits.name(row) if edits.how.mean else edits.name(row, 0)
        line = {"before": edits.before(row), f"{edits.how.name}, not measured": read_png(out / name)}
        for folder, label in (("maps", "changed"), ("spread", "spread")):
            if (beside := out / folder / Path(edits.name(row)).name).is_file():
                line[label] = np.clip(read_png(beside).astype(int) * BRIGHTER, 0, 255).astype(np.uint8)
        if edits.job.truth:
            line["truth"] = edits.job.truth(row)
        cells += line.values()
        labels += [f"{row} {label}" for label in line]
        columns = len(line)
    return contact_sheet(cells, path, columns=columns, side=256, labels=labels)
