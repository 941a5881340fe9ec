"""How noisy an image is, and what noise makes of a pixel: Gaussian, or Rician as in magnitudes of MR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.special import i0e, i1e, ndtr

Array = NDArray[Any]
Law = Literal["gaussian", "rician"]
LAWS: tuple[Law, ...] = ("gaussian", "rician")

MAD = 0.67449
"""The median of |z| for z ~ N(0, 1)."""
RAYLEIGH_MEDIAN = math.sqrt(2 * math.log(2))
RAYLEIGH_MEAN = math.sqrt(math.pi / 2)
BOX = 7
"""Side of the squares over which a local mean is taken."""
FLAT = 0.2
"""Share of the places that show something on which noise is measured: those with the least slope."""
UNCLIPPED = 0.7
"""Least share of its deviation that noise must keep after clipping where it is measured."""
FEWEST = 200
"""Places below which a measurement makes do with what is clipped more, and pixels below which there is no air."""
AIR = (0.7, 1.12)
"""Local means that count as air, over that of Rayleigh's law: lopsided, as what is brighter can be faint tissue."""
RAYLEIGH = 0.04
"""Largest distance of the distribution of air from Rayleigh's; Gaussian noise on what is dark but not air has 0.055."""
ALIKE = (0.77, 1.3)
"""σ in tissue over σ in air where both are Rician; Gaussian noise on what is dark but not air has 0.6 to 0.75."""


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviation in stored grey levels of white noise before clipping (in each channel of a magnitude), and
    its law."""

    sigma: float
    law: Law


def noise_level(image: Array) -> NoiseLevel:
    """The noise of an image (H, W) uint8 or uint16.

    Rician where air is distributed as Rayleigh's law: σ from its median [Gudbjartsson 1995], if tissue agrees.
    Otherwise, and where there is no air, Gaussian, from which a magnitude of SNR > 3 differs by less than 4 %: σ is the
    median of the finest diagonal detail of the Haar wavelet [Donoho 1994, sec. 4.2] where the image is flat and shows
    something, divided by what clipping leaves of a deviation of 1 there. σ is 0 where nothing varies. In tissue noise
    is measured as if it were white: smoothed, as by JPEG or by resampling, it counts less than its deviation.
    Raises ValueError for other shapes and types.
    """
    high = checked_range(image)
    x = image.astype(np.float64)
    air = _from_air(x)
    if air > 0:
        alike = _from_detail(x, high, "rician", air) / air
        if ALIKE[0] < alike < ALIKE[1]:
            return NoiseLevel(air, "rician")
    return NoiseLevel(_from_detail(x, high, "gaussian"), "gaussian")


def expected(values: Array, sigma: float, law: Law, low: float = 0, high: float = 255) -> Array:
    """Mean of what pixels of true `values` read under noise of σ, clipped to low…high, in grey levels.

    Gaussian: the censored normal [Tobin 1958]. Rician: Rice's mean [Rice 1944],
    clipped above as a normal of its mean and deviation is, which is right to 0.004 σ for high ≥ 4 σ.
    Raises ValueError for a negative σ or another law.
    """
    return _moments(values, sigma, law, low, high)[0]


def variance(values: Array, sigma: float, law: Law, low: float = 0, high: float = 255) -> Array:
    """Variance of what `expected` is the mean of, in squared grey levels; Rician right to 0.02 σ² for high ≥ 4 σ."""
    return _moments(values, sigma, law, low, high)[1]


def add_noise(image: Array, sigma: float, law: Law, rng: np.random.Generator) -> Array:
    """The image (H, W) uint8 or uint16 with white noise of σ grey levels, rounded and clipped to what its type holds.

    rician: the magnitude of the image with noise in a real and an imaginary channel. σ = 0 gives the image back.
    """
    high = checked_range(image)
    _check(sigma, law)
    if law == "gaussian":
        noisy = image + rng.normal(0, sigma, image.shape)
    else:
        real, imaginary = rng.normal(0, sigma, (2, *image.shape))
        noisy = np.hypot(image + real, imaginary)
    return np.clip(np.rint(noisy), 0, high).astype(image.dtype)


def checked_range(image: Array) -> int:
    """The largest value that the image's type holds."""
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image must be (H, W) uint8 or uint16, not {image.shape} {image.dtype}")
    return int(np.iinfo(image.dtype).max)


def _check(sigma: float, law: str) -> None:
    if law not in LAWS:
        raise ValueError(f"law must be gaussian or rician, not {law!r}")
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma must be a finite number of grey levels, 0 or more, not {sigma}")


def _moments(values: Array, sigma: float, law: Law, low: float, high: float) -> tuple[Array, Array]:
    _check(sigma, law)
    values = np.asarray(values, dtype=np.float64)
    if sigma == 0:
        return np.clip(values, low, high), np.zeros_like(values)
    if law == "gaussian":
        return _censored(values, np.full_like(values, sigma), low, high)
    k = (values / sigma) ** 2 / 4
    mean = sigma * RAYLEIGH_MEAN * ((1 + 2 * k) * i0e(k) + 2 * k * i1e(k))
    deviation = np.sqrt(np.maximum(values**2 + 2 * sigma**2 - mean**2, 0))
    return _censored(mean, deviation, -math.inf, high)


def _censored(mean: Array, deviation: Array, low: float, high: float) -> tuple[Array, Array]:
    """Mean and variance of a normal that is clipped to low…high, from the moments between both ends."""
    a, b = (low - mean) / deviation, (high - mean) / deviation
    below, above = ndtr(a), ndtr(-b)
    inside = 1 - below - above
    density_a, density_b = (np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) for z in (a, b))
    low_z, high_z = (np.where(np.isfinite(z), z, 0) for z in (a, b))
    first = low_z * below + high_z * above + density_a - density_b
    second = low_z**2 * below + high_z**2 * above + inside + low_z * density_a - high_z * density_b
    return mean + deviation * first, deviation**2 * np.maximum(second - first**2, 0)


def _from_air(x: Array) -> float:
    """σ of Rayleigh's law in air, from its median; 0 where nothing is distributed so.

    Air is grown from the darkest places that show anything: what has the mean that their σ makes one expect.
    """
    mean, black = uniform_filter(x, BOX), uniform_filter((x < 0.5).astype(np.float64), BOX)
    varied = black < 0.95
    if not varied.any():
        return 0.0
    sigma = float(np.quantile(mean[varied], 0.05)) / RAYLEIGH_MEAN
    air = x[varied]
    for _ in range(10):
        low, high = (share * RAYLEIGH_MEAN * sigma for share in AIR)
        air = x[varied & (mean > low) & (mean < high)]
        if air.size < FEWEST:
            return 0.0
        sigma = _median(air, 1) / RAYLEIGH_MEDIAN
    return sigma if sigma > 0 and _from_rayleigh(air, sigma) < RAYLEIGH else 0.0


def _from_rayleigh(air: Array, sigma: float) -> float:
    """Largest distance between the distribution of whole grey levels and Rayleigh's of σ.  [Kolmogorov 1933]"""
    levels, counts = np.unique(air, return_counts=True)
    return float(np.abs(counts.cumsum() / air.size + np.expm1(-0.5 * ((levels + 0.5) / sigma) ** 2)).max())


def _from_detail(x: Array, high: int, law: Law, start: float = 0.0) -> float:
    """σ from the median diagonal detail, corrected for what the law and clipping leave of it at the local mean."""
    detail = (x[:-1, :-1] - x[:-1, 1:] - x[1:, :-1] + x[1:, 1:]) / 2
    mean, slope = uniform_filter(x, BOX)[:-1, :-1], steepness(x)[:-1, :-1]
    shown = not_air(mean) & (mean < high)
    if not shown.any():
        return 0.0
    detail, slope, mean = np.abs(detail[shown]), slope[shown], mean[shown]
    sigma = start or float(detail.mean()) / MAD
    for _ in range(12):
        true = np.linspace(0 if law == "rician" else -4 * sigma, high + 4 * sigma, 1024)
        read, left = _moments(true, sigma, law, 0, high)
        kept = np.interp(mean, read, np.sqrt(left) / sigma) if sigma else np.ones_like(mean)
        use = kept > UNCLIPPED
        if use.sum() < FEWEST:
            use = kept > 0.3
        if not use.any():
            return sigma
        flat = use & (slope <= np.quantile(slope[use], FLAT))
        before, sigma = sigma, _median(detail[flat] / kept[flat], 0.5) / MAD
        if abs(sigma - before) <= 1e-3 * sigma:
            break
    return sigma


def steepness(x: Array) -> Array:
    """How much means of 5×5 pixels differ four pixels apart: of white noise, independent of the diagonal detail."""
    mean = uniform_filter(x, 5)
    return np.hypot(*(np.roll(mean, -2, axis) - np.roll(mean, 2, axis) for axis in (0, 1)))


def not_air(mean: Array) -> Array:
    """Where a local mean is above air: a twelfth of the way from the darkest to the bright.

    The darkest is not air, but tissue as the rest, where it is a third as bright.
    """
    dark, bright = mean.min(), np.quantile(mean, 0.99)
    return mean > dark + (bright - dark) / 12 if dark < bright / 3 else mean > 0


def _median(sizes: Array, step: float) -> float:
    """The median of sizes ≥ 0 that lie a step apart, interpolated so that it is no step; 0 where most are."""
    if np.median(sizes) == 0:
        return 0.0
    spread = (np.arange(sizes.size) * 0.6180339887 % 1 - 0.5) * step
    return float(np.median(np.abs(sizes + spread)))
