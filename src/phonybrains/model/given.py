"""Image sets that are given to a model: whether they fit it, what they show, and how they are taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files import link_or_copy
from ..imageset import ImageSet
from ..networks.conditions import Conditions, Value


def shown_by(images: ImageSet, conditions: Conditions) -> list[dict[str, Value]]:
    """What each row shows, as a model can be told; None for what is not said, and for what the model does not know.

    Raises ConfigError, naming the row, for an image of no modality or of one that the model does not know.
    """
    offered: list[Any] = [label for a in conditions.attributes if a.name == "modality" for label in a.offered]
    for number, row in enumerate(images.rows, start=2):
        if row.modality not in offered:
            what = f"of modality '{row.modality}'" if row.modality else "of no modality"
            raise ConfigError(
                f"metadata.csv, row {number}: {row.file_name} is {what}, and the model knows {' and '.join(offered)}."
            )
    empty: dict[str, Value] = dict.fromkeys(a.name for a in conditions.attributes)
    return [{**empty, **conditions.of(row)} for row in images.rows]


def check_size(images: ImageSet, size: int, factor: int = 1) -> None:
    """Raise ConfigError unless the images, so many times larger, are of a model's size."""
    width, height = images.width, images.height
    if (width * factor, height * factor) == (size, size):
        return
    wanted = f"{size // factor}×{size // factor}"
    becomes = f", which {factor} times larger are {width * factor}×{height * factor}" if factor > 1 else ""
    raise ConfigError(
        f"{images.folder} has images of {width}×{height}{becomes}; this model draws {size}×{size}. "
        f"Import the images at {wanted}."
    )


def take_over(images: ImageSet, draft: Path) -> None:
    """Have all images and masks of a set in a draft too, as links to the same bytes where the disk can."""
    for name in (name for row in images.rows for name in (row.file_name, row.mask_file_name) if name):
        link_or_copy((images.folder / name).resolve(), draft / name)
