"""Variation: images that share with one what noise of some strength leaves of it."""

from __future__ import annotations

from .config import Vary
from .prior import Images, Prior, as_images


def varied(images: Images, prior: Prior, how: Vary) -> Images:
    """Images (B, H, W) to others, the farther from them the nearer `strength` is to 1, where nothing of them is left.

    [Meng 2022, SDEdit, alg. 1]
    """
    times = prior.times(how.strength, how.steps)
    z = prior.noised(prior.encode_images(images), times[0])
    return as_images(prior.draw(prior.walk(prior.predict(), z, times)))
