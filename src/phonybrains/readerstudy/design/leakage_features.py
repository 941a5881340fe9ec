"""What a machine can measure on an image, in two groups: how it was stored, and how it looks.

An *encoding* feature is made so that what images show hardly moves it: a trace counts only beyond what noise, anatomy
and the grid of a neural decoder leave, below that it is 0 for all. *Image statistics* are left as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.fft import dctn

from .leakage_windows import BLOCK, Features, Image, Values, blocks_of

EDGE = 8  # pixels
BINS = 256  # of the spectra, whatever the image's size
STEADY = 6.0  # expected pixels of a grey level; fewer can be none by chance (e⁻⁶)
NOISE_PEAK, GRID_PEAK, COMB_PEAK, LEVELS_MISSING = 2.3, 3.8, 6.0, 0.03  # what no stored image of ours exceeds
QUANTIZERS, FEW, JPEG_STEPS = range(2, 25), 24, 0.5
LOW_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
TINY = 1e-9


def encoding_features(image: Image) -> Features:
    """Traces of storing: grey levels, blocks of JPEG, resampling."""
    return {
        **_levels(image),
        "copied rows": _copied(image) + _copied(image.T),
        "steps of JPEG": _quantization(image),
        "blocking": _blocking(image),
        "resampling": _resampling(image),
    }


def missing_levels(image: Image) -> set[int]:
    """Grey levels that no pixel has though their neighbours say that several should."""
    lowest = int(image.min())
    histogram, expected = _histogram(image)
    return {lowest + int(level) for level in np.flatnonzero((histogram == 0) & (expected >= STEADY))}


def image_statistics(image: Image) -> Features:
    """What readers may see too: brightness, contrast, noise, sharpness, spectrum, the grid of a decoder."""
    values = image.astype(np.float64)
    fine = values - ndimage.gaussian_filter(values, 1.5)
    shares = _counts(image) / image.size
    shares = shares[shares > 0]
    grid = _line_spectrum(values)
    return {
        "mean": float(values.mean()),
        "contrast": float(values.std()),
        "entropy": float(-(shares * np.log2(shares)).sum()),
        "dark share": float((image == image.min()).mean()),
        "bright share": float((image == image.max()).mean()),
        "noise": float(np.median(np.abs(fine))),
        "sharpness": float(np.quantile(np.abs(fine), 0.95)),
        **_spectrum(values),
        **{f"grid of {period}": _peak(grid, period) for period in (2, 4, 8)},
    }


def _counts(image: Image) -> NDArray[np.int64]:
    """How many pixels each grey level has, from the darkest on."""
    return np.bincount((image.astype(np.int32) - int(image.min())).ravel())


def _histogram(image: Image) -> tuple[Values, Values]:
    """Pixels of each grey level, and how many its neighbours let expect: the mean below or above, the smaller."""
    histogram = _counts(image).astype(np.float64)
    half = max(4, len(histogram) // 128)
    if len(histogram) < 2 * half + 3:
        return histogram, np.zeros_like(histogram)
    sums = np.concatenate([np.zeros(half + 1), np.cumsum(histogram[1:-1]), np.zeros(half)])  # the ends may be clipped
    sums[-half:] = sums[-half - 1]
    means = (sums[half:] - sums[:-half]) / half  # of the levels i - half … i - 1 of the inner ones
    inner = len(histogram) - 2
    return histogram, np.concatenate([[0], np.minimum(means[:inner], means[half + 1 : half + 1 + inner]), [0]])


def _levels(image: Image) -> Features:
    """Grey levels that are missing or come in a regular comb."""
    histogram, expected = _histogram(image)
    occupied, possible = float((histogram[1:-1] > 0).sum()), float((1 - np.exp(-expected[1:-1])).sum())
    lacking = 1 - occupied / possible if possible > 8 else 0.0
    steady = expected >= STEADY
    excess = np.where(steady, np.clip((histogram - expected) / np.sqrt(expected + 1), -5, 5), 0)
    spectrum = np.abs(np.fft.rfft(excess))
    spectrum = spectrum[max(1, len(spectrum) // 16) :]
    comb = float(spectrum.max() / (np.median(spectrum) + TINY)) if steady.sum() > 32 else 0.0
    return {"grey levels": max(0.0, lacking - LEVELS_MISSING), "comb of grey levels": max(0.0, comb - COMB_PEAK)}


def _blocking(image: Image) -> float:
    """How much one step in eight, and that one alone, is higher than its neighbours: the border of JPEG's blocks.

    A decoder's grid has several steps in eight, so that its borders do not stand alone.
    """
    values = _inside(image)
    steps = np.zeros(8)
    for lines in (values, values.T):
        step = np.abs(np.diff(lines, axis=1))
        higher = np.clip(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2, -6, 6).mean(axis=0)
        places = np.arange(1, step.shape[1] - 1) % 8
        steps += np.array([higher[places == k].mean() for k in range(8)])
    aligned = steps[7] - np.delete(steps, 7).max()
    anywhere = np.sort(steps)[-1] - np.sort(steps)[-2]
    return float(max(0.0, aligned - 0.05, anywhere - 0.3))


def _quantization(image: Image) -> float:
    """How strongly the coefficients of aligned 8 × 8 blocks lie on multiples of one number, as JPEG leaves them.

    The mean over low frequencies of the largest mean of cos 2πc/q over q; blocks with clipped values are left out.
    """
    blocks = blocks_of(image.astype(np.float64))
    inside = (blocks.min(axis=1) > blocks.min()) & (blocks.max(axis=1) < blocks.max())
    coefficients = np.asarray(dctn(blocks[inside].reshape(-1, BLOCK, BLOCK), axes=(1, 2), norm="ortho"))
    strengths = []
    for u, v in LOW_FREQUENCIES:
        sizes = np.abs(coefficients[:, u, v])
        far = ((q, sizes[sizes > 0.75 * q]) for q in QUANTIZERS)
        strengths.append(max((np.cos(2 * np.pi * c / q).mean() for q, c in far if len(c) >= FEW), default=0.0))
    mean = float(np.mean(strengths))
    return 0.2 * (mean // 0.2) if mean > JPEG_STEPS else 0.0  # in steps, as the rest is the image's own


def _resampling(image: Image) -> float:
    """Peaks of the third difference's spectrum: off the eighths, where JPEG and decoders have theirs, or high at ½."""
    power = _line_spectrum(_inside(image))
    eighths = np.arange(BINS // 8, BINS // 2 + 1, BINS // 8)
    off = np.delete(power, np.concatenate([eighths + k for k in range(-3, 4)]).clip(0, BINS // 2))[8:]
    return max(0.0, float(off.max()) - NOISE_PEAK) + max(0.0, _peak(power, 2) - GRID_PEAK)


def _copied(image: Image) -> float:
    """The share of rows that show something and are equal to the row before."""
    shows = np.ptp(image, axis=1)[1:] > 8
    equal = (np.diff(image.astype(np.int32), axis=0) == 0).all(axis=1)
    return float((equal & shows).sum() / max(int(shows.sum()), 1))


def _line_spectrum(values: Values) -> Values:
    """Logarithm of the power at 0…½ cycles a pixel of the mean third difference along rows and columns, over its
    neighbourhood: what repeats at one distance all over the image stands out.  [Gallagher 2005, of the second]"""
    power = np.zeros(BINS // 2 + 1)
    for lines in (values, values.T):
        third = np.abs(np.diff(lines, 3, axis=1))
        profile = np.minimum(third, 12).mean(axis=0)
        profile = (profile - ndimage.median_filter(profile, 9)) * np.hanning(len(profile))
        length = -(-len(profile) // BINS) * BINS  # the same frequencies whatever the length
        power += np.abs(np.fft.rfft(profile, length)[:: length // BINS]) ** 2
    return np.log(power / (ndimage.median_filter(power, 21) + TINY) + 1e-3)


def _peak(power: Values, period: int) -> float:
    """Mean height of the peaks at the multiples of 1/period."""
    at = [round(BINS * k / period) for k in range(1, period // 2 + 1)]
    return float(np.mean([power[max(0, k - 1) : k + 2].max() for k in at]))


def _spectrum(values: Values) -> Features:
    """Slope of the radial power spectrum, the share of its outer fifth, and how alike neighbours are in fine detail."""
    window = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])
    power = np.abs(np.fft.fft2((values - values.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(values.shape[0])[:, None], np.fft.fftfreq(values.shape[1]))
    starts = np.arange(0.05, 0.5, 0.05)
    bands = np.array([np.log(power[(radius >= r) & (radius < r + 0.05)].mean() + TINY) for r in starts])
    fine = values - ndimage.median_filter(values, 5)
    alike = (fine[:, 1:] * fine[:, :-1]).mean() / (fine**2).mean() if fine.any() else 0.0
    return {
        "spectrum slope": float(np.polyfit(np.log(starts + 0.025), bands, 1)[0]),
        "high band": float(bands[-2:].mean() - bands[4:6].mean()),
        "grain": float(alike),
    }


def _inside(image: Image) -> Values:
    """The image without its edge, in 0…255 where it has more levels, so that limits in grey levels hold for it too."""
    spread = float(np.ptp(image))
    return image[EDGE:-EDGE, EDGE:-EDGE].astype(np.float64) * (255 / spread if spread > 255 else 1.0)
