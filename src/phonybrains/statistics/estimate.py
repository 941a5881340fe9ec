"""A number with its interval, the normal, t and F distributions that intervals and p come from, Holm's correction."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit


@dataclass(frozen=True)
class Interval:
    """The limits within which a quantity lies at a stated level of confidence."""

    low: float
    high: float

    def about(self, value: float, n: int, standard_error: float | None = None) -> Estimate:
        """The estimate of which these are the limits."""
        return Estimate(value, self.low, self.high, n, standard_error)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, from n observations (reads, cases or units, as the function says).

    standard_error is None where the interval does not come from one.
    """

    value: float
    low: float
    high: float
    n: int
    standard_error: float | None = None

    def mapped(self, rising: Callable[[float], float]) -> Estimate:
        """The estimate of what is a rising function of the value."""
        return Estimate(rising(self.value), rising(self.low), rising(self.high), self.n)


def normal_quantile(level: float) -> float:
    """The z with P(|Z| < z) = level for a standard normal Z; 1.96 for .95.  Raises ValueError outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval lies between 0 and 1, as .95 does; {level} does not.")
    return float(ndtri((1 + level) / 2))


def t_quantile(level: float, df: float = math.inf) -> float:
    """The t with P(|T| < t) = level; df = ∞ is the normal distribution.  Raises ValueError outside (0, 1)."""
    normal = normal_quantile(level)
    return normal if math.isinf(df) else float(stdtrit(df, (1 + level) / 2))


def t_estimate(
    value: float,
    standard_error: float,
    n: int,
    level: float = 0.95,
    df: float = math.inf,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """value ± t · standard_error, cut off at the bounds of the quantity; df = ∞ is the normal interval."""
    half = t_quantile(level, df) * standard_error
    low, high = value - half, value + half
    return Estimate(value, max(low, bounds[0]), min(high, bounds[1]), n, standard_error)


SMALLEST_P = sys.float_info.min
ALPHA = 0.05


def t_p_value(t: float, df: float = math.inf) -> float:
    """Two-sided p of a t statistic, above 0 however large t; df = ∞ is the normal distribution."""
    return above_zero(2 * ndtr(-abs(t)) if math.isinf(df) else 2 * stdtr(df, -abs(t)))


def f_p_value(f: float, df_numerator: float, df_denominator: float = math.inf) -> float:
    """P(F ≥ f), above 0 however large f; with an infinite denominator, that of χ²/df."""
    if math.isinf(df_denominator):
        return above_zero(chdtrc(df_numerator, df_numerator * f))
    return above_zero(fdtrc(df_numerator, df_denominator, f))


def above_zero(p: float) -> float:
    """A p that is too small for a float is the smallest float: nothing is impossible under a hypothesis."""
    return max(float(p), SMALLEST_P)


def format_p(p: float, alpha: float = ALPHA) -> str:
    """A p value as text: two significant digits or more, "< 0.0001" below that, never rounded across alpha."""
    if p < 0.0001:
        return "< 0.0001"
    digits = max(2, 1 - math.floor(math.log10(p)))
    while digits < 12 and (round(p, digits) < alpha) != (p < alpha):
        digits += 1
    return f"{p:.{digits}f}"


def p_text(p: float, alpha: float = ALPHA) -> str:
    """The p value as it stands in a sentence: "p = 0.052", "p < 0.0001"."""
    text = format_p(p, alpha)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def square_and_add(a: Estimate, b: Estimate, correlation: float = 0.0) -> Interval:
    """The interval of a - b from those of a and b, which may lie unevenly about their values.

    correlation is that of the two estimates. [Newcombe 1998, Statistics in Medicine 17:873, method 10, and 17:2635]
    """

    def distance(x: float, y: float) -> float:
        return math.sqrt(max(x**2 - 2 * correlation * x * y + y**2, 0.0))

    difference = a.value - b.value
    return Interval(
        difference - distance(a.value - a.low, b.high - b.value),
        difference + distance(a.high - a.value, b.value - b.low),
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p values adjusted for their number: those at most alpha keep the chance of any false rejection below alpha.

    p_values: (k,) in any order, 0 to 1. Raises ValueError outside. [Holm 1979]
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("Holm's correction takes a list of p values between 0 and 1.")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
