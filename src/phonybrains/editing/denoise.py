"""Noise removal: an image's noise is to the diffusion like its own, and the walk begins where so much of it is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..diffusion.inverse import time_of_noise
from ..diffusion.sampler import ancestral
from .config import Denoise
from .noise_level import NoiseLevel, add_noise
from .prior import Images, Prior, as_images, as_pixels

TRUSTED = 0.8
"""The walk begins at this share of the noise that the latents have: with all of it, detail is taken for noise."""
RENEWED = 0.5
"""The share of ancestral sampling's fresh noise: 1 draws from the posterior, 0 gives one answer, near its mean."""
LOST = 4.6
"""Grey levels that the codec loses of an image, about: with them, what was measured is worth something to the end."""
FIRST_GUESS = 0.02
"""Deviation of the latents for each grey level of noise, about, until it is measured."""


def half_renewed(a_t: Tensor, s_t: Tensor, a_r: Tensor, s_r: Tensor) -> Tensor:
    """A share of the fresh noise of `ancestral`.  [Song 2021, eq. 16, with η]"""
    return RENEWED * ancestral(a_t, s_t, a_r, s_r)


def denoised(images: Images, prior: Prior, how: Denoise, noise: Sequence[NoiseLevel]) -> Images:
    """Noisy images (B, H, W) and the noise of each, to images (B, H, W) of what lies behind it.

    For an exact codec (LOST 0), one that keeps noise white, and RENEWED 1 this draws from p(x | y).
    """
    return np.concatenate([_one(images[i], prior.of(i), how, level) for i, level in enumerate(noise)])


def _one(image: Images, prior: Prior, how: Denoise, noise: NoiseLevel) -> Images:
    """One image, as each has its own noise and so begins at its own time."""
    if noise.sigma == 0:
        return image[None]
    z, predict, process = prior.encode_images(image[None]), prior.predict(), prior.model.chain.process
    times = prior.even_times(time_of_noise(FIRST_GUESS * noise.sigma, process), 2)
    guess = prior.walk(predict, prior.signal(z, times[0]), times)
    level = TRUSTED * latent_noise(as_images(prior.decode(guess)), prior, noise)
    times = prior.even_times(time_of_noise(level, process), how.steps)
    clean = prior.decode(prior.walk(predict, prior.signal(z, times[0]), times, half_renewed))
    return as_images(torch.lerp(clean, as_pixels(image[None]).to(clean), LOST**2 / (LOST**2 + noise.sigma**2)))


def latent_noise(clean: Images, prior: Prior, noise: NoiseLevel) -> float:
    """The deviation that such noise has in the latents, measured by adding it to a nearly clean image (1, H, W)."""
    seed = int(torch.randint(2**31, (1,), generator=prior.rngs[0]))
    again = add_noise(clean[0], noise.sigma, noise.law, np.random.default_rng(seed))
    change = prior.encode_images(again[None]) - prior.encode_images(clean)
    return float((change - change.mean((2, 3), keepdim=True)).square().mean().sqrt())
