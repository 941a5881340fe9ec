"""The area of an image that is to be filled: its mask, the box of its lesion, or a rectangle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..imageset import ImageSet
from .config import Inpaint

BOX = ("lesion_x", "lesion_y", "lesion_width", "lesion_height")
MARGIN = 0.1
"""By so much of its width and height the box of a lesion is made larger a side, as it is rounded to two decimals."""


def hole_of(images: ImageSet, index: int, how: Inpaint) -> NDArray[np.bool_]:
    """(H, W), True where an image is to be filled.

    Raises ConfigError naming the row where there is no such area, where it is empty, or all of the image.
    """
    row = images.rows[index]
    where = f"metadata.csv, row {index + 2}: {row.file_name}"
    if how.area == "mask":
        hole = images.mask(index)
        if hole is None:
            raise ConfigError(f"{where} has no mask. Give --box lesion or --hole x,y,width,height, or import masks.")
    elif how.area == "lesion":
        hole = box_of(images, index, MARGIN)
        if hole is None:
            raise ConfigError(f"{where} says nothing of {', '.join(BOX)}, so it has no box. Give --hole or --mask.")
    else:
        x, y, width, height = how.hole or (0, 0, 0, 0)
        inside = 0 <= x < x + width <= images.width and 0 <= y < y + height <= images.height
        if not inside:
            raise ConfigError(
                f"--hole {x},{y},{width},{height} does not lie in the image, which is {images.width}×{images.height}: "
                "it is x,y,width,height in pixels from the upper left."
            )
        hole = np.zeros((images.height, images.width), bool)
        hole[y : y + height, x : x + width] = True
    if not hole.any():
        raise ConfigError(f"{where}: the area to fill is empty. Leave the row out.")
    if hole.all():
        raise ConfigError(f"{where}: the area to fill is the whole image, so nothing is left to go by.")
    return hole


def still_outlined(mask: NDArray[np.bool_] | None, redrawn: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """A mask (H, W) that is true of an image of which some is drawn anew, where it outlines nothing of that; else None.

    Of an image that is drawn anew as a whole nothing is known, not even that it shows none of it.
    """
    return None if mask is None or redrawn.all() or (mask & redrawn).any() else mask


def box_of(images: ImageSet, index: int, margin: float = 0.0) -> NDArray[np.bool_] | None:
    """The box of an image's lesion, made larger by a margin, as a mask (H, W); None where the row names none."""
    x, y, width, height = (images.rows[index][name] for name in BOX)
    if not all(isinstance(value, float) for value in (x, y, width, height)):
        return None
    return rectangle(images, (x - width / 2, y - height / 2, width, height), margin)


def rectangle(images: ImageSet, box: tuple[float, float, float, float], margin: float) -> NDArray[np.bool_]:
    """A box, left, top, width and height as fractions of the image, made larger by a margin, as pixels."""
    left, top, width, height = box
    columns, rows = (np.arange(images.width) + 0.5) / images.width, (np.arange(images.height) + 0.5) / images.height
    across = (columns >= left - margin * width) & (columns <= left + (1 + margin) * width)
    down = (rows >= top - margin * height) & (rows <= top + (1 + margin) * height)
    return down[:, None] & across
