"""How many readers and cases a study needs: two tests compared, one arm against chance, one arm shown equivalent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, fdtri, ncfdtr, ndtr

from .estimate import normal_quantile, t_quantile
from .mrmc import ErrorCovariance, ReaderStudy
from .roc import hanley_mcneil_variance


@dataclass(frozen=True)
class Components(ErrorCovariance):
    """What a pilot with so many cases, or a guess, says of a study of two tests.

    interaction: the variance of true AUC by reader × test; the covariances are those at `cases` cases.
    """

    interaction: float
    cases: int


def components(pilot: ReaderStudy, cases: int) -> Components:
    """Estimate the components from a pilot; a negative interaction counts as none.

    Raises ValueError unless the pilot has two tests and two readers. [Hillis, Obuchowski & Berbaum 2011]
    """
    if min(pilot.auc.shape) < 2:
        raise ValueError("A pilot needs two tests and two readers to tell readers from cases.")
    error = pilot.covariance
    between = max(error.cov2 - error.cov3, 0)
    interaction = pilot.mean_squares.interaction - error.variance + error.cov1 + between
    return Components(**vars(error), interaction=max(interaction, 0), cases=cases)


def mrmc_power(pilot: Components, readers: int, cases: int, difference: float, alpha: float = 0.05) -> float:
    """The probability that a study with random readers and cases finds a true difference in mean AUC of two tests.

    The share of positive cases is that of the pilot. Raises ValueError with fewer than two readers or no variance.
    [Hillis, Obuchowski & Berbaum 2011]
    """
    if readers < 2 or cases < 1:
        raise ValueError("Readers can be a sample only from two on, and there must be cases.")
    scale, between = pilot.cases / cases, max(pilot.cov2 - pilot.cov3, 0)
    mean_square = pilot.interaction + scale * (pilot.variance - pilot.cov1 - between)
    error = mean_square + scale * readers * between
    if mean_square <= 0:
        raise ValueError("The components leave no variance between readers and tests.")
    df = (readers - 1) * (error / mean_square) ** 2
    return float(1 - ncfdtr(1, df, readers * difference**2 / 2 / error, fdtri(1, df, 1 - alpha)))


def mrmc_cases(
    pilot: Components, readers: int, difference: float, power: float = 0.8, alpha: float = 0.05, limit: int = 5000
) -> int | None:
    """The fewest cases with which mrmc_power reaches power; None where no number up to limit does.

    None is common with two or three readers: no number of cases makes up for readers who differ.
    """
    enough = (cases for cases in range(2, limit + 1) if mrmc_power(pilot, readers, cases, difference, alpha) >= power)
    return next(enough, None)


# --- One arm: all readers read the same cases once -------------------------------------------------------------------


@dataclass(frozen=True)
class ArmVariance:
    """Variance of one reader's result through the cases, covariance of two readers' on the same cases, and the variance
    of the readers' true results. The mean of R readers has variance (reader + variance + (R - 1) · covariance)/R."""

    variance: float
    covariance: float
    reader_variance: float


def auc_arm(auc: float, positives: int, negatives: int, correlation: float, reader_sd: float) -> ArmVariance:
    """An arm scored by AUC: its true mean, the cases, the correlation of two readers' results and the readers' SD.

    correlation (0 to 1) and reader_sd are guesses until a pilot gives them (cov2/variance; the spread of its AUCs).
    """
    return _arm(hanley_mcneil_variance(auc, positives, negatives), correlation, reader_sd)


def proportion_arm(p: float, cases: float, correlation: float, reader_sd: float) -> ArmVariance:
    """An arm scored by a share of cases p, as sensitivity or accuracy are; the rest as for auc_arm."""
    return _arm(p * (1 - p) / cases, correlation, reader_sd)


def _arm(variance: float, correlation: float, reader_sd: float) -> ArmVariance:
    if not 0 <= correlation <= 1 or reader_sd < 0 or variance <= 0:
        needs = "a result between 0 and 1, a correlation from 0 to 1 and a reader_sd of at least 0"
        raise ValueError(f"An arm needs {needs}.")
    return ArmVariance(variance, correlation * variance, reader_sd**2)


def arm_power(arm: ArmVariance, readers: int, effect: float, alpha: float = 0.05, random_readers: bool = True) -> float:
    """The probability that the two-sided test of the mean against a value finds it off by effect.

    random_readers: for readers in general, as obuchowski_rockette's random_readers; False: for these readers only.
    Raises ValueError with fewer than two random readers.
    """
    error, df = _error(arm, readers, random_readers)
    if math.isinf(df):
        z = normal_quantile(1 - alpha)
        return float(ndtr(effect / error - z) + ndtr(-effect / error - z))
    return float(1 - ncfdtr(1, df, (effect / error) ** 2, fdtri(1, df, 1 - alpha)))


def arm_equivalence_power(
    arm: ArmVariance, readers: int, margin: float, effect: float = 0.0, alpha: float = 0.05, random_readers: bool = True
) -> float:
    """The probability of showing that the mean is within margin of a value, when it is off by effect.

    Two one-sided tests at alpha, that is, the 1 - 2 · alpha interval lies within the margins; the standard error found
    in the study varies as χ with Hillis' degrees of freedom. Arguments and errors otherwise as for arm_power.
    [Schuirmann 1987]
    """
    error, df = _error(arm, readers, random_readers)
    found = np.array([error])
    if not math.isinf(df):
        found = error * np.sqrt(chdtri(df, (np.arange(2000) + 0.5) / 2000) / df)  # evenly likely standard errors
    reach = t_quantile(1 - 2 * alpha, df) * found
    inside = ndtr((margin - effect - reach) / error) - ndtr((-margin - effect + reach) / error)
    return float(np.maximum(inside, 0).mean())


def _error(arm: ArmVariance, readers: int, random_readers: bool) -> tuple[float, float]:
    """Standard error of the mean over readers and its degrees of freedom."""
    if readers < (2 if random_readers else 1):
        raise ValueError("Readers can be a sample only from two on: take random_readers=False.")
    if not random_readers:
        return math.sqrt((arm.variance + (readers - 1) * arm.covariance) / readers), math.inf
    mean_square = arm.reader_variance + arm.variance - arm.covariance
    total = mean_square + readers * arm.covariance
    df = (readers - 1) * (total / mean_square) ** 2 if mean_square > 0 else math.inf
    return math.sqrt(total / readers), df
