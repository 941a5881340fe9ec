"""Pictures of masks: what in one counts as inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

MOST_LEVELS = 64
"""More gray levels are a photograph of a mask, or a lossy copy."""


def inside(values: NDArray[np.generic], label: int | None = None, *, lossy: bool = False) -> NDArray[np.bool_]:
    """Where a label map is `label`, or anything but 0 if that is None. Raises SourceError for what is no label map.

    lossy: from a format that changes values, where more than two are no labels.
    """
    if (levels := len(np.unique(values))) > (2 if lossy else MOST_LEVELS):
        raise SourceError(f"has {levels} gray levels, and a mask has few: save it without smoothing, and not as JPEG")
    return values != 0 if label is None else values == label
