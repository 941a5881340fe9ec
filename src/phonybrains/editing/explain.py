"""Explanation: where would an image be another if it showed something else?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from ..networks.conditions import Value
from .config import Explain
from .prior import Images, Prior, as_images, as_pixels

SMOOTHED = 5
"""Pixels over which a difference is averaged: a map says where, not which pixel."""


def explained(
    images: Images, prior: Prior, how: Explain, target: Sequence[Mapping[str, Value]]
) -> tuple[Images, NDArray[np.float32]]:
    """Images (B, H, W), to what they would be as `target` says, and how far that lies off, (B, H, W) in grey levels.

    One noise, two walks: as the image is said to be, and as it is to be; what the two have in common, such as what
    the autoencoder loses, cancels in their difference.  [Sanchez 2022, Diff-SCM; Wyatt 2022, AnoDDPM, for the noise]
    """
    there = replace(prior, wanted=target)
    times = prior.times(how.strength, how.steps)
    z = prior.noised(prior.encode_images(images), times[0])
    same = prior.decode(prior.walk(prior.predict(), z, times))
    changed = there.decode(there.walk(there.predict(), z, times))
    difference = 127.5 * (changed - same)
    far = avg_pool2d(difference.abs(), SMOOTHED, stride=1, padding=SMOOTHED // 2, count_include_pad=False)[:, 0]
    original = as_pixels(images).to(changed)
    return as_images(original + changed - same), far.cpu().numpy()
