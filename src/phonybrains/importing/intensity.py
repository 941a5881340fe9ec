"""Which values become black and white: a window for CT, percentiles of the head for MR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .config import ImportConfig

AIR_HU = -1024.0
NOT_AIR_HU = -900.0
HIGHEST_12_BIT_HU = 3071.0
TISSUE_HU = -300.0
ENOUGH_VOXELS = 8_000_000


def ct_range(config: ImportConfig) -> tuple[float, float]:
    """The HU that become black and white: the configured window, or without one all HU of 12 bits.

    With 16 bits and no window, -1024…64511 HU: the slope is then 1 and each HU has its own pixel value.
    """
    if config.window is not None:
        centre, width = config.window
        return centre - width / 2, centre + width / 2
    return AIR_HU, AIR_HU + 65535 if config.bits == 16 else HIGHEST_12_BIT_HU


def no_air(lowest: float) -> str:
    """What has to be said of a CT whose lowest value, padding aside, is not that of air; "" where it is."""
    if lowest <= NOT_AIR_HU:
        return ""
    return f"no air among its values (the lowest is {lowest:.0f}): they may not be HU"


def mr_range(images: Sequence[NDArray[np.float32]], percentiles: tuple[float, float]) -> tuple[float, float]:
    """The values of a volume that become black and white: percentiles of the head, not of the air around it.

    images: the finite values of the volume, of any shape. Large volumes are thinned evenly to 8 million voxels.
    The head is what lies above `head_threshold`, so the share of air in the picture does not change the contrast.
    Raises ValueError if all values are equal.
    """
    step = -(-sum(image.size for image in images) // ENOUGH_VOXELS)
    voxels = np.concatenate([image.ravel()[::step] for image in images])
    head = voxels[voxels > head_threshold(voxels)]
    if head.size == 0:
        raise ValueError("all values are equal")
    low, high = (float(value) for value in np.percentile(head, percentiles))
    return low, high if high > low else low + 1.0


def head_threshold(voxels: NDArray[np.float32]) -> float:
    """The value that roughly parts an MR head from air: a tenth of the way from dark to the 98th percentile.

    Dark is 0, the signal of air, or the 2nd percentile where that is negative. The upper percentile leaves out zeros
    and the lowest value (masked out, or out of the field of view). Lower than the highest value, unless all are equal.
    Source: Smith, Hum. Brain Mapp. 17:143 (2002), the first estimate of BET.
    """
    lowest = voxels.min()
    inside = voxels[(voxels != 0) & (voxels > lowest)]
    if inside.size == 0:
        return float(lowest)
    dark, bright = min(0.0, float(np.percentile(voxels, 2))), float(np.percentile(inside, 98))
    return dark + 0.1 * (bright - dark) if bright > dark else float(lowest)
