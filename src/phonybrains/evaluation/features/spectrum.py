"""Power by spatial frequency, and noise: images (n, H, W) uint8 in, numbers out."""

from __future__ import annotations

import numpy as np
from numpy.fft import fftfreq, rfft2, rfftfreq

from ..arrays import Array

BANDS = 20
"""Bands of spatial frequency, of equal width up to the Nyquist frequency."""
FAINT = 1e-3
"""Power below what rounding to 8 bits leaves; keeps the logarithm of none finite."""


def radial_power(images: Array) -> Array:
    """Mean power of each image in rings of spatial frequency up to the Nyquist frequency, (n, BANDS); no mean grey.

    A Hann window keeps what is cut off at the border from leaking into the high frequencies.
    """
    height, width = images.shape[1:]
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1]).astype(np.float32)
    radius = np.hypot(fftfreq(height)[:, None], rfftfreq(width)[None]) / 0.5
    ring = np.minimum((radius * BANDS).astype(int), BANDS)
    ring[0, 0] = BANDS
    count = np.bincount(ring.ravel(), minlength=BANDS + 1)[:BANDS]
    rows = []
    for image in images:
        centred = image.astype(np.float32) - np.float32((image * window).sum() / window.sum())
        power = np.abs(rfft2(centred * window)) ** 2
        rows.append(np.bincount(ring.ravel(), power.ravel(), BANDS + 1)[:BANDS] / np.maximum(count, 1))
    return np.array(rows)


def frequencies() -> Array:
    """The middle of each band in cycles a pixel, (BANDS,)."""
    return (np.arange(BANDS) + 0.5) / BANDS * 0.5


def ratio_db(power: Array, reference: Array) -> Array:
    """Mean of powers (m, bands) over the mean of others (n, bands), in dB for each band."""
    return 10 * np.log10((power.mean(axis=0) + FAINT) / (reference.mean(axis=0) + FAINT))


def worst_db(ratio: Array) -> float:
    """The largest deviation up to 80 % of the Nyquist frequency."""
    return float(np.abs(ratio[: round(0.8 * len(ratio))]).max())


def quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    """The pixels at each place of squares of 2×2, (…, H, W) to four (…, H/2, W/2); a last odd row or column is left."""
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    return x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]


def noise(images: Array) -> Array:
    """Standard deviation of each image's noise in grey levels, (n,): the median of |d|/0.6745 over the finest diagonal
    detail d of the Haar wavelet, where the image shows something (not black).  [Donoho 1994, sec. 4.2]"""
    found = []
    for image in images:
        a, b, c, d = quarters(image.astype(np.float32))
        detail = np.abs(a - b - c + d)[(a + b + c + d) > 0] / 2
        found.append(float(np.median(detail)) / 0.6745 if detail.size else 0.0)
    return np.array(found)


def in_db(power: Array) -> Array:
    """The mean of powers (n, bands), in dB for each band."""
    return 10 * np.log10(power.mean(axis=0) + FAINT)
