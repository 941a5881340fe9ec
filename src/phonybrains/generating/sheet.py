"""A contact sheet of a generated set, and whether it can be drawn."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..errors import ConfigError
from ..imageset import HOW_MADE, ImageSet, Row
from ..marks import OF_A_MODEL, SyntheticMark
from ..reporting.sheets import COLUMNS, SHEET_SUFFIXES, contact_sheet, most_images


def draw_sheet(
    images: ImageSet, path: Path, mark: SyntheticMark | None = OF_A_MODEL, columns: int = COLUMNS, named: bool = False
) -> Path:
    """Draw a contact sheet of an image set; below each image what it shows. named: as for `contact_sheet`."""
    masks = [images.mask(i) for i in range(len(images))] if any(row.mask_file_name for row in images.rows) else ()
    how: Any = {"labels": [label_of(row) for row in images.rows], "masks": masks, "mark": mark, "named": named}
    return contact_sheet([images.pixels(i) for i in range(len(images))], path, columns, **how)


def label_of(row: Row) -> str:
    """The number of an image, and what it shows."""
    number = Path(row.file_name).stem.lstrip("0") or "0"
    return " ".join([number, row.modality, *_shown(row)])


def check_sheet(grid: Path, out: Path, n: int) -> None:
    """Raise ConfigError for a contact sheet that cannot be drawn: before the images are, not after."""
    if grid.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{grid}: a contact sheet is a picture: {', '.join(SHEET_SUFFIXES)}.")
    if grid.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"{grid} lies inside {out}, which holds the images alone. Put the sheet beside it.")
    if n > (most := most_images(grid)):
        raise ConfigError(
            f"{grid}: a contact sheet of this kind holds up to {most} images, not {n}. "
            "Name another kind of picture (.png holds most), or leave --grid out."
        )
    try:
        grid.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=grid.parent):
            pass
        if grid.exists() and not (grid.is_file() and os.access(grid, os.W_OK)):
            raise PermissionError(errno.EACCES, "it is no file, or must not be written to")
    except OSError as error:
        why = f"the contact sheet cannot be written there ({error.strerror})"
        raise ConfigError(f"{grid}: {why}. Choose another place.") from None


def _shown(row: Row) -> list[str]:
    known = (*HOW_MADE, "prompt", "mask_source")
    return [str(value) for name, value in row.attributes.items() if name not in known and isinstance(value, str)]
