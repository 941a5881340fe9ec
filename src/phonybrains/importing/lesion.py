"""The box around a lesion, among the attributes of a slice: centre and size as fractions of width and height."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ..imageset import Attribute
from .resize import Placement

BOX = ("lesion_x", "lesion_y", "lesion_width", "lesion_height")


def box_around(mask: NDArray[np.bool_]) -> dict[str, Attribute]:
    """The box around a mask, (H, W); None in each place where the mask is empty."""
    box: dict[str, Attribute] = dict.fromkeys(BOX)
    for axis, (centre, size) in enumerate((("lesion_x", "lesion_width"), ("lesion_y", "lesion_height"))):
        inside = np.flatnonzero(mask.any(axis=axis))
        if inside.size:
            first, end = int(inside[0]), int(inside[-1]) + 1
            length = mask.shape[1 - axis]
            box[centre] = (first + end) / 2 / length
            box[size] = (end - first) / length
    return box


def placed(attributes: Mapping[str, Attribute], placement: Placement) -> dict[str, Attribute]:
    """Attributes with the box, given as fractions of the source, as fractions of the padded square."""
    found = dict(attributes)
    for name in BOX:
        across = name in ("lesion_x", "lesion_width")
        length = placement.width if across else placement.height
        shift = {"lesion_x": placement.left, "lesion_y": placement.top}.get(name, 0)
        with suppress(TypeError, ValueError):  # no box, or a text
            if length != placement.size and found.get(name) is not None:
                found[name] = (float(found[name]) * length + shift) / placement.size  # type: ignore[arg-type]
    return found
