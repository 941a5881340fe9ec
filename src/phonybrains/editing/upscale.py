"""Super-resolution: which images of the model's size have these means over blocks of pixels?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..diffusion.inverse import BlockMean, Measurement, given, power_law
from .config import Upscale
from .prior import Images, Prior, as_pixels

KEPT = {2: 0.8, 4: 1.0}
"""The share of the drawn detail that is kept, by factor: of ×2, where there is little, the codec adds as much again."""


def upscaled(images: Images, prior: Prior, how: Upscale) -> Images:
    """Images (B, h, w) of means over `factor`² pixels, to images (B, H, W) that have them, to the rounding.

    The walk begins at the smoothest image that fits, under as much noise as hides what it lacks, and is made to fit in
    every second step, the last among them: in each would bring no more.
    """
    y, operator = as_pixels(images).to(prior.model.device), BlockMean(how.factor)
    side = images.shape[-1] * how.factor
    variance = power_law(side)
    measured = Measurement(y, operator, lambda t: variance)
    smooth = measured.fit(y.new_zeros(len(y), 1, side, side), torch.zeros(1))
    times = prior.times(how.start, how.steps)
    z = prior.noised(prior.encode(smooth), times[0])
    z = prior.walk(given(prior.predict(), measured, prior.codec, times[-2::-2]), z, times)
    exact = torch.lerp(smooth, measured.fit(prior.decode(z), torch.zeros(1)), KEPT[how.factor])[:, 0]
    return fitted(((exact + 1) * 127.5).cpu().numpy(), images, how.factor)


def block_means(image: NDArray[Any], factor: int) -> Images:
    """(…, H, W) to (…, H / factor, W / factor), rounded: what `upscale` takes for measured."""
    *rest, height, width = image.shape
    blocks = image.reshape(*rest, height // factor, factor, width // factor, factor)
    return np.rint(blocks.mean((-3, -1))).astype(np.uint8)


def fitted(grey: NDArray[np.float32], means: Images, factor: int) -> Images:
    """Grey levels (B, H, W), rounded to images whose block means are exactly these (B, h, w).

    What clipping and rounding took from a block is given back to it, a grey level at a time, to the pixels that lie
    farthest from what they were to be.
    """
    exact = _blocks(np.asarray(grey, np.float32), factor)
    made = np.rint(np.clip(exact, 0, 255))
    wanted = means.astype(np.float32)[..., None] * factor**2
    while (missing := wanted - made.sum(-1, keepdims=True)).any():
        sign = np.sign(missing)
        stuck = (made + sign < 0) | (made + sign > 255)
        order = np.argsort(np.where(stuck, np.inf, (made - exact) * sign), axis=-1, kind="stable")
        rank = np.argsort(order, axis=-1, kind="stable")
        made += sign * ((rank < np.abs(missing)) & ~stuck)
    *rest, height, width, _ = made.shape
    tiles = made.reshape(*rest, height, width, factor, factor).swapaxes(-3, -2)
    return tiles.reshape(*rest, height * factor, width * factor).astype(np.uint8)


def _blocks(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """(…, H, W) to (…, h, w, factor²): the pixels of each block."""
    *rest, height, width = image.shape
    tiles = image.reshape(*rest, height // factor, factor, width // factor, factor).swapaxes(-3, -2)
    return tiles.reshape(*rest, height // factor, width // factor, factor**2)
