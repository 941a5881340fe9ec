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
from .performance import Outcome, as_finding
from .primary import AUC, BALANCED, CALLED_REAL, infer, table_of
from .reads import Finding, Read, patient_of, readers_of, select, with_controls
from .registered import DRAWS, randomised_p

LEAST_P = 1e-12
"""A p below this is rounding: no p is 0."""


def measure_in_general(reads: Sequence[Read], plan: PlanConfig) -> list[Finding]:
    """Sensitivity, specificity, accuracy and called real for readers in general: three readers or more."""
    outcomes: dict[str, Outcome] = {
        "sensitivity": lambda read: read.correct(plan.unclear) if read.phony else None,
        "specificity": lambda read: None if read.phony else read.correct(plan.unclear),
        "accuracy": lambda read: read.correct(plan.unclear),
        "called real": lambda read: read.call == "real" if read.phony else None,
    }
    kept = outcomes if with_controls(reads) else {"called real": outcomes["called real"]}
    found = [share_in_general(name, reads, outcome, plan.level) for name, outcome in kept.items()]
    return [
        finding.where(unclear="" if finding.quantity.startswith("called") else plan.unclear)
        for finding in found
        if finding
    ]


def share_in_general(name: str, reads: Sequence[Read], outcome: Outcome, level: float) -> Finding | None:
    """A share as the mean over readers like these, from all answers that have an outcome."""
    said = {(read.reader, read.case.case_id): float(right) for read in reads if (right := outcome(read)) is not None}
    cases = {read.case.case_id: read.case for read in reads if (read.reader, read.case.case_id) in said}
    if len(cases) < 2:
        return None
    table = np.array([[said.get((reader, case), np.nan) for case in cases] for reader in readers_of(reads)])
    found = in_general(shares(table, [patient_of(case) for case in cases.values()]), level)
    if found is None:
        return None
    method = f"readers and cases random by patient (Obuchowski-Rockette, score; df = {found.df:.1f})"
    return as_finding(f"{name}, readers in general", found.estimate, method)


def measure_each(reads: Sequence[Read], plan: PlanConfig, seed: int, draws: int = DRAWS) -> list[Finding]:
    """Each reader against one half, by the test that is registered for all together.

    Balanced accuracy and AUC where real images were shown, else the share of phony images called real.
    """
    kinds = (AUC, BALANCED) if with_controls(reads) else (CALLED_REAL,)
    found = []
    for kind in kinds:
        for reader in readers_of(reads):
            table = table_of(select(reads, reader=reader), plan.model_copy(update={"primary": kind}))
            inferred = infer(table, plan.level, False) if table else None
            if table is None or inferred is None:
                continue
            p = max(inferred.p_of_half, randomised_p(table, seed, draws))
            finding = inferred.finding(NAMES[kind], "one reader")
            found.append(replace(finding, p=p, reader=reader, note="unclear counts one half"))
    return found


def correct_together(findings: Sequence[Finding]) -> list[Finding]:
    """All p of the exploratory part corrected for their number, so that they are false together as seldom as one."""
    tested = [finding.p for finding in findings if finding.p is not None]
    corrected = iter(holm(np.clip(tested, LEAST_P, 1)).tolist() if tested else [])
    return [finding if finding.p is None else replace(finding, p=next(corrected)) for finding in findings]
