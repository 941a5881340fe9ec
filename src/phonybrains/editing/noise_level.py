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
FLAT = 0.4
"""Share of the places that show something on which noise is measured: those with the least slope."""
UNCLIPPED = 0.7
"""Least share of its deviation that noise must keep after clipping where it is measured."""
FEWEST = 200
"""Places below which a measurement makes do with what is clipped more, and pixels below which there is no air."""
ALIKE = (0.66, 1.3)
"""σ in tissue over σ in air where both are Rician; clipped Gaussian noise on what is dark but not air has 0.6."""


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviation in stored grey levels of white noise before clipping (in each channel of a magnitude), and
    its law."""

    sigma: float
    law: Law


def noise_level(image: Array) -> NoiseLevel:
    """The noise of an image (H, W) uint8 or uint16.

    σ is the median of the finest diagonal detail of the Haar wavelet [Donoho 1994, sec. 4.2] where the image is flat and
    shows something, divided by what the law and clipping leave of a deviation of 1 there. The law is Rician where air is
    distributed as Rayleigh's, whose median gives a second σ [Gudbjartsson 1995, eq. 5] that must agree; it is not the
    answer, as faint signal in air raises it. Otherwise, and where there is no air, the law is Gaussian, from which a
    magnitude of SNR > 3 differs by less than 6 %. σ is 0 where nothing varies. Noise is measured as if it were white:
    smoothed noise, as of JPEG or of resampling, counts less than its deviation.
    Raises ValueError for other shapes and types.
    """
    high = _range(image)
    x = image.astype(np.float64)
    air = _from_air(x)
    if air:
        sigma = _from_detail(x, high, "rician", air)
        if ALIKE[0] < sigma / air < ALIKE[1]:
            return NoiseLevel(sigma, "rician")
    return NoiseLevel(_from_detail(x, high, "gaussian"), "gaussian")


def expected(values: Array, sigma: float, law: Law, low: float = 0, high: float = 255) -> Array:
    """Mean of what pixels of true `values` read under noise of σ, clipped to low…high, in grey levels.

    Gaussian: the censored normal [Tobin 1958; Greene 2003, th. 22.4]. Rician: Rice's mean [Gudbjartsson 1995, eq. 2],
    clipped above as a normal of its mean and deviation is, which is right to 0.01 σ for high ≥ 4 σ.
    Raises ValueError for a negative σ or another law.
    """
    return _moments(values, sigma, law, low, high)[0]


def variance(values: Array, sigma: float, law: Law, low: float = 0, high: float = 255) -> Array:
    """Variance of what `expected` is the mean of, in squared grey levels; as close, relative to σ²."""
    return _moments(values, sigma, law, low, high)[1]


def add_noise(image: Array, sigma: float, law: Law, rng: np.random.Generator) -> Array:
    """The image (H, W) uint8 or uint16 with white noise of σ grey levels, rounded and clipped to what its type holds.

    rician: the magnitude of the image with noise in a real and an imaginary channel. σ = 0 gives the image back.
    """
    high = _range(image)
    _check(sigma, law)
    if law == "gaussian":
        noisy = image + rng.normal(0, sigma, image.shape)
    else:
        real, imaginary = rng.normal(0, sigma, (2, *image.shape))
        noisy = np.hypot(image + real, imaginary)
    return np.clip(np.rint(noisy), 0, high).astype(image.dtype)


def _range(image: Array) -> int:
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
    """σ of Rayleigh's law in air, 0 where no such air is found.

    Air is grown from the darkest places that show anything: what has the mean that their σ makes one expect.
    """
    mean, dark = uniform_filter(x, BOX), uniform_filter((x < 0.5).astype(np.float64), BOX)
    shown = dark < 0.95
    if not shown.any():
        return 0.0
    sigma = float(np.quantile(mean[shown], 0.05)) / RAYLEIGH_MEAN
    air = shown
    for _ in range(10):
        air = shown & (np.abs(mean / (RAYLEIGH_MEAN * sigma) - 1) < 0.3) if sigma else np.zeros_like(shown)
        if air.sum() < FEWEST:
            return 0.0
        sigma = float(np.median(x[air])) / RAYLEIGH_MEDIAN
    half = 1 - math.exp(-0.125 / max(sigma, 0.1) ** 2)
    spread = float(x[air].std() / x[air].mean())
    return sigma if (x[air] < 0.5).mean() < 0.1 + half and 0.42 < spread < 0.65 else 0.0


def _from_detail(x: Array, high: int, law: Law, start: float = 0.0) -> float:
    """σ from the median diagonal detail, corrected for what the law and clipping leave of it at the local mean."""
    detail = (x[:-1, :-1] - x[:-1, 1:] - x[1:, :-1] + x[1:, 1:]) / 2
    mean = uniform_filter(x, BOX)
    slope = np.hypot(*(np.roll(mean, -3, axis) - np.roll(mean, 3, axis) for axis in (0, 1)))[:-1, :-1]
    mean = mean[:-1, :-1]
    shown = _shown(mean) & (mean < high)
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
        before, sigma = sigma, _median(detail[flat] / kept[flat]) / MAD
        if abs(sigma - before) <= 1e-3 * sigma:
            break
    return sigma


def _shown(mean: Array) -> Array:
    """Where a local mean is above air: a twelfth of the way from the darkest to the bright."""
    dark, bright = mean.min(), np.quantile(mean, 0.99)
    return mean > dark + (bright - dark) / 12


def _median(details: Array) -> float:
    """The median of details of whole grey levels, which lie half a level apart: spread evenly over that, as a histogram
    is interpolated, so that it is not one of a few steps. 0 where most are."""
    if np.median(details) == 0:
        return 0.0
    spread = (np.arange(details.size) * 0.6180339887 % 1 - 0.5) / 2
    return float(np.median(np.abs(details + spread)))
