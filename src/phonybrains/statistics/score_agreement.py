"""Score intervals of agreement, κ, AC1 and α: with patients kept together, and never without width.

Two raters' calls form a (C, C) table of shares; 1 - κ is the disagreement D over the disagreement E that chance gives.
As Wilson's interval of a share takes the variance at each share in question, these take it at each table in question:
on a path through the observed table from one of agreement to one of disagreement that keeps to its margins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .estimate import Estimate, normal_quantile, t_quantile
from .multireader import patient_numbers
from .reliability import rating_counts

AgreementMeasure = Literal["agreement", "Cohen", "Fleiss", "AC1", "Krippendorff"]
Array = NDArray[np.float64]
STEPS = 100


def score_agreement(
    ratings: ArrayLike,
    measure: AgreementMeasure,
    categories: ArrayLike,
    patients: ArrayLike | None = None,
    level: float = 0.95,
    value: float | None = None,
) -> Estimate:
    """A measure of agreement with its score interval; n is the number of units that two raters or more rated.

    ratings: (units, raters), NaN where missing; Cohen's κ takes two raters. patients: (units,). value: the estimate, by
    default the measure of the mean table of pairs. The variance of a table is stretched by the ratio, in the observed
    one, of the variance over patients to that of independent pairs; where no two calls differ each patient counts once.
    Raises ValueError with no unit rated twice, or where chance leaves no disagreement: κ and α are then not defined.
    [score intervals: Wilson 1927; of κ: Donner & Eliasziw 1992, Statistics in Medicine 11:1511; variances by the
    influence function, which for two raters are those of Fleiss, Cohen & Everitt 1969 and Gwet 2008]
    """
    codes, table = np.asarray(categories, dtype=float), np.asarray(ratings, dtype=float)
    raters = (~np.isnan(table)).sum(axis=1)
    table, kept = table[raters >= 2], raters >= 2
    if not len(table) or (measure == "Cohen" and table.shape[1] != 2):
        raise ValueError("Agreement needs a unit that two raters rated, and Cohen's κ two raters.")
    pairs = _pair_tables(table, codes, ordered=measure == "Cohen")
    numbers = patient_numbers(None if patients is None else np.asarray(patients)[kept], len(table))
    weight = raters[kept] / raters[kept].sum() if measure == "Krippendorff" else np.full(len(table), 1 / len(table))
    found = np.tensordot(weight, pairs, 1)
    of_chance = _CHANCE[measure]
    if of_chance(found)[0] < 1e-12:
        raise ValueError(f"{measure}'s coefficient is not defined: every rating is the same category.")
    here = float(_measure(found, of_chance)[0])
    single = bool((raters[kept] == 2).all())
    stretch, groups = _stretch(found, pairs, weight, numbers, of_chance, single)
    quantile = normal_quantile(level) if groups == len(table) else t_quantile(level, max(groups - 1, 1))

    def beyond(tables: Array) -> Array:
        theta, variance = _measure(tables, of_chance)
        return (theta - here) ** 2 - quantile**2 * stretch * variance

    low, high = (_limit(path, beyond, of_chance) for path in _paths(found, len(table)))
    if measure == "Krippendorff":  # its correction for few ratings
        shrink = float(1 - 1 / raters[kept].sum())
        low, here, high = (1 - shrink * (1 - limit) for limit in (low, here, high))
    value = here if value is None else value
    return Estimate(value, max(min(low, value), -1.0), min(max(high, value), 1.0), len(table))


def _pair_tables(table: Array, codes: Array, *, ordered: bool) -> Array:
    """Each unit's share of pairs of calls, (units, C, C): first × second rater, or all ordered pairs of raters."""
    rating_counts(table, codes)
    hits = (table[:, :, None] == codes).astype(float)
    if ordered:
        return hits[:, 0, :, None] * hits[:, 1, None, :]
    counts = hits.sum(axis=1)
    raters = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(len(codes)) * counts[:, None, :]
    return pairs / (raters * (raters - 1))[:, None, None]


# Each gives, for (…, C, C) tables, the chance disagreement E (…) and its derivative in every cell (…, C, C).


def _no_chance(p: Array) -> tuple[Array, Array]:
    return np.ones(p.shape[:-2]), np.zeros_like(p)


def _own_margins(p: Array) -> tuple[Array, Array]:
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    same = (rows * columns).sum(axis=-1)
    return 1 - same, -(columns[..., :, None] + rows[..., None, :]) + 2 * same[..., None, None]


def _common_margins(p: Array) -> tuple[Array, Array]:
    shares = (p.sum(axis=-1) + p.sum(axis=-2)) / 2
    same = (shares**2).sum(axis=-1)
    return 1 - same, -(shares[..., :, None] + shares[..., None, :]) + 2 * same[..., None, None]


def _gwet_margins(p: Array) -> tuple[Array, Array]:
    """E = 1 - Σ π(1 - π)/(C - 1)."""
    spread, slope = _common_margins(p)
    others = p.shape[-1] - 1
    return 1 - spread / others, -slope / others


Chance = Callable[[Array], tuple[Array, Array]]
_CHANCE: dict[str, Chance] = {
    "agreement": _no_chance,
    "Cohen": _own_margins,
    "Fleiss": _common_margins,
    "AC1": _gwet_margins,
    "Krippendorff": _common_margins,
}


def _influence(p: Array, of_chance: Chance) -> tuple[Array, Array]:
    """1 - D/E of tables, and how far one more pair in each cell moves it."""
    apart = 1 - np.eye(p.shape[-1])
    chance, slope = of_chance(p)
    chance = np.maximum(chance, 1e-12)[..., None, None]
    disagreement = (p * apart).sum(axis=(-2, -1))[..., None, None]
    moved = -(apart - disagreement) / chance + disagreement / chance**2 * slope
    return (1 - disagreement / chance)[..., 0, 0], moved


def _measure(p: Array, of_chance: Chance) -> tuple[Array, Array]:
    """1 - D/E and the variance of one independent pair."""
    theta, moved = _influence(p, of_chance)
    return theta, (p * moved**2).sum(axis=(-2, -1))


def _stretch(
    found: Array, pairs: Array, weight: Array, numbers: NDArray[np.intp], of_chance: Chance, single: bool
) -> tuple[float, int]:
    """What one pair's variance is multiplied by for the variance of the measure; the number of patients."""
    _, moved = _influence(found, of_chance)
    variance = float((found * moved**2).sum())
    groups, largest = int(numbers.max()) + 1, np.bincount(numbers, weight)
    alone = float((largest**2).sum())
    independent = single and groups == len(pairs)  # two raters, no patient twice
    if variance < 1e-12 or groups < 2 or independent:
        return alone, groups
    of_patients = np.bincount(numbers, weight * (pairs * moved).sum(axis=(1, 2)))
    spread = groups / (groups - 1) * float((of_patients**2).sum())
    unit = 1 / len(pairs)
    if groups == len(pairs):
        least = unit / 4  # four independent pairs a unit at most
    elif of_chance in (_own_margins, _common_margins):
        least = unit + (alone - unit) / 4  # few patients show little of what they share
    else:
        least = unit
    return float(np.clip(spread / variance, least, 1.0)), groups


def _paths(found: Array, units: int) -> tuple[Array, Array]:
    """Tables from the observed one towards disagreement, and towards agreement: (steps, C, C) each.

    The margins on the way have one rating more, spread over the categories, so that no category is impossible.
    """
    size = len(found)
    rows, columns = ((found.sum(axis=axis) * units + 1 / size) / (units + 1) for axis in (1, 0))
    independent, middle = np.outer(rows, columns), (rows + columns) / 2
    apart = independent * (1 - np.eye(size))
    t = (np.arange(STEPS + 1) / STEPS)[:, None, None] ** 2  # finer near the observed table
    down = np.concatenate([(1 - t) * found + t * independent, (1 - t) * independent + t * apart / apart.sum()])
    return down, (1 - t) * found + t * np.diag(middle)


def _limit(path: Array, beyond: Callable[[Array], Array], of_chance: Chance) -> float:
    """The measure where a path first leaves what is compatible with the observed table; at its end if nowhere."""
    outside = np.flatnonzero(beyond(path) > 0)
    outside = outside[outside > 0]
    if not len(outside):
        return float(_measure(path[-1], of_chance)[0])
    i, steps = outside[0], np.linspace(0, 1, 21)[:, None, None]
    between = (1 - steps) * path[i - 1] + steps * path[i]
    amounts, values = beyond(between), _measure(between, of_chance)[0]
    j = max(int(np.argmax(amounts > 0)), 1)
    share = amounts[j - 1] / (amounts[j - 1] - amounts[j])
    return float(values[j - 1] + share * (values[j] - values[j - 1]))
