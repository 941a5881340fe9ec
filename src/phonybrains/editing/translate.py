"""Translation: the same head under other conditions, as MR for CT, by way of the noise it would be drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..diffusion.inverse import invert
from ..networks.conditions import Value
from .config import Translate
from .prior import Images, Prior, as_images


def translated(images: Images, prior: Prior, how: Translate, target: Sequence[Mapping[str, Value]]) -> Images:
    """Images (B, H, W) as what they show, to images of what `target` says of each.

    Up with the conditions of the source, down with those of the target; both ways by Heun's method.  [Su 2023, DDIB]
    """
    times, there = prior.times(how.strength, how.steps), replace(prior, wanted=target)
    noise = invert(prior.predict(), prior.encode_images(images), prior.rising(times), prior.model.chain.process)
    return as_images(there.draw(there.descend(there.predict(), noise, times)))
