"""The registered test: who counts, the primary figure as the plan has it, and what stands where it cannot be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...reporting.wording import listed
from ...statistics.estimate import p_text
from ...statistics.randomise import guessing_p, leaning_p
from ..config import PlanConfig
from ..design.plan import FIGURES as NAMES
from ..design.plan import LEAST_READERS
from ..study import PROTOCOL_VERSION, Study
from .primary import CHANCE, PrimaryTable, infer, primary_table
from .reads import Finding, Read, readers_of, select

Population = Literal["these readers", "readers in general"]
DRAWS = 9999


@dataclass(frozen=True, slots=True)
class Tested:
    """One test of the registered hypothesis: the primary figure, p, whether the hypothesis was shown, in words.

    p is of a difference from one half, or of non-equivalence; None where no hypothesis was registered. `shown` is None
    there too.
    """

    population: Population
    readers: tuple[str, ...]
    primary: Finding
    p: float | None
    shown: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of the registered test: `test` is None where the plan could not be followed, for these `reasons`.

    `instead` is then the same figure for the readers who remain, which was not registered. `with_left_out` is the test
    with the readers whom the plan leaves out.
    """

    population: Population
    test: Tested | None
    reasons: tuple[str, ...] = ()
    instead: Tested | None = None
    left_out: tuple[str, ...] = ()
    with_left_out: Tested | None = None


def population_of(readers: Sequence[str]) -> Population:
    """Of whom a plan with these readers speaks."""
    return "readers in general" if len(readers) >= LEAST_READERS else "these readers"


def register(study: Study, reads: Sequence[Read], failed: Sequence[str]) -> Registered:
    """Do what was registered with the first answers to test cases: for the readers the plan names, and no others.

    failed: readers who did not pass the attention checks. Where nobody whom the plan names took part, all who did stand
    for them. The population is that of the plan, however many readers came.
    """
    config = study.config
    plan, population = config.plan, population_of(config.readers)
    present = readers_of(reads)
    named = [reader for reader in present if reader in config.readers] or present
    few = [reader for reader in named if reader not in failed and not _answered_enough(study, reads, reader)]
    counting = [reader for reader in named if reader not in failed and reader not in few]
    left_out = tuple(reader for reader in named if reader not in counting)
    reasons = _reasons(study, counting, population)

    def tested(readers: Sequence[str], whose: Population) -> Tested | None:
        own = [read for read in reads if read.reader in readers]
        return run_test(primary_table(own, plan.primary), plan, whose, int(study.hash[:8], 16)) if own else None

    test = None if reasons else tested(counting, population)
    if test is None:
        figure = NAMES[plan.primary][0].upper() + NAMES[plan.primary][1:]
        reasons = reasons or [f"{figure} takes answers to two images of each kind at least."]
        return Registered(population, None, tuple(reasons), tested(counting, "these readers"), left_out)
    everybody = tested(named, population) if left_out else None
    return Registered(population, test, (), None, left_out, everybody)


def _answered_enough(study: Study, reads: Sequence[Read], reader: str) -> bool:
    plan = study.config.plan
    given = Counter(read.case.truth for read in select(reads, reader=reader))
    shown = Counter(case.truth for case in study.of_role("test"))
    kinds = ("phony",) if plan.primary == "called_real" else shown
    return all(given[truth] >= plan.answered * shown[truth] for truth in kinds)


def _reasons(study: Study, counting: Sequence[str], population: Population) -> list[str]:
    planned = study.config.readers
    if study.protocol.get("version") != PROTOCOL_VERSION:
        return [
            "The protocol was frozen by an earlier phonybrains, which registered another test and another rule for "
            "'unclear'."
        ]
    if not counting:
        return ["No reader counts under the plan."]
    if population == "readers in general" and len(counting) < LEAST_READERS:
        return [
            f"Registered was a test for readers in general, which takes three of them; {len(counting)} "
            f"of {len(planned)} planned {'counts' if len(counting) == 1 else 'count'}."
        ]
    if population == "these readers" and len(counting) < len(planned):
        return [f"Registered was a test for {listed(planned)} together, and only {listed(counting)} counts."]
    return []


# --- One test --------------------------------------------------------------------------------------------------------


def run_test(
    table: PrimaryTable | None, plan: PlanConfig, population: Population, seed: int = 0, draws: int = DRAWS
) -> Tested | None:
    """Test the plan's hypothesis; None where the figure cannot be reckoned.

    The p of a difference is the larger of two: that of the model, and that of a randomisation, which holds for readers
    who guess however they lean. Where it is not below 1 - level, the interval is widened to one half.
    """
    found = infer(table, plan.level, population == "readers in general") if table else None
    if table is None or found is None:
        return None
    primary = found.finding(NAMES[plan.primary], population)
    who = _who(population, table.readers)
    p, shown = None, None
    if plan.hypothesis == "estimate":
        sentence = "Registered was an estimate with its interval, and no test."
    elif plan.hypothesis == "difference":
        p = max(found.half.p_value, randomised_p(table, seed, draws))
        primary = replace(primary, p=p)
        if p >= 1 - plan.level:  # an interval that does not exclude what the test does not exclude
            limits = found.half.estimate
            primary = replace(primary, low=min(limits.low, CHANCE), high=max(limits.high, CHANCE))
        shown, sentence = _difference(primary, p, plan, who)
    else:
        p = found.p_of_outside(CHANCE - plan.margin, CHANCE + plan.margin)
        shown = p < 1 - plan.level
        sentence = _equivalence(shown, p, plan, who)
    return Tested(population, table.readers, primary, p, shown, sentence)


def randomised_p(table: PrimaryTable, seed: int, draws: int = DRAWS) -> float:
    """p that the answers have nothing to do with the truth, or, with phony images alone, lean to neither side."""
    rng = np.random.default_rng(seed)
    if table.truth is None:
        return leaning_p(table.values - CHANCE, table.clusters, rng, draws)
    return guessing_p(table.values, table.truth, table.clusters, rng, draws, table.strata)


def _who(population: Population, readers: Sequence[str]) -> str:
    if population == "readers in general":
        return "readers in general"
    return "this reader" if len(readers) == 1 else "these readers"


SIDES: Mapping[bool, tuple[str, str]] = {
    False: ("told phony from real better than chance", "took real images for phony more readily than phony ones"),
    True: ("called phony images real more often than half", "called phony images real less often than half"),
}


def _difference(primary: Finding, p: float, plan: PlanConfig, who: str) -> tuple[bool, str]:
    value, share = primary.value or 0.0, plan.primary == "called_real"
    verb = who[0].upper() + who[1:]
    if p >= 1 - plan.level or value == CHANCE:
        what = "That phony images are called real more or less often than half" if share else "A difference from chance"
        said = f"{what} was not shown for {who} ({p_text(p, 1 - plan.level)}); that does not show that there is none."
        return False, said
    above, below = SIDES[share]
    said = above if value > CHANCE else below
    return share or value > CHANCE, f"{verb} {said} ({p_text(p, 1 - plan.level)})."


def _equivalence(shown: bool, p: float, plan: PlanConfig, who: str) -> str:
    low, high = CHANCE - plan.margin, CHANCE + plan.margin
    what = "one half" if plan.primary == "called_real" else "chance"
    return (
        f"Equivalence with {what}, within {low:.2f} to {high:.2f}, was {'shown' if shown else 'not shown'} for {who} "
        f"(two one-sided tests, {p_text(p, 1 - plan.level)})."
    )


def summary(registered: Registered) -> str:
    """The registered result in words, and nothing else."""
    if registered.test is None:
        return "The registered test could not be carried out as planned. " + " ".join(registered.reasons)
    return registered.test.sentence
