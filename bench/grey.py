"""What can be measured on the grey levels themselves: images (n, H, W) uint8 in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.fft import fftfreq, rfft2, rfftfreq
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[Any]
BANDS = 20
"""Bands of spatial frequency, of equal width up to the Nyquist frequency."""


def blur(images: Array, sigma: float = 1.0) -> Array:
    """Images under a Gaussian blur of `sigma` pixels, rounded to uint8 again."""
    blurred = [gaussian_filter(image.astype(np.float32), sigma, mode="nearest") for image in images]
    return np.rint(blurred).clip(0, 255).astype(np.uint8)


def radial_power(images: Array, bands: int = BANDS) -> Array:
    """Mean power of each image in rings of spatial frequency up to the Nyquist frequency, (n, bands); no mean grey.

    A Hann window keeps what is cut off at the border from leaking into the high frequencies.
    """
    height, width = images.shape[1:]
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1]).astype(np.float32)
    radius = np.hypot(fftfreq(height)[:, None], rfftfreq(width)[None]) / 0.5
    ring = np.minimum((radius * bands).astype(int), bands)
    ring[0, 0] = bands
    count = np.bincount(ring.ravel(), minlength=bands + 1)[:bands]
    rows = []
    for image in images:
        centred = image.astype(np.float32) - np.float32((image * window).sum() / window.sum())
        power = np.abs(rfft2(centred * window)) ** 2
        rows.append(np.bincount(ring.ravel(), power.ravel(), bands + 1)[:bands] / count)
    return np.array(rows)


def spectrum_ratio(images: Array, reference: Array) -> Array:
    """Mean radial power of images over that of the reference, in dB for each band."""
    return 10 * np.log10(radial_power(images).mean(axis=0) / radial_power(reference).mean(axis=0))


def handcrafted(images: Array) -> Array:
    """Features anyone can read, (n, 108): histogram (16), spectrum in bels (20), 8×8 layout (64), texture (8)."""
    shares = np.stack([np.bincount(image.ravel() >> 4, minlength=16) for image in images]) / images[0].size
    spectrum = np.log10(radial_power(images) + 1e-3)
    n, height, width = images.shape
    layout = images.reshape(n, 8, height // 8, 8, width // 8).mean(axis=(2, 4)).reshape(n, 64) / 255
    texture = np.array([_texture(image.astype(np.float32) / 255) for image in images])
    return np.concatenate([np.sqrt(shares), spectrum, layout, texture], axis=1)


def _texture(image: Array) -> list[float]:
    """Gradient (mean, deviation, 90th and 99th percentile), Laplacian, unlikeness of pixels 1, 2 and 4 apart."""
    down, across = np.gradient(image)
    slope = np.hypot(down, across)
    laplacian = np.abs(4 * image[1:-1, 1:-1] - image[:-2, 1:-1] - image[2:, 1:-1] - image[1:-1, :-2] - image[1:-1, 2:])
    spread = max(float(image.var()), 1e-6)
    unlike = [((image[:, k:] - image[:, :-k]) ** 2).mean() / (2 * spread) for k in (1, 2, 4)]
    return [slope.mean(), slope.std(), *np.quantile(slope, [0.9, 0.99]), laplacian.mean(), *np.sqrt(unlike)]


def level(images: Array, threshold: int = 25) -> dict[str, float]:
    """Mean grey, deviation of the images' means, deviation of the pixels, share of pixels above a threshold."""
    means = images.mean(axis=(1, 2))
    return {"mean": float(means.mean()), "deviation_of_means": float(means.std()),
            "deviation": float(images.std(axis=(1, 2)).mean()),
            "above": float((images > threshold).mean())}  # fmt: skip


def psnr(images: Array, reference: Array) -> Array:
    """Peak signal-to-noise ratio of each image in dB, (n,)."""
    pairs = zip(images, reference, strict=True)
    squared = np.array([np.mean((a.astype(np.float32) - b) ** 2) for a, b in pairs])
    return 10 * np.log10(255**2 / np.maximum(squared, 1e-6))


def ssim(images: Array, reference: Array) -> Array:
    """Structural similarity of each image, (n,), Gaussian window of 1.5 pixels.  [Wang 2004, eq. 13]"""
    return np.array([_ssim(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(images, reference, strict=True)])


def _ssim(x: Array, y: Array) -> float:
    mean_x, mean_y, xx, yy, xy = _smoothed(x, y, x * x, y * y, x * y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = xx - mean_x**2 + yy - mean_y**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    return float((likeness / ((mean_x**2 + mean_y**2 + c1) * (variances + c2)))[5:-5, 5:-5].mean())


def _smoothed(*images: Array) -> Iterator[Array]:
    return (gaussian_filter(image, 1.5, truncate=3.5) for image in images)
