"""Noise adaptation: images get the noise of another set, as strong and as coarse, and no more than they lack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.fft import fftfreq, irfft2, rfft2, rfftfreq
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from ..wording import count_of
from .noise_level import MAD, Law, checked_range, noise_level, not_air, steepness

Array = NDArray[Any]

BLOCK = 8
"""Side of the blocks whose cosine transform tells the power of noise by frequency, as JPEG's."""
FLAT = 0.15
"""Share of the tissue's blocks that are measured: those whose mean is nearest to those of their neighbours."""
FEWEST = 25
"""Blocks, or pixels of air, below which nothing is measured."""
FAINT = 1e-6
"""Power that keeps the logarithm of none finite."""
ROUNDS = 4
"""Times that the strength of noise is set by what the image shows with it."""
RINGS = 8
"""Rings of spatial frequency, of 1/16 cycles a pixel each, from 1/16; the last holds the corners."""
COARSE = 2
"""The first rings, in which anatomy outweighs noise: they are not counted, and given no more than the next is."""
RADIUS = np.hypot(*np.indices((BLOCK, BLOCK)))
RING = np.clip(RADIUS.astype(int) - 1, -1, RINGS - 1) % (RINGS + 1)
"""The ring of each cosine, (BLOCK, BLOCK); the mean grey is in none of them, which is RINGS."""
COUNT = np.bincount(RING.ravel())[:RINGS]
MIDDLES = np.bincount(RING.ravel(), RADIUS.ravel())[:RINGS] / COUNT / (2 * BLOCK)
"""Mean frequency of each ring in cycles a pixel, (RINGS,)."""


@dataclass(frozen=True)
class NoiseProfile:
    """What the noise of a set of images is like, in stored grey levels.

    law: that of most images. power: of noise in tissue by rings of frequency, (RINGS,): the variance of a cosine's
    coefficient, that of a pixel where noise is white. air: the deviation in air, of what varies from pixel to pixel.
    n: images measured.
    """

    law: Law
    power: Array
    air: float
    n: int

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in tissue finer than five pixels, as `deviation` has it."""
        return deviation(self.power)

    @classmethod
    def of(cls, images: Sequence[Array]) -> NoiseProfile:
        """Measure images of one modality, each (H, W) uint8 or uint16: of every measure the median over the images.

        Raises ValueError where no image shows enough flat tissue.
        """
        powers = [tissue_power(image) for image in images]
        known = [(image, power) for image, power in zip(images, powers, strict=True) if power is not None]
        if not known:
            raise ValueError(
                f"none of {count_of(len(images), 'image')} shows {FEWEST} blocks of tissue, {BLOCK}×{BLOCK} pixels"
            )
        rician = sum(noise_level(image).law == "rician" for image, _ in known)
        return cls(
            law="rician" if 2 * rician > len(known) else "gaussian",
            power=np.median([power for _, power in known], axis=0),
            air=float(np.median([air_sigma(image) for image, _ in known])),
            n=len(known),
        )


@dataclass(frozen=True)
class Adapted:
    """An image with the noise of a profile.

    sigma: of its tissue before, in grey levels, as in a profile; NaN where there is too little of it to measure.
    added: deviation of what was added there, 0 where the image is the input, to the bit. noisier: it was noisier than
    the profile already, so that it must be denoised first.
    """

    image: Array
    sigma: float
    added: float
    noisier: bool


def tissue_power(image: Array) -> Array | None:
    """Power of the noise in flat tissue of an image (H, W) by rings of frequency, (RINGS,), in squared grey levels.

    The median |c| of each cosine coefficient over flat blocks, squared and averaged in rings, is that of noise: few
    blocks show structure of one frequency [Ponomarenko 2007]. None where there are fewer than FEWEST blocks. Structure
    that all tissue has counts as noise, most in the first rings; clipped blocks are left out.
    """
    high = checked_range(image)
    if min(image.shape) < 2 * BLOCK:
        return None
    blocks = _blocks(image, BLOCK // 2)
    mean = blocks.mean(axis=(2, 3))
    steps = [np.abs(mean - np.roll(mean, by, axis)) for axis in (0, 1) for by in (-2, 2)]
    unlike = np.max(steps, axis=0)
    clipped = ((blocks <= 0) | (blocks >= high)).mean(axis=(2, 3))
    tissue = not_air(mean) & (clipped < 0.05)
    if tissue.sum() < FEWEST:
        return None
    flat = tissue & (unlike <= np.quantile(unlike[tissue], max(FLAT, FEWEST / tissue.sum())))
    return _by_ring((np.median(np.abs(_cosines(blocks[flat])), axis=0) / MAD) ** 2)


def deviation(power: Array) -> float:
    """Standard deviation of what lies in the rings above the coarse ones, of power (RINGS,), in grey levels."""
    return math.sqrt(float(COUNT[COARSE:] @ power[COARSE:]) / BLOCK**2)


def air_sigma(image: Array) -> float:
    """Deviation of the finest diagonal detail in the flatter half of air, in grey levels; 0 without air."""
    x = image.astype(np.float64)
    detail = (x[:-1, :-1] - x[:-1, 1:] - x[1:, :-1] + x[1:, 1:]) / 2
    steep, air = steepness(x)[:-1, :-1], _air(x)[:-1, :-1]
    if air.sum() < FEWEST:
        return 0.0
    return float(np.sqrt(np.mean(detail[air & (steep <= np.median(steep[air]))] ** 2)))


def adapt(image: Array, profile: NoiseProfile, rng: np.random.Generator) -> Adapted:
    """Give an image (H, W) uint8 or uint16 the noise of a profile where it is quieter.

    In tissue, noise coloured by what lacks in each ring, of the variance that lacks in all: independent noise adds in
    variance. Its strength is then set so that the image, measured as the profile was, has what it lacked, since with
    structure, rounding and blocks without a window the measures do not just add. In air, so much that its deviation is
    the profile's, and none where all is at an end of the range: what lies beyond it is not known. Rician: the magnitude
    of the image with such noise in both channels, everywhere. Where nothing lacks, the image is given back to the bit.
    Deterministic by rng.
    """
    high = checked_range(image)
    power = tissue_power(image)
    if power is None:
        return Adapted(image, math.nan, 0.0, noisier=False)
    sigma = deviation(power)
    lacking = np.maximum(profile.power - power, 0)
    added = math.sqrt(max(profile.sigma**2 - sigma**2, 0))
    if added == 0:
        return Adapted(image, sigma, 0.0, noisier=sigma > profile.sigma)
    lacking *= (added / deviation(lacking)) ** 2
    lacking[:COARSE] = np.minimum(lacking[:COARSE], lacking[COARSE])
    strength = _strength(image, profile, added)
    whites = rfft2(rng.standard_normal((2, *image.shape)))
    gain, noisy = lacking.copy(), image
    for _ in range(ROUNDS):
        real, imaginary = (_coloured(white, image.shape, gain) for white in whites)
        exact = np.hypot(image + real, imaginary) if profile.law == "rician" else image + strength * real
        noisy = np.clip(np.rint(exact), 0, high).astype(image.dtype)
        gained = tissue_power(noisy)
        if gained is None:
            break
        gain *= lacking / np.maximum(gained - power, lacking / 4 + FAINT)
        gain[:COARSE] = np.minimum(lacking[:COARSE], gain[COARSE])
    return Adapted(noisy, sigma, added, noisier=False)


def _strength(image: Array, profile: NoiseProfile, added: float) -> Array:
    """What noise is multiplied by, (H, W): 1 in tissue, the share that air lacks in air, 0 where all is at one end."""
    x = image.astype(np.float64)
    share = math.sqrt(max(profile.air**2 - air_sigma(image) ** 2, 0)) / added
    air = uniform_filter(_air(x).astype(np.float64), 3)
    inside = maximum_filter(image, 3) * (checked_range(image) - minimum_filter(image, 3).astype(np.int64))
    return (1 - air + air * share) * (inside > 0)


def _air(x: Array) -> Array:
    """What is darker than tissue, by a local mean, (H, W)."""
    return ~not_air(uniform_filter(x, 5))


def _coloured(white: Array, shape: tuple[int, ...], power: Array) -> Array:
    """Gaussian noise (H, W) of power (RINGS,) by frequency, from the transform of white noise."""
    radius = np.hypot(fftfreq(shape[0])[:, None], rfftfreq(shape[1])[None])
    gain = np.exp(0.5 * np.interp(radius, MIDDLES, np.log(power + FAINT)))
    return irfft2(white * gain, s=shape)


def _blocks(x: Array, step: int) -> Array:
    """Blocks of an image (H, W) that are `step` pixels apart, (…, …, BLOCK, BLOCK)."""
    return sliding_window_view(x, (BLOCK, BLOCK))[::step, ::step].astype(np.float64)


def _cosines(blocks: Array) -> Array:
    """The orthonormal cosine transform of blocks (…, BLOCK, BLOCK): white noise keeps its variance in each."""
    return np.asarray(dctn(blocks, axes=(-2, -1), norm="ortho"))


def _by_ring(power: Array) -> Array:
    """Means over rings of what each cosine has, (BLOCK, BLOCK) to (RINGS,)."""
    return np.bincount(RING.ravel(), power.ravel())[:RINGS] / COUNT
