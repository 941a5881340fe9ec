"""Power by spatial frequency, and noise: images (n, H, W) uint8 in, numbers out."""

from __future__ import annotations

import numpy as np
from numpy.fft import fftfreq, rfft2, rfftfreq

from ..arrays import Array

BANDS = 20
"""Bands of spatial frequency, of equal width up to the Nyquist frequency."""
RINGS = 19
"""Those of them that are compared: the outermost, which a square grid hardly fills, is left out."""
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


def log_power(images: Array) -> Array:
    """Mean power of each image in the rings up to 95 % of the Nyquist frequency, in dB, (n, RINGS).

    Less than rounding to whole grey levels leaves counts as that, so that an image that shows nothing has a power too.
    """
    window = np.outer(*(np.hanning(side + 1)[:-1] for side in images.shape[1:]))
    rounding = (window**2).sum() / 12
    return 10 * np.log10(np.maximum(radial_power(images)[:, :RINGS], rounding))


def spectrum_difference(made: Array, real: Array) -> Array:
    """How far the power of made images (m, H, W) lies above that of real ones (n, H, W), in dB for each ring, (RINGS,).

    It is the difference of means over images of the logarithm, not the logarithm of mean power: power differs by orders
    of magnitude from slice to slice, so that a mean of it is that of the few strongest images, while here each image
    counts alike. A filter of gain g shows as 20 log g either way.
    """
    return log_power(made).mean(axis=0) - log_power(real).mean(axis=0)


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
