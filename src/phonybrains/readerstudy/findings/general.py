"""Shares for readers in general, which take three readers, and the hypothesis that was registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...statistics.proportions import clopper_pearson, equivalence_test
from ..config import PlanConfig
from .performance import Outcome, as_finding, share
from .pooled import in_general, p_against_half, share_covariance
from .rating import AUC, FIXED, LEAST_READERS, RANDOM, measure_auc
from .reads import ALL, Finding, Read, find, readers_of, with_controls

CHANCE = 0.5
IN_GENERAL = "readers and cases random (Obuchowski-Rockette, logit scale; df = {:.1f})"


def primary_outcome(plan: PlanConfig) -> Outcome:
    """What the primary figure counts, where it is a share."""
    if plan.primary == "called_real":
        return lambda read: read.call == "real" if read.phony else None
    return lambda read: read.correct(plan.unclear)


def measure_in_general(reads: Sequence[Read], plan: PlanConfig) -> list[Finding]:
    """Sensitivity, specificity, accuracy and called real for readers in general: three readers or more."""
    outcomes: dict[str, Outcome] = {
        "sensitivity": lambda read: read.correct(plan.unclear) if read.phony else None,
        "specificity": lambda read: None if read.phony else read.correct(plan.unclear),
        "accuracy": lambda read: read.correct(plan.unclear),
        "called real": lambda read: read.call == "real" if read.phony else None,
    }
    kept = outcomes if with_controls(reads) else {name: outcomes[name] for name in ("sensitivity", "called real")}
    found = [share_in_general(name, reads, outcome, plan.level) for name, outcome in kept.items()]
    return [finding.where(unclear="" if finding.quantity.startswith("called") else plan.unclear)
            for finding in found if finding]  # fmt: skip


def share_in_general(name: str, reads: Sequence[Read], outcome: Outcome, level: float) -> Finding | None:
    """A share as the mean over readers like these, from the cases that all of them have an outcome for."""
    readers = readers_of(reads)
    if len(readers) < LEAST_READERS:
        return None
    said = {(read.reader, read.case.case_id): right for read in reads if (right := outcome(read)) is not None}
    cases = [case for case in sorted({case for _, case in said}) if all((r, case) in said for r in readers)]
    if len(cases) < 2:
        return None
    table = np.array([[float(said[reader, case]) for case in cases] for reader in readers])
    estimate, df = in_general(table.mean(axis=1), share_covariance(table), len(cases), level)
    if not estimate.standard_error:  # every reader said the same of every case
        estimate = clopper_pearson(round(estimate.value * len(cases)), len(cases), level)
    p = p_against_half(estimate, df)
    return as_finding(f"{name}, readers in general", estimate, IN_GENERAL.format(df), p=p,
                      note="cases that all answered")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tested:
    """The registered hypothesis: the primary figure, p (of difference, or of non-equivalence), and what follows."""

    primary: Finding
    p: float | None
    shown: bool | None
    """Whether the hypothesis was shown; None where it is an estimate, or could not be tested."""
    sentence: str


def test_registered(reads: Sequence[Read], plan: PlanConfig) -> Tested | None:
    """Test what was registered, for readers in general where there are three or more, else for these readers.

    None where the primary figure cannot be reckoned: the area under the curve or accuracy without real images.
    """
    if plan.primary != "called_real" and not with_controls(reads):
        return None
    tools = _by_area if plan.primary == "auc" else _by_share
    primary, inner = tools(reads, plan, plan.level), tools(reads, plan, 2 * plan.level - 1)
    if primary is None or inner is None:
        return None
    if plan.hypothesis == "estimate":
        return Tested(primary, None, None, "Registered was an estimate with its interval, and no test.")
    if plan.hypothesis == "difference":
        return _difference(primary, plan)
    return _equivalence(primary, inner, reads, plan)


def _difference(primary: Finding, plan: PlanConfig) -> Tested:
    value, alpha = primary.value or 0.0, 1 - plan.level
    low, high = primary.low if primary.low is not None else 0, primary.high if primary.high is not None else 1
    better = value < CHANCE if plan.primary == "called_real" else value > CHANCE
    differs = primary.p < alpha if primary.p is not None else not low <= CHANCE <= high
    p = f", p = {primary.p:.3g}" if primary.p is not None else ""
    if not differs:
        sentence = f"A difference from chance was not shown{p}; that does not show that there is none."
    elif better:
        sentence = f"Readers told phony from real better than chance{p}."
    else:
        sentence = f"The figure differs from chance{p}, and in the direction opposite to readers telling them apart."
    return Tested(primary, primary.p, differs and better, sentence)


def _equivalence(primary: Finding, inner: Finding, reads: Sequence[Read], plan: PlanConfig) -> Tested:
    low, high = CHANCE - plan.margin, CHANCE + plan.margin
    p = None
    if plan.primary != "auc" and len(readers_of(reads)) == 1:
        outcomes = [right for read in reads if (right := primary_outcome(plan)(read)) is not None]
        p = equivalence_test(sum(outcomes), len(outcomes), plan.margin)
        shown = p <= 1 - plan.level
    else:
        shown = inner.low is not None and inner.high is not None and low < inner.low and inner.high < high
    how = (f"exact p = {p:.3g}" if p is not None else
           f"the {2 * plan.level - 1:.0%} interval is {inner.low or 0:.3f} to {inner.high or 0:.3f}")  # fmt: skip
    zone = f"{low:.2f} to {high:.2f}"
    verdict = f"Equivalence with chance within {zone} was {'shown' if shown else 'not shown'}"
    return Tested(primary, p, shown, f"{verdict} (two one-sided tests, {how}).")


def _by_area(reads: Sequence[Read], plan: PlanConfig, level: float) -> Finding | None:
    areas = [finding for finding in measure_auc(reads, level) if finding.modality == ALL and finding.arm == ALL]
    for quantity in (RANDOM, FIXED):
        if finding := find(areas, quantity):
            return finding
    return next((finding for finding in areas if finding.quantity == AUC), None)


def _by_share(reads: Sequence[Read], plan: PlanConfig, level: float) -> Finding | None:
    name, outcome = plan.primary.replace("_", " "), primary_outcome(plan)
    general = share_in_general(name, reads, outcome, level)
    if general is not None:
        return general
    finding = share(name, reads, outcome, level, each=len(readers_of(reads)) == 1)
    return finding.where(quantity=f"{name}, these readers") if finding else None
