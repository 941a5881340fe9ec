"""One proportion and two: exact and score intervals, tests against chance, equivalence, McNemar's test."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, betaincinv, chdtrc, gammaln, xlog1py, xlogy

from .estimate import Estimate, Interval, above_zero, normal_quantile

Alternative = Literal["two-sided", "greater", "less"]


def clopper_pearson(k: int, n: int, level: float = 0.95) -> Estimate:
    """k of n with its exact interval, which covers at least at its level.  [Clopper & Pearson 1934]

    Raises ValueError unless 0 ≤ k ≤ n and n ≥ 1.
    """
    _check_count(k, n)
    normal_quantile(level)
    tail = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(k / n, low, high, n)


def wilson(k: int, n: int, level: float = 0.95) -> Estimate:
    """k of n with its score interval, which covers at its level on average.  [Wilson 1927]

    Raises ValueError unless 0 ≤ k ≤ n and n ≥ 1.
    """
    _check_count(k, n)
    return score_limits(k / n, n, level).about(k / n, n)


def score_limits(p: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's limits for a share p of n trials, where n need not be whole, as an effective number of trials is not.

    [Wilson 1927; effective numbers: Korn & Graubard 1998, Survey Methodology 24:193]
    """
    shrink = normal_quantile(level) ** 2 / n
    centre = (p + shrink / 2) / (1 + shrink)
    half = math.sqrt(shrink * (p * (1 - p) + shrink / 4)) / (1 + shrink)
    return Interval(centre - half if p > 0 else 0.0, centre + half if p < 1 else 1.0)


# --- Against chance --------------------------------------------------------------------------------------------------


def binomial_test(k: int, n: int, chance: float = 0.5, alternative: Alternative = "two-sided") -> float:
    """Exact p of k successes in n trials that each succeed by chance.

    The two-sided p sums the outcomes that are no likelier than k. Raises ValueError unless 0 ≤ k ≤ n, n ≥ 1 and
    0 < chance < 1.
    """
    _check_count(k, n)
    return above_zero(_p_values(n, chance, alternative)[k])


def critical_count(
    n: int, chance: float = 0.5, alpha: float = 0.05, alternative: Literal["two-sided", "greater"] = "two-sided"
) -> int | None:
    """The smallest count above chance at which the exact test rejects; None where not even n of n does."""
    _check_count(0, n)
    rejected = np.flatnonzero((_p_values(n, chance, alternative) <= alpha) & (np.arange(n + 1) > n * chance))
    return int(rejected[0]) if len(rejected) else None


def binomial_power(
    n: int, p: float, chance: float = 0.5, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> float:
    """The probability that the exact test against chance rejects, when each of n trials succeeds with p."""
    _check_count(0, n)
    return float(_probabilities(n, p)[_p_values(n, chance, alternative) <= alpha].sum())


def _probabilities(n: int, p: float) -> NDArray[np.float64]:
    """P(X = k) for k = 0..n."""
    if not 0 <= p <= 1:
        raise ValueError(f"A probability lies between 0 and 1; {p} does not.")
    k = np.arange(n + 1.0)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p))


def _p_values(n: int, chance: float, alternative: Alternative) -> NDArray[np.float64]:
    """The exact p of every count 0..n."""
    if not 0 < chance < 1:
        raise ValueError(f"Chance lies between 0 and 1; {chance} does not.")
    k = np.arange(n + 1)
    if alternative == "greater":
        return bdtrc(k - 1.0, n, chance)
    if alternative == "less":
        return bdtr(k.astype(float), n, chance)
    if alternative != "two-sided":
        raise ValueError(f"The alternative is two-sided, greater or less, not {alternative}.")
    probability = _probabilities(n, chance)
    ascending = np.sort(probability)
    no_likelier = np.searchsorted(ascending, probability * (1 + 1e-7), side="right")  # equal but for rounding
    return np.minimum(np.cumsum(ascending)[no_likelier - 1], 1)


# --- Equivalence -----------------------------------------------------------------------------------------------------


def equivalence_test(k: int, n: int, margin: float, centre: float = 0.5) -> float:
    """Exact p that the success rate lies outside centre ± margin: the larger of two one-sided tests (TOST).

    Small p shows equivalence. Raises ValueError unless 0 ≤ k ≤ n, n ≥ 1 and 0 < centre ± margin < 1.
    [Schuirmann 1987, with exact binomial tests]
    """
    _check_count(k, n)
    return above_zero(_equivalence_p_values(n, margin, centre)[k])


def equivalence_power(n: int, margin: float, p: float = 0.5, centre: float = 0.5, alpha: float = 0.05) -> float:
    """The probability that equivalence_test is at most alpha, when each of n trials succeeds with p."""
    _check_count(0, n)
    return float(_probabilities(n, p)[_equivalence_p_values(n, margin, centre) <= alpha].sum())


def equivalence_sample_size(
    margin: float, power: float = 0.8, p: float = 0.5, centre: float = 0.5, alpha: float = 0.05, limit: int = 20_000
) -> int | None:
    """The n from which on equivalence_power stays at power or above; None where no n up to limit does.

    Exact power moves in a sawtooth, so that single smaller n may reach power too. Its teeth are about 1/margin apart.
    """
    tooth = math.ceil(5 / margin)

    def holds(n: int) -> bool:
        return all(equivalence_power(m, margin, p, centre, alpha) >= power for m in range(n, n + tooth))

    upper = 1
    while not holds(upper):
        if upper >= limit:
            return None
        upper = min(2 * upper, limit)
    return bisect_left(range(1, upper), True, key=holds) + 1


def _equivalence_p_values(n: int, margin: float, centre: float) -> NDArray[np.float64]:
    lower, upper = centre - margin, centre + margin
    if not 0 < lower < upper < 1:
        raise ValueError(f"A margin of {margin} about {centre} does not stay between 0 and 1.")
    k = np.arange(n + 1.0)
    return np.maximum(bdtrc(k - 1, n, lower), bdtr(k, n, upper))


# --- Two proportions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class McNemar:
    """χ² with continuity correction and its p on one degree of freedom, and the exact p."""

    statistic: float
    p_value: float
    exact_p_value: float


def mcnemar(table: ArrayLike) -> McNemar:
    """Whether two paired proportions differ: (|b - c| - 1)²/(b + c), and binomial b of b + c.  [McNemar 1947]

    table: (2, 2) counts [[both, first only], [second only, neither]]. With no discordant pair χ² is 0 and p is 1.
    """
    counts = np.asarray(table)
    if counts.shape != (2, 2) or (counts < 0).any() or (counts != counts.astype(int)).any():
        raise ValueError("Paired proportions need a 2 × 2 table of counts.")
    (_, b), (c, _) = counts.astype(int).tolist()
    if b + c == 0:
        return McNemar(0.0, 1.0, 1.0)
    statistic = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    return McNemar(statistic, above_zero(chdtrc(1, statistic)), binomial_test(b, b + c))


def mcnemar_clustered(first: ArrayLike, second: ArrayLike, patients: ArrayLike) -> McNemar:
    """Whether two paired answers differ, patients kept together: (Σd)²/Σd² over each patient's d = first less second.

    first, second, patients: (cases,), answers of 0 and 1. The exact p is over all ways to exchange a patient's first
    and second answers; with one case a patient it is McNemar's. [Obuchowski 1998, Statistics in Medicine 17:1495]
    """
    a, b = (np.asarray(answers).astype(bool).astype(int) for answers in (first, second))
    numbers = np.unique(np.asarray(patients), return_inverse=True)[1]
    if a.ndim != 1 or not a.shape == b.shape == numbers.shape or not len(a):
        raise ValueError("Every case needs two answers and a patient.")
    by_patient = np.rint(np.bincount(numbers, a - b)).astype(int)
    total, chances = int(by_patient.sum()), np.ones(1)
    for step in np.abs(by_patient[by_patient != 0]):
        chances = (np.pad(chances, (2 * step, 0)) + np.pad(chances, (0, 2 * step))) / 2
    sums = np.arange(len(chances)) - len(chances) // 2
    exact = float(chances[np.abs(sums) >= abs(total)].sum())
    statistic = total**2 / max(int((by_patient**2).sum()), 1)
    return McNemar(statistic, above_zero(chdtrc(1, statistic)), above_zero(min(exact, 1.0)))


def _check_count(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no proportion: it takes at least one trial and no more successes than trials.")
