"""Features of an image that anyone can read and that need no weights: images (n, H, W) uint8 in, (n, 116) out."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from .spectrum import FAINT, noise, quarters, radial_power

NAMES = (
    *(f"histogram {i}" for i in range(16)),
    *(f"spectrum {i}" for i in range(20)),
    *(f"layout {i // 8},{i % 8}" for i in range(64)),
    *(f"gradient {part}" for part in ("mean", "deviation", "q90", "q99")),
    "laplacian",
    *(f"unlike {apart}" for apart in (1, 2, 4)),
    *(f"glcm {part}" for part in ("contrast", "homogeneity", "energy", "correlation")),
    *(f"wavelet {scale}" for scale in (1, 2, 3)),
    "noise",
)
PLAIN = 108
"""The first so many need neither co-occurrences nor wavelets; the figures of bench/quality.py rest on these."""
LEVELS = 16
LEAST_NOISE = 0.1
"""Grey levels, below what rounding leaves."""


def handcrafted(images: Array) -> Array:
    """Histogram (16), spectrum in bels (20), 8×8 layout (64), texture (8), co-occurrence of grey levels (4), wavelet
    detail in bels (3), noise in bels (1), (n, 116)."""
    shares = np.stack([np.bincount(image.ravel() >> 4, minlength=16) for image in images]) / images[0].size
    spectrum = np.log10(radial_power(images) + FAINT)
    grey = images.astype(np.float32) / 255
    rest = np.array(
        [[*_texture(x), *_cooccurrence(image), *_wavelet(x)] for x, image in zip(grey, images, strict=True)]
    )
    grain = np.log10(noise(images) + LEAST_NOISE)[:, None]
    return np.concatenate([np.sqrt(shares), spectrum, _layout(images), rest, grain], axis=1)


def noise_of(features: Array) -> Array:
    """The noise in grey levels that handcrafted features hold, (n,)."""
    return 10.0 ** features[:, -1] - LEAST_NOISE


def _layout(images: Array) -> Array:
    """Mean grey of 8×8 parts, (n, 64); a rest of less than 8 rows or columns is left out."""
    n, height, width = images.shape
    whole = images[:, : height // 8 * 8, : width // 8 * 8]
    return whole.reshape(n, 8, height // 8, 8, width // 8).mean(axis=(2, 4)).reshape(n, 64) / 255


def _texture(image: Array) -> list[float]:
    """Gradient (mean, deviation, 90th and 99th percentile), Laplacian, unlikeness of pixels 1, 2 and 4 apart."""
    down, across = np.gradient(image)
    slope = np.hypot(down, across)
    laplacian = np.abs(4 * image[1:-1, 1:-1] - image[:-2, 1:-1] - image[2:, 1:-1] - image[1:-1, :-2] - image[1:-1, 2:])
    spread = max(float(image.var()), 1e-6)
    unlike = [((image[:, k:] - image[:, :-k]) ** 2).mean() / (2 * spread) for k in (1, 2, 4)]
    return [slope.mean(), slope.std(), *np.quantile(slope, [0.9, 0.99]), laplacian.mean(), *np.sqrt(unlike)]


def _cooccurrence(image: Array) -> list[float]:
    """Contrast, homogeneity, energy and correlation of 16 grey levels in neighbours, across and down, both ways.

    [Haralick 1973, f2, f5, f1, f3]
    """
    level = (image >> 4).astype(np.intp)
    pairs = np.zeros(LEVELS * LEVELS)
    for a, b in ((level[:, :-1], level[:, 1:]), (level[:-1], level[1:])):
        pairs += np.bincount((a * LEVELS + b).ravel(), minlength=LEVELS * LEVELS)
    matrix = pairs.reshape(LEVELS, LEVELS)
    matrix = (matrix + matrix.T) / (2 * matrix.sum())
    i, j = np.mgrid[:LEVELS, :LEVELS]
    mean = float((i * matrix).sum())
    variance = float(((i - mean) ** 2 * matrix).sum())
    covariance = float(((i - mean) * (j - mean) * matrix).sum())
    correlation = covariance / variance if variance > 1e-12 else 1.0
    apart = (i - j) ** 2
    contrast, homogeneity = (apart * matrix).sum() / LEVELS, (matrix / (1 + apart)).sum()
    return [float(contrast), float(homogeneity), float(np.sqrt((matrix**2).sum())), correlation]


def _wavelet(image: Array) -> list[float]:
    """Mean power of a coefficient of the Haar wavelet's detail at three scales, in bels."""
    found = []
    for _ in range(3):
        a, b, c, d = quarters(image)
        detail = ((a - b + c - d) ** 2 + (a + b - c - d) ** 2 + (a - b - c + d) ** 2).mean() / 12
        found.append(float(np.log10(detail + 1e-6)))
        image = (a + b + c + d) / 2
    return found
