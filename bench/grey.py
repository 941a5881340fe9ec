"""What can be measured on the grey levels themselves: images (n, H, W) uint8 in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[Any]


def blur(images: Array, sigma: float = 1.0) -> Array:
    """Images under a Gaussian blur of `sigma` pixels, rounded to uint8 again."""
    blurred = [gaussian_filter(image.astype(np.float32), sigma, mode="nearest") for image in images]
    return np.rint(blurred).clip(0, 255).astype(np.uint8)


def level(images: Array, threshold: int = 25) -> dict[str, float]:
    """Mean grey, deviation of the images' means, deviation of the pixels, share of pixels above a threshold."""
    means = images.mean(axis=(1, 2))
    return {
        "mean": float(means.mean()),
        "deviation_of_means": float(means.std()),
        "deviation": float(images.std(axis=(1, 2)).mean()),
        "above": float((images > threshold).mean()),
    }


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
