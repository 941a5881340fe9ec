"""How far two sets of feature vectors, each (n, d), lie apart: KID, MMD with permutations, Fréchet distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...statistics.estimate import Estimate, t_estimate
from ..arrays import Array

Kernel = Callable[[Array, Array], Array]
People = Sequence[Any] | None
BLOCK = 2000
"""Images at a time where a kernel of all would not fit: KID of more is a mean over blocks."""


def kid(x: Array, y: Array, paired: bool = False, people: People = None) -> tuple[float, float]:
    """Kernel Inception Distance: unbiased squared MMD of the kernel (x·y/d + 1)³, and its jackknife standard error.

    paired: x_i was made from y_i, so that the two are never compared. people: whose each image of y is, by default each
    another's; the error is theirs, the value that of all images. Memory grows with n²: `kid_of_blocks` for thousands.
    [Binkowski 2018, sec. 4; Gretton 2012, eq. 3 and, paired, eq. 4]
    """
    within_x, within_y, between = polynomial(x, x), polynomial(y, y), polynomial(x, y)
    if paired:
        return _paired(within_x + within_y - between - between.T)
    return mmd_of(within_x, within_y, between, (None, people))


def kid_of_people(x: Array, y: Array, people_x: People, people_y: People) -> tuple[float, float]:
    """KID in which images of one person are not compared with each other, and its standard error by person.

    Slices of one person are alike: compared, they would take a few people for all that a set is like, and sets of one
    source, of which only one has slices, for two. people: whose each image is, None for each another's.
    """
    return mmd_of(polynomial(x, x), polynomial(y, y), polynomial(x, y), (people_x, people_y), strangers=True)


def mmd_of(
    within_x: Array,
    within_y: Array,
    between: Array,
    people: tuple[People, People] = (None, None),
    strangers: bool = False,
) -> tuple[float, float]:
    """Unbiased squared MMD of kernels (m, m), (n, n), (m, n), and its standard error by leaving out one person at a
    time; NaN with one person on a side, or where too few images are left.

    strangers: within a side only images of different people are compared.  [jackknife of groups: Shao & Tu 1995]
    """
    m, n = between.shape
    x, variance_x = _of_side(within_x, between.sum(axis=1) / n, people[0], strangers)
    y, variance_y = _of_side(within_y, between.sum(axis=0) / m, people[1], strangers)
    return float(x + y + 2 * between.mean()), float(np.sqrt(variance_x + variance_y))


def _of_side(within: Array, across: Array, people: People, strangers: bool) -> tuple[float, float]:
    """The mean kernel within a side less twice that to the other side, and its variance by the jackknife.

    across: (n,) the mean of each image's kernel with the other side's.
    """
    n, codes = len(within), np.arange(len(within))
    rows, own = within.sum(axis=1) - within.diagonal(), np.zeros(n)  # to the others, and to those of the same person
    each, near = np.full(n, n - 1.0), np.zeros(n)  # how many these are
    if people is not None:
        codes = np.unique(np.asarray(people), return_inverse=True)[1]
        same = codes[:, None] == codes
        own, near = (within * same).sum(axis=1) - within.diagonal(), same.sum(axis=1) - 1.0
    if strangers:
        rows, each, own, near = rows - own, each - near, 0 * own, 0 * near

    def without(lost: Array, whole: Array) -> Array:
        """What is left of a sum without each person, and last the whole."""
        return whole.sum() - np.append(np.bincount(codes, lost), 0)

    sums, pairs = without(2 * rows - own, rows), without(2 * each - near, each)
    left = without(across, across) / np.maximum(without(np.ones(n), np.ones(n)), 1)
    values = np.divide(sums, pairs, out=np.full(len(sums), np.nan), where=pairs > 0) - 2 * left
    variance = (len(values) - 2) * values[:-1].var() if len(values) > 2 else np.nan
    return float(values[-1]), float(variance)


def kid_interval(value: float, error: float, n: int, people: Sequence[Any]) -> Estimate | None:
    """A distance with its 95 % interval, t having as many degrees of freedom as the people of its smaller side allow;
    None where there is no error."""
    df = len(set(people)) - 1
    return t_estimate(value, error, n, df=df) if np.isfinite(error) and df > 0 else None


def _paired(h: Array) -> tuple[float, float]:
    n, rows = len(h), h.sum(axis=1) - h.diagonal()
    value = rows.sum() / (n * (n - 1))
    without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2)) if n > 2 else np.array([np.nan])
    return float(value), float(np.sqrt((n - 1) * without.var()))


def kid_of_blocks(x: Array, y: Array, size: int = BLOCK, seed: int = 0, people: People = None) -> tuple[float, float]:
    """KID as the mean over disjoint random blocks of at most `size` images a side, and its standard error.

    Unbiased like KID of all, in O(n · size) time and O(size²) memory. Where both sides are larger than a block, each
    block of one meets one of the other; a side that fits into one block is used whole in each, and the error is then
    that of a single block, an upper bound. For one block it is `kid`. people: whose each image of y is.
    [Zaremba 2013, B-test]
    """
    rng, count = np.random.default_rng(seed), -(-max(len(x), len(y)) // size)
    if count == 1:
        return kid(x, y, people=people)
    whole = [len(side) <= size for side in (x, y)]
    if not any(whole):
        count = min(count, len(x) // 2, len(y) // 2)
    blocks = [
        [slice(None)] * count if all_in else np.array_split(rng.permutation(len(side)), count)
        for side, all_in in zip((x, y), whole, strict=True)
    ]
    who = np.arange(len(y)) if people is None else np.asarray(people)
    values, errors = np.array([kid(x[i], y[j], people=who[j].tolist()) for i, j in zip(*blocks, strict=True)]).T
    error = errors.mean() if any(whole) else values.std(ddof=1) / np.sqrt(count)
    return float(values.mean()), float(error)


def polynomial(x: Array, y: Array) -> Array:
    """The kernel (x·y/d + 1)³ of each pair, (m, n)."""
    base = x.astype(np.float64) @ y.astype(np.float64).T
    base /= x.shape[1]
    base += 1
    cube = base * base  # a power would take twenty times as long
    cube *= base
    return cube


def gaussian(width: float) -> Kernel:
    """The kernel exp(-|x - y|²/2σ²) of that σ."""
    return lambda x, y: np.exp(-squared_distances(x, y) / (2 * width**2))


def median_distance(x: Array, most: int = 1000, seed: int = 0) -> float:
    """The median distance of two of these points, of at most so many: the usual width of a Gaussian kernel."""
    x = x[np.random.default_rng(seed).permutation(len(x))[:most]]
    apart = squared_distances(x, x)[np.triu_indices(len(x), 1)]
    return float(np.sqrt(np.median(apart))) if len(apart) and np.median(apart) > 0 else 1.0


def squared_distances(x: Array, y: Array) -> Array:
    """|x - y|² of each pair, (m, n), float64, never below 0."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    middle = y.mean(axis=0)  # distances do not change, and cancel less
    x, y = x - middle, y - middle
    return np.maximum((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T, 0)


def mmd_test(x: Array, y: Array, kernel: Kernel, permutations: int, seed: int = 0) -> tuple[float, float]:
    """Unbiased squared MMD, and its p: the share of random divisions of all images that lie as far apart.

    Exact at its level if images are independent; slices of one patient are not, and make it reject more often.
    Time and memory grow with (m + n)².  [Gretton 2012, eq. 3 and sec. 3]
    """
    both, m, n = np.concatenate([x, y]), len(x), len(y)
    gram = kernel(both, both)
    np.fill_diagonal(gram, 0)
    total = gram.sum()

    def statistic(members: Array) -> Array:
        """MMD² where `members` (m + n, draws), 0 or 1, are the first set."""
        through = gram @ members
        inside = (members * through).sum(axis=0)
        across = through.sum(axis=0) - inside
        outside = total - inside - 2 * across
        return inside / (m * (m - 1)) + outside / (n * (n - 1)) - 2 * across / (m * n)

    first = np.arange(m + n) < m
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(first.astype(np.float64), (permutations, 1)), axis=1).T
    value, drawn = float(statistic(first[:, None].astype(np.float64))[0]), statistic(shuffled)
    return value, float((1 + (drawn >= value - 1e-12 * abs(value)).sum()) / (1 + permutations))


def frechet(mean_x: Array, covariance_x: Array, mean_y: Array, covariance_y: Array) -> float:
    """Squared Fréchet distance of two Gaussians.  [Dowson 1982, eq. 4]"""
    values, vectors = np.linalg.eigh(covariance_x)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_y @ root).clip(0)).sum()
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(covariance_x) + np.trace(covariance_y) - 2 * cross)


def frechet_of(x: Array, y: Array) -> float:
    """Squared Fréchet distance of two sets, with covariances shrunk for few images.  [Ledoit 2004]

    It grows as n falls, so compare only distances of the same n.
    """
    from sklearn.covariance import ledoit_wolf

    x, y = x.astype(np.float64), y.astype(np.float64)
    return frechet(x.mean(axis=0), ledoit_wolf(x)[0], y.mean(axis=0), ledoit_wolf(y)[0])


def fid(x: Array, y: Array) -> float:
    """Squared Fréchet distance with plain covariances, as FID is defined: for Inception's features.  [Heusel 2017]

    Of two samples, not of two covariances: the root of their product has the singular values of Xᶜ Yᶜᵀ, so that with
    fewer images than features it takes n² and not d² numbers.
    """
    if min(len(x), len(y)) >= x.shape[1]:
        return frechet(*moments(x), *moments(y))
    x, y = x.astype(np.float64), y.astype(np.float64)
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    x, y = ((side - side.mean(axis=0)) / np.sqrt(len(side) - 1) for side in (x, y))
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(shift + (x**2).sum() + (y**2).sum() - 2 * cross)


def frd(x: Array, y: Array) -> float:
    """Fréchet radiomics distance of x from y: log squared Fréchet distance in units of y's deviations.

    Features that vary in y by less than a millionth of how they vary in both are left out: frd-score leaves out only
    those that do not vary at all, and rounding may then be all that its figure shows. A set's distance from itself, 0,
    is shown as that of 1e-12. The logarithm is of the square, as frd-score gives it; that of the paper's equation is
    half of it.  [Konz 2026, eq. 3]
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    deviation = y.std(axis=0)
    varies = deviation > 1e-6 * np.concatenate([x, y]).std(axis=0)
    x, y = ((side[:, varies] - y[:, varies].mean(axis=0)) / deviation[varies] for side in (x, y))
    return float(np.log(max(fid(x, y), 1e-12)))


def moments(x: Array) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) in double precision, read a block at a time: O(d²) memory beside the features."""
    blocks = [slice(start, start + BLOCK) for start in range(0, len(x), BLOCK)]
    mean = np.sum([x[block].sum(axis=0, dtype=np.float64) for block in blocks], axis=0) / len(x)
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for block in blocks:
        centred = x[block].astype(np.float64) - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(x) - 1)


def standardise(x: Array, reference: Array, least: float = 0.01) -> Array:
    """Features in units of the reference's deviation, taken as no smaller than `least`."""
    return (x - reference.mean(axis=0)) / np.maximum(reference.std(axis=0), least)
