"""`phonybrains study power`: what a plan can find, and how many readers and cases a question needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from scipy.special import expit, logit, ndtr

from ...errors import ConfigError
from ...statistics.estimate import normal_quantile, t_quantile
from ...statistics.power import ArmVariance, arm_equivalence_power, arm_power, auc_arm, proportion_arm
from ...statistics.proportions import binomial_power, critical_count, equivalence_power, equivalence_sample_size
from ..config import PlanConfig, StudyConfig
from .plan import FIGURES, LEAST_READERS

CHANCE = 0.5
READERS = (2, 3, 4, 5, 6, 8, 10, 15, 20)
MOST_CASES = 5000
Question = Literal["difference", "equivalence"]


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken for true: no study has told yet. The defaults are those of published studies with few readers."""

    effect: float = 0.1
    """How far the primary figure lies from chance where there is a difference; 0 is assumed for equivalence."""
    correlation: float = 0.4
    """Of two readers' results over the same cases."""
    reader_sd: float = 0.05
    """Standard deviation of the readers' true results."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Test cases with which so many readers reach the power: for these readers alone, and for readers in general."""

    readers: int
    these: int | None
    in_general: int | None


@dataclass(frozen=True, slots=True)
class StudyPower:
    """What a plan can find. Power and the intervals' half widths: for these readers alone, and for readers in general.

    What is said of readers in general is None where there are fewer than three.
    """

    readers: int
    phony: int
    real: int
    plan: PlanConfig
    question: Question
    wanted: float
    assumed: Assumed
    these: float
    in_general: float | None
    half_width_these: float
    half_width_in_general: float | None
    needed: tuple[Needed, ...]

    @property
    def counted(self) -> int:
        """The cases that the primary figure is of."""
        return self.phony if self.plan.primary == "called_real" else self.phony + self.real

    @property
    def one_reader(self) -> list[str]:
        """What the exact tests say of one reader's answers, each right (or called real) with the same probability."""
        n, effect = self.counted, self.assumed.effect
        alpha, margin = 1 - self.plan.level, self.plan.margin
        least = critical_count(n, alpha=alpha, alternative="two-sided")
        finds = "no count differs from half" if least is None else f"it takes {least} to differ from half"
        enough = equivalence_sample_size(margin, alpha=alpha)
        return [
            f"One reader, {n} answers of two kinds: {finds}; power {binomial_power(n, 0.5 + effect, alpha=alpha):.0%} "
            f"where the true share is {0.5 + effect:.2f}.",
            f"Equivalence within 0.5 ± {margin:g}: power {equivalence_power(n, margin, alpha=alpha):.0%} with {n} "
            f"answers; 80 % needs {'more than 20,000' if enough is None else enough}.",
        ]

    @property
    def warnings(self) -> list[str]:
        """Where the plan cannot answer its question."""
        warnings, readers = [], _readers(self.readers)
        if self.readers < LEAST_READERS:
            alone = "this reader" if self.readers == 1 else "these two"
            warnings.append(f"{readers} cannot stand for readers in general: the result holds for {alone} alone.")
        what = "equivalence" if self.question == "equivalence" else f"a difference of {self.assumed.effect:g}"
        for whom, found in (("these readers", self.these), ("readers in general", self.in_general)):
            if found is not None and found < self.wanted:
                warnings.append(
                    f"With {readers} and {self.counted} cases that count, {what} would be shown for {whom} in "
                    f"{found:.0%} of such studies, not in {self.wanted:.0%}."
                )
        if not self.real:
            warnings.append(
                "Without real controls the study shows how often phony images pass, not whether readers can tell: "
                "there is no specificity."
            )
        return warnings


def study_power(
    config: StudyConfig,
    *,
    arms: int = 1,
    question: Question | None = None,
    power: float = 0.8,
    assumed: Assumed = Assumed(),
) -> StudyPower:
    """The power of a plan, and what is needed for `power`.

    arms: how many synthetic sets there will be. question None is the plan's own, `difference` where it only estimates.
    Raises ConfigError where the plan has no cases for its primary figure, or an assumption cannot be.
    """
    _check(power, assumed)
    plan, readers = config.plan, len(config.readers)
    phony, real = arms * sum(config.synthetic.values()), sum(config.real.values())
    if not phony or (plan.primary != "called_real" and not real):
        lacking = "real controls" if phony else "phony cases"
        raise ConfigError(f"plan.primary = '{plan.primary}' needs {lacking}; the plan has none.")
    asked: Question = question or ("equivalence" if plan.hypothesis == "equivalence" else "difference")
    share, alpha = phony / (phony + real), 1 - plan.level

    def reach(readers: int, cases: int, random_readers: bool) -> float:
        if random_readers and readers < LEAST_READERS:
            return 0.0
        null = _arm_of(plan, cases, share, 0.0, assumed)
        if asked == "equivalence":
            margin = on_logit_scale(plan.margin, at=CHANCE)
            return arm_equivalence_power(null, readers, margin, 0.0, alpha, random_readers)
        arm = _arm_of(plan, cases, share, assumed.effect, assumed)
        by_model = arm_power(arm, readers, on_logit_scale(assumed.effect), alpha, random_readers)
        clear = assumed.effect - _half_step(plan, cases, share, readers)
        return min(by_model, _randomised_power(arm, null, readers, clear, alpha, random_readers))

    def half_width(random_readers: bool) -> float:
        effect = assumed.effect if asked == "difference" else 0.0
        arm = _arm_of(plan, phony + real, share, effect, assumed)
        return _half_width(arm, readers, plan.level, random_readers, CHANCE + effect)

    several = readers >= LEAST_READERS
    return StudyPower(
        readers,
        phony,
        real,
        plan,
        asked,
        power,
        assumed,
        these=reach(readers, phony + real, False),
        in_general=reach(readers, phony + real, True) if several else None,
        half_width_these=half_width(False),
        half_width_in_general=half_width(True) if several else None,
        needed=tuple(
            Needed(j, *(_fewest(lambda n, j=j, r=r: reach(j, n, r), power) for r in (False, True))) for j in READERS
        ),
    )


def on_logit_scale(distance: float, at: float | None = None) -> float:
    """A distance from one half as the analysis sees it, on the logit scale, in standard errors of the plain one.

    at: where the standard error is taken, by default at the figure itself.
    """
    place = CHANCE + distance if at is None else at
    return float(logit(CHANCE + distance)) * place * (1 - place)


def _randomised_power(
    arm: ArmVariance, null: ArmVariance, readers: int, effect: float, alpha: float, random_readers: bool
) -> float:
    """The probability that the randomisation finds the effect: its error is that of answers unrelated to the truth."""
    critical = normal_quantile(1 - alpha) * math.sqrt((null.variance + (readers - 1) * null.covariance) / readers)
    apart = arm.reader_variance if random_readers else 0.0
    error = math.sqrt((apart + arm.variance + (readers - 1) * arm.covariance) / readers)
    return float(ndtr((effect - critical) / error) + ndtr((-effect - critical) / error))


def _phony_of(cases: int, share: float) -> int:
    return min(max(1, round(cases * share)), cases - 1)


def _half_step(plan: PlanConfig, cases: int, share: float, readers: int) -> float:
    """Half the step by which a figure of calls moves where one answer changes places: the randomisation is discrete."""
    phony = _phony_of(cases, share)
    steps = {"auc": 0.0, "balanced_accuracy": (1 / phony + 1 / (cases - phony)) / 2, "called_real": 1 / phony}
    return steps[plan.primary] / (2 * readers)


def _arm_of(plan: PlanConfig, cases: int, share: float, effect: float, assumed: Assumed) -> ArmVariance:
    """The variances of the primary figure with so many test cases, a share of them phony."""
    phony = _phony_of(cases, share)
    if plan.primary == "auc":
        return auc_arm(CHANCE + effect, phony, cases - phony, assumed.correlation, assumed.reader_sd)
    counted = float(max(1, round(cases * share)))
    if plan.primary == "balanced_accuracy":
        counted = 4 * phony * (cases - phony) / cases  # so many that p (1 - p) / n is half the sum of both kinds
    return proportion_arm(CHANCE + effect, counted, assumed.correlation, assumed.reader_sd)


def _check(power: float, assumed: Assumed) -> None:
    limits = {"effect": (0.001, 0.499), "correlation": (0, 1), "reader_sd": (0, 0.5)}
    values = {"power": (power, 0.01, 0.999)} | {name: (getattr(assumed, name), *two) for name, two in limits.items()}
    for name, (value, low, high) in values.items():
        if not low <= value <= high:
            raise ConfigError(f"{name} = {value} cannot be: it lies between {low} and {high}.")


def _fewest(power_of: Callable[[int], float], wanted: float) -> int | None:
    """The fewest cases with which the power is reached, by doubling and halving; None where no number to 5000 does."""
    high = 4
    while power_of(high) < wanted:
        if high >= MOST_CASES:
            return None
        high = min(2 * high, MOST_CASES)
    low = 3 if high == 4 else high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= wanted else (middle, high)
    return high


def _half_width(arm: ArmVariance, readers: int, level: float, random_readers: bool, value: float) -> float:
    """Half the expected interval, on the logit scale, of the mean over readers.  [Hillis 2007: df of a single arm]"""
    apart = arm.reader_variance + arm.variance - arm.covariance if random_readers else arm.variance - arm.covariance
    total, df = apart + readers * arm.covariance, math.inf
    if random_readers and apart > 0:
        df = (readers - 1) * (total / apart) ** 2
    half = t_quantile(level, df) * math.sqrt(total / readers) / (value * (1 - value))
    return float(expit(logit(value) + half) - expit(logit(value) - half)) / 2


def _readers(number: int) -> str:
    return "one reader" if number == 1 else f"{number} readers"


def print_power(result: StudyPower, console: Console | None = None) -> None:
    """Print what `study_power` found as a table for people."""
    console = console or Console(highlight=False)
    plan, assumed = result.plan, result.assumed
    asked = f"a difference of {assumed.effect:g} from one half"
    if result.question == "equivalence":
        asked = f"equivalence with one half, within ± {plan.margin:g}"
    console.print(f"Question: {asked}; primary figure {FIGURES[plan.primary]}; level {plan.level:.0%}.")
    console.print(
        f"Assumed: readers' results correlate by {assumed.correlation:g}, their true results have a standard deviation "
        f"of {assumed.reader_sd:g}."
    )
    title = f"The plan: {_readers(result.readers)}, {result.phony} phony and {result.real} real cases"
    table = Table("", "these readers", "readers in general", title=title)
    for name, form, values in (
        ("power", "{:.0%}", (result.these, result.in_general)),
        ("interval", "± {:.3f}", (result.half_width_these, result.half_width_in_general)),
    ):
        table.add_row(name, *("-" if value is None else form.format(value) for value in values))
    console.print(table)
    title = f"Test cases needed for {result.wanted:.0%}"
    needed = Table("readers", "cases, these readers", "cases, readers in general", title=title)
    for row in result.needed:
        numbers = (str(n) if n else f"none to {MOST_CASES}" for n in (row.these, row.in_general))
        needed.add_row(str(row.readers), *numbers)
    console.print(needed)
    for sentence in result.one_reader:
        console.print(sentence)
    for warning in result.warnings:
        console.print(f"[yellow]note:[/] {warning[0].upper()}{warning[1:]}")
