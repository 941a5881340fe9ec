"""Super-resolution: which images of the model's size have these means over blocks of pixels?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..diffusion.inverse import BlockMean, Measured, given, power_law
from .config import Upscale
from .prior import Images, Prior, as_pixels


def upscaled(images: Images, prior: Prior, how: Upscale) -> Images:
    """Images (B, h, w) of means over `factor`² pixels, to images (B, H, W) that have them, to the rounding.

    The walk begins at the smoothest image that fits, under as much noise as hides what it lacks.
    """
    y, operator = as_pixels(images).to(prior.model.device), BlockMean(how.factor)
    side = images.shape[-1] * how.factor
    variance = power_law(side)
    measured = Measured(y, operator, lambda t: variance)
    smooth = measured.fit(y.new_zeros(len(y), 1, side, side), torch.zeros(1))
    times = prior.times(how.start, how.steps)
    z = prior.noised(prior.encode(smooth), times[0])
    z = prior.walk(given(prior.predict(), measured, prior.codec), z, times)
    exact = measured.fit(prior.decode(z), torch.zeros(1))[:, 0]
    return fitted(((exact + 1) * 127.5).cpu().numpy(), images, how.factor)


def block_means(image: NDArray[Any], factor: int) -> Images:
    """(…, H, W) to (…, H / factor, W / factor), rounded: what `upscale` takes for measured."""
    *rest, height, width = image.shape
    blocks = image.reshape(*rest, height // factor, factor, width // factor, factor)
    return np.rint(blocks.mean((-3, -1))).astype(np.uint8)


def fitted(grey: NDArray[np.float32], means: Images, factor: int) -> Images:
    """Grey levels (B, H, W), rounded to images whose block means, rounded, are these (B, h, w).

    What clipping and rounding took from a block is given back to it, a grey level at a time.
    """
    made = np.rint(np.clip(grey, 0, 255)).astype(np.int16)
    for _ in range(256):
        missing = means.astype(np.int16) - block_means(made, factor).astype(np.int16)
        if not missing.any():
            break
        made = np.clip(made + np.sign(missing).repeat(factor, -2).repeat(factor, -1), 0, 255)
    return made.astype(np.uint8)
