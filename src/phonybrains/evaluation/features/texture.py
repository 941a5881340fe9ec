"""Rulers: single numbers of an image's texture, each of which a person could read off with a ruler and a histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from .spectrum import BANDS, RINGS, log_power, noise, quarters

SIDES, SCALES = (4, 8, 16), (1, 2, 4)
"""Sides of blocks, and of the squares whose means are the pixels of a coarser image; each twice the one before."""
OF_BLOCKS, STEPS = (0.1, 0.25, 0.5, 0.75, 0.9), (2, 8, 32)
"""Quantiles over the blocks of an image, and grey levels that steps between neighbours exceed."""
END = 16
"""Grey levels of either end among which the floor and the ceiling of an image are looked for."""
NONE = 1e-9
"""Keeps what is divided by finite where an image shows nothing."""
LEAST = 32
"""Pixels a side: what sixteenths and quarters of an image still need."""


def place_of(ring: int) -> str:
    """Where a ring of the spectrum lies, in words: its middle as a share of the Nyquist frequency."""
    return f"{(ring + 0.5) / BANDS:.3f} of Nyquist"


FLAT, FLOOR, CEILING = "flat blocks of 8", "pixels at the floor", "pixels at the ceiling"
NAMES = (
    *(f"power at {place_of(k)}, dB" for k in range(RINGS)),
    *(f"power at {place_of(k)} over that an octave below, dB" for k in range(2, RINGS)),
    *("pixels at 0", FLOOR, "pixels at 255", CEILING, "grey levels in use"),
    *(f"flat blocks of {side}" for side in SIDES),
    *(f"deviation in blocks of {side}, quantile {q}" for side in SIDES for q in OF_BLOCKS),
    *(
        f"{what}, {scale} pixel{'s' * (scale > 1)}"
        for scale in SCALES
        for what in ("equal neighbours", *(f"steps above {step}" for step in STEPS), "kurtosis of steps", "grain")
    ),
    "noise",
)
"""What each column of `texture_features` is, in words."""


def texture_features(images: NDArray[np.uint8]) -> Array:
    """Single numbers of each image's texture, (n, H, W) uint8 in, (n, len(NAMES)) out; all finite.

    Power by ring of the spectrum (dB), and over that an octave below; shares of pixels at 0, at 255, at the commonest
    of the darkest and of the brightest 16 grey levels, and of the grey levels that are used; shares of blocks that have
    one value, and quantiles of the standard deviation within blocks; at three scales the shares of neighbours that are
    equal and that lie more than 2, 8 and 32 grey levels apart, the kurtosis of these steps, and grain (the correlation
    of neighbours in what their own four neighbours do not explain); noise in grey levels.

    Raises ValueError for images of fewer than LEAST pixels a side.
    """
    if min(images.shape[1:]) < LEAST:
        raise ValueError(f"texture needs images of at least {LEAST} pixels a side, not {min(images.shape[1:])}")
    power = log_power(images)
    falls = np.stack([power[:, k] - power[:, k // 2] for k in range(2, RINGS)], axis=1)
    coarse, steps = images.astype(np.float32), []
    for scale in SCALES:
        steps.append(_steps(coarse))
        coarse = np.mean(quarters(coarse), axis=0) if scale != SCALES[-1] else coarse
    return np.concatenate([power, falls, _ends(images), *_blocks(images), *steps, noise(images)[:, None]], axis=1)


class TextureFeatures:
    """The extractor of these features: no weights."""

    name, width, identity = "texture", len(NAMES), "texture-1"

    def __call__(self, images: NDArray[np.uint8]) -> Array:
        return texture_features(images).astype(np.float32)


def _blocks(images: NDArray[np.uint8]) -> tuple[Array, Array]:
    """Of aligned blocks of each side: shares of flat ones, (n, 3); quantiles of their deviations, (n, 3 · 5)."""
    total = images.astype(np.float64)
    squares = total**2
    flat, deviations = [], []
    for side in (2, *SIDES):
        total, squares = (np.sum(quarters(x), axis=0) for x in (total, squares))
        if side in SIDES:
            spread = (squares * side**2 - total**2).reshape(len(images), -1)  # whole numbers, so that 0 is exact
            flat.append((spread == 0).mean(axis=1))
            deviations.append(np.quantile(np.sqrt(spread) / side**2, OF_BLOCKS, axis=1).T)
    return np.stack(flat, axis=1), np.concatenate(deviations, axis=1)


def _ends(images: NDArray[np.uint8]) -> Array:
    """Shares of pixels at 0, at the floor, at 255, at the ceiling, and of the 256 grey levels that are used, (n, 5)."""
    counts = np.stack([np.bincount(image.ravel(), minlength=256) for image in images])
    ends = [counts[:, 0], counts[:, :END].max(axis=1), counts[:, 255], counts[:, -END:].max(axis=1)]
    return np.stack([*(one / images[0].size for one in ends), (counts > 0).mean(axis=1)], axis=1)


def _steps(x: Array) -> Array:
    """Of neighbours' differences, across and down: shares of 0 and of more than STEPS, kurtosis; and grain, (n, 6)."""
    sizes = [np.abs(np.diff(x, axis=axis)).reshape(len(x), -1) for axis in (1, 2)]
    shares = [np.mean([(s == 0).mean(axis=1) for s in sizes], axis=0)]
    shares += [np.mean([(s > step).mean(axis=1) for s in sizes], axis=0) for step in STEPS]
    squares = [s * s for s in sizes]
    second = np.mean([s.mean(axis=1, dtype=np.float64) for s in squares], axis=0)
    fourth = np.mean([(s * s).mean(axis=1, dtype=np.float64) for s in squares], axis=0)
    fine = x[:, 1:-1, 1:-1] - (x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]) / 4
    power = (fine**2).mean(axis=(1, 2), dtype=np.float64)
    alike = (fine[:, :, 1:] * fine[:, :, :-1]).mean(axis=(1, 2), dtype=np.float64)
    kurtosis, grain = fourth / np.maximum(second, NONE) ** 2, alike / np.maximum(power, NONE)
    return np.column_stack([*shares, kurtosis, grain])
