"""Variation: images that share with one what noise of some strength leaves of it."""

from __future__ import annotations

from .config import Vary
from .prior import Images, Prior, as_images


def varied(images: Images, prior: Prior, how: Vary) -> Images:
    """Images (B, H, W) to others, the farther from them the nearer `strength` is to 1, where nothing of them is left.

    By embedding, nothing but that of each is left.  [Meng 2022, SDEdit, alg. 1; Ramesh 2022, sec. 3.1]
    """
    times, z = prior.times(how.strength, how.steps), prior.encode_images(images)
    if how.by == "embedding":
        predict, z = prior.predict(embedded=prior.model.embedding.of(z)), prior.noise()
    else:
        predict, z = prior.predict(), prior.noised(z, times[0])
    return as_images(prior.draw(prior.walk(predict, z, times)))
