"""What is exploratory beside the registered test: shares for readers in general, each reader against chance, families.

Every p that was not registered belongs to one family: all of them are corrected together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...statistics.estimate import holm
from ...statistics.multireader import in_general, shares
from ..config import PlanConfig
from ..design.plan import FIGURES as NAMES
from .performance import Outcome, skill_outcomes
from .primary import AUC, BALANCED, CALLED_REAL, infer, primary_table
from .reads import Finding, Read, as_finding, readers_of, select, table_of, with_controls
from .registered import DRAWS, randomised_p

LEAST_P = 1e-12
"""A p below this is rounding: no p is 0."""


def measure_in_general(reads: Sequence[Read], plan: PlanConfig) -> list[Finding]:
    """Sensitivity, specificity, accuracy and called real for readers in general: three readers or more."""
    outcomes = skill_outcomes(plan.unclear) if with_controls(reads) else {}
    shares = [share_in_general(name, reads, outcome, plan.level) for name, outcome in outcomes.items()]
    found = [finding.where(unclear=plan.unclear) for finding in shares if finding]
    phony = [read for read in reads if read.phony]
    called = share_in_general("called real", phony, lambda read: read.call == "real", plan.level)
    return [*found, called] if called else found


def share_in_general(name: str, reads: Sequence[Read], outcome: Outcome, level: float) -> Finding | None:
    """A share as the mean over readers like these, from all answers that have an outcome."""
    table = table_of([read for read in reads if outcome(read) is not None], outcome)
    if len(table.cases) < 2:
        return None
    if found := in_general(shares(table.values, table.patients), level):
        method = f"readers and cases random by patient (Obuchowski-Rockette, score; df = {found.df:.1f})"
        return as_finding(f"{name}, readers in general", found.estimate, method)
    return None


def measure_each(reads: Sequence[Read], plan: PlanConfig, seed: int, draws: int = DRAWS) -> list[Finding]:
    """Each reader against one half, by the test that is registered for all together.

    Balanced accuracy and AUC where real images were shown, else the share of phony images called real.
    """
    kinds = (AUC, BALANCED) if with_controls(reads) else (CALLED_REAL,)
    found = []
    for kind in kinds:
        for reader in readers_of(reads):
            table = primary_table(select(reads, reader=reader), kind)
            if table and (inferred := infer(table, plan.level, False)):
                p = max(inferred.half.p_value, randomised_p(table, seed, draws))
                finding = inferred.finding(NAMES[kind], "one reader")
                found.append(replace(finding, p=p, reader=reader, note="unclear counts one half"))
    return found


def correct_together(findings: Sequence[Finding]) -> list[Finding]:
    """All p of the exploratory part corrected for their number, so that they are false together as seldom as one."""
    tested = [finding.p for finding in findings if finding.p is not None]
    corrected = iter(holm(np.clip(tested, LEAST_P, 1)).tolist() if tested else [])
    return [finding if finding.p is None else replace(finding, p=next(corrected)) for finding in findings]
