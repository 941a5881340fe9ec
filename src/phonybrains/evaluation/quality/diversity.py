"""Are the images of a set as unlike each other as real ones are? MS-SSIM of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ...imageset import ImageSet
from ...statistics.estimate import t_estimate, t_p_value
from ..arrays import Array
from ..features.shards import pixels_of
from ..features.spectrum import quarters
from ..inputs.sides import Side
from ..score import Null, Score, unavailable

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SIGMA, TAPS = 1.5, 11  # pixels
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(x: Array, y: Array) -> Array:
    """Multi-scale structural similarity of pairs of images (n, H, W) in 0…255, (n,); 1 for equal ones.

    Five scales from 176 pixels a side on; smaller images have as many as an 11-pixel window fits in, their weights
    made to sum to 1 again.  [Wang 2003, eq. 7 with its weights; windows that leave the image are not counted]
    """
    x, y = x.astype(np.float32), y.astype(np.float32)
    scales = sum(min(x.shape[1:]) // 2**i >= TAPS for i in range(len(WEIGHTS)))
    if not scales:
        raise ValueError(f"MS-SSIM needs images of at least {TAPS} pixels a side.")
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    found = np.ones(len(x))
    for i in range(scales):
        luminance, structure = _ssim_parts(x, y)
        found *= np.maximum(structure, 0) ** weights[i]
        if i == scales - 1:
            found *= np.maximum(luminance, 0) ** weights[i]
        x, y = (np.mean(quarters(each), axis=0) for each in (x, y))
    return found


def _ssim_parts(x: Array, y: Array) -> tuple[Array, Array]:
    """Mean luminance × contrast-structure over contrast-structure, and mean contrast-structure, each (n,)."""
    mean_x, mean_y, xx, yy, xy = (_smooth(each) for each in (x, y, x * x, y * y, x * y))
    structure = (2 * (xy - mean_x * mean_y) + C2) / (xx - mean_x**2 + yy - mean_y**2 + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    means = structure.mean(axis=(1, 2), dtype=np.float64)
    both = (luminance * structure).mean(axis=(1, 2), dtype=np.float64)
    return both / np.where(means == 0, 1, means), means


def _smooth(x: Array) -> Array:
    edge = TAPS // 2
    return gaussian_filter(x, (0, SIGMA, SIGMA), radius=(0, edge, edge))[:, edge:-edge, edge:-edge]


def random_pairs(groups: Sequence[str], most: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random pairs of numbers, each number in one pair at most, of different groups: independent of each other."""
    pairs, waiting = list[tuple[int, int]](), list[int]()
    for i in rng.permutation(len(groups)).tolist():
        partner = next((k for k in waiting if groups[k] != groups[i]), None)
        if partner is None:
            waiting.append(i)
        else:
            waiting.remove(partner)
            pairs.append((partner, i))
    return pairs[:most]


def error_of_pairs(values: Array, people: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The standard error of the mean of pairs, (n,), and its degrees of freedom, where pairs may share people.

    Pairs that share somebody go together, and what the mean itself takes from few people is given back; it is at
    least that of independent pairs, and exactly that where nobody is in two.  Raises ValueError with fewer than 3
    people.  [dyadic clusters: Fafchamps & Gubert 2007, eq. 2.6; Aronow 2015, Political Analysis 23:564]
    """
    n, (names, codes) = len(values), np.unique(np.asarray(people), return_inverse=True)
    plain, count = float(values.std(ddof=1)) / np.sqrt(n), len(names)
    if count == 2 * n:
        return plain, n - 1
    if count < 3:
        raise ValueError(f"pairs of only {count} people: at least 3 are needed")
    off, ends = values - values.mean(), np.sort(codes.reshape(-1, 2), axis=1)
    each = np.bincount(ends[:, 0], off, count) + np.bincount(ends[:, 1], off, count)
    of_two = np.bincount(ends[:, 0] * count + ends[:, 1], off)
    shared = ((each**2).sum() - (of_two**2).sum()) / n**2 * count * (count - 1) / (count - 2) ** 2
    return float(np.sqrt(max(shared, plain**2))), min(n, count) - 2


def diversity_score(side: Side, seed: int, most: int = 100) -> Score:
    """Mean MS-SSIM of independent random pairs of made images beside that of real ones of different patients.

    The null is where the mean of as many real pairs lies, the real mean itself being uncertain; p by Welch's t-test.
    Real pairs that share a patient are not taken for independent.
    """
    where: dict[str, Any] = {"versus": "real pairs of two patients", "modality": side.modality}
    rng = np.random.default_rng([seed, 2])
    made = random_pairs([str(i) for i in range(len(side.made))], most, rng)
    real = random_pairs(side.groups, most, rng)
    if min(len(made), len(real)) < 5:
        return unavailable("ms_ssim_diversity", "fewer than 5 pairs of images a side", **where)
    try:
        x, y = _likeness(side.made, made), _likeness(side.real, real)
        error, df = error_of_pairs(y, [(side.groups[a], side.groups[b]) for a, b in real])
    except ValueError as reason:
        return unavailable("ms_ssim_diversity", str(reason), **where)
    n, m = len(x), len(y)
    own = float(x.std(ddof=1) / np.sqrt(n))
    found = t_estimate(float(x.mean()), own, n, df=n - 1)
    both = float(np.hypot(float(y.std(ddof=1)) / np.sqrt(n), error))
    null = Null.of(t_estimate(float(y.mean()), both, m, df=df), m)
    p = welch_p(found.value - float(y.mean()), own, n, error, df)
    return Score.of("ms_ssim_diversity", found, null=null, p=p, note=f"{n} pairs", **where)


def welch_p(apart: float, own: float, n: int, error: float, df: float) -> float:
    """Two-sided p that means that lie apart are one, of n values with standard error `own`, and of others with `error`
    of df degrees of freedom; 0 or 1 where nothing varies.  [Welch 1947]"""
    a, b = own**2, error**2
    if a + b < 1e-18:
        return float(abs(apart) < 1e-9)
    return t_p_value(apart / float(np.sqrt(a + b)), (a + b) ** 2 / (a**2 / (n - 1) + b**2 / df))


def _likeness(images: ImageSet, pairs: Sequence[tuple[int, int]]) -> Array:
    chunks = [pairs[i : i + 16] for i in range(0, len(pairs), 16)]
    sides = ([pixels_of(images, side) for side in zip(*chunk, strict=True)] for chunk in chunks)
    return np.concatenate([ms_ssim(x, y) for x, y in sides])
