"""Is the noise that of the scanner? Background of MR, tissue of CT: one number an image, in the unit of its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, convolve, label

from ...imageset import ImageSet
from ...statistics.bootstrap import Drawn, drawn_again
from ...statistics.estimate import Estimate
from ...wording import count_of
from ..score import Progress, silent

Array = NDArray[Any]
LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
SOFT_HU = (6.0, 74.0)
SOFT_SHARE = (0.08, 0.92)
FEWEST = 50
DRAWS = 1000
BY_MODALITY = {"MR": ("noise_background", "noise_tissue"), "CT": ("noise_tissue", "spread_tissue")}


def background_sigma(values: Array, _tissue: Array | None = None) -> float:
    """σ of the noise of an MR magnitude image, (H, W), from the air around the head; NaN where there is too little.

    Rician noise without signal is Rayleigh's, whose mean square is 2σ².  [Gudbjartsson 1995, eq. 4 and 5]
    """
    head = binary_fill_holes(_bright(values))
    air = np.logical_not(binary_dilation(head, iterations=max(2, min(values.shape) // 40)))
    return float(np.sqrt((values[air] ** 2).mean() / 2)) if air.sum() >= FEWEST else float("nan")


def tissue_noise(values: Array, tissue: Array) -> float:
    """σ of white noise in tissue, (H, W) booleans, from the difference of two Laplacians, blind to slopes and planes.

    Structure adds to it, smoothing takes away.  [Immerkær 1996, eq. 3, by the mean absolute response]
    """
    if tissue.sum() < FEWEST:
        return float("nan")
    response = convolve(values.astype(np.float32), LAPLACIANS, mode="nearest")
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(response[tissue]).mean())


def tissue_spread(values: Array, tissue: Array) -> float:
    """Robust deviation of the values in tissue: 1.4826 times the median distance from the median."""
    inside = values[tissue]
    return float(1.4826 * np.median(np.abs(inside - np.median(inside)))) if len(inside) >= FEWEST else float("nan")


MEASURES = {"noise_background": background_sigma, "noise_tissue": tissue_noise, "spread_tissue": tissue_spread}


def soft_tissue(values: Array, modality: str, unit: str, full: float) -> Array:
    """Soft tissue away from its borders, (H, W): CT by its value, else what is bright enough in the head.

    full: the largest value that can be stored, for values that are not in HU.
    """
    if modality == "CT":
        low, high = SOFT_HU if unit == "HU" else (SOFT_SHARE[0] * full, SOFT_SHARE[1] * full)
        return np.asarray(binary_erosion((values > low) & (values < high) & _head(values), iterations=2))
    return np.asarray(binary_erosion(_head(values) & (values > 0.15 * np.quantile(values, 0.99)), iterations=2))


def measure(images: ImageSet, numbers: Sequence[int], progress: Progress = silent) -> dict[str, Array]:
    """The measures of images of one modality, each (n,), NaN where one could not be had."""
    modality = images.rows[numbers[0]].modality
    names = BY_MODALITY.get(modality, ("noise_tissue",))
    found = np.full((len(names), len(numbers)), np.nan)
    for i, number in enumerate(numbers):
        row, values = images.rows[number], images.values(number)
        tissue = soft_tissue(values, modality, row.unit, row.slope * (2**images.bits - 1) + row.intercept)
        found[:, i] = [MEASURES[name](values, tissue) for name in names]
        progress(f"noise, {modality}", i + 1, len(numbers))
    return dict(zip(names, found, strict=True))


def _bright(values: Array) -> Array:
    """What is brighter than a quarter of what is bright."""
    return values > values.min() + 0.25 * (np.quantile(values, 0.95) - values.min())


def _head(values: Array) -> Array:
    """The largest bright region and what it encloses."""
    regions, count = label(binary_dilation(_bright(values)))  # pyright: ignore[reportGeneralTypeIssues]
    if not count:
        return np.zeros(values.shape, dtype=bool)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return np.asarray(binary_fill_holes(regions == sizes.argmax()))


def compare(
    made: Array, real: Array, people: Sequence[str], rng: np.random.Generator
) -> tuple[Estimate, Estimate, float]:
    """Means of generated and of real images with bootstrap intervals, and p that they are alike.

    Generated images are drawn again one by one, real ones by person.

    Raises ValueError where fewer than five images of a side could be measured.
    """
    keep = np.isfinite(real)
    made, real, people = made[np.isfinite(made)], real[keep], [who for who, k in zip(people, keep, strict=True) if k]
    if min(len(made), len(real)) < 5:
        raise ValueError(f"only {len(made)} generated and {count_of(len(real), 'real image')} could be measured")
    persons, again = len(set(people)), drawn_again(people, DRAWS, rng)
    real_draws = again @ real / again.sum(axis=1)
    chance = np.full(len(made), 1 / len(made))  # one draw at a time: all of 100,000 images would take 0.8 GB
    made_draws = np.array([rng.multinomial(len(made), chance) @ made for _ in range(DRAWS)]) / len(made)
    one = Drawn(float(made.mean()), made_draws, len(made), (0, np.inf))
    other = Drawn(float(real.mean()), real_draws, persons, (0, np.inf))
    return one.estimate(len(made)), other.estimate(len(real)), one.minus(other).p_value()
