"""The report, built once as blocks, in the order a reviewer reads it."""

from __future__ import annotations

from ...reporting.blocks import Block
from ..findings.analysis import Analysis
from . import closing, habits, opening, results


def build_report(analysis: Analysis) -> list[Block]:
    """All blocks: the verdict, the paper's elements, the results, the conduct of the study."""
    return [
        *opening.verdict(analysis),
        *opening.paper_elements(analysis),
        *results.performance(analysis),
        *opening.test_of_plan(analysis),
        *results.roc(analysis),
        *results.arms(analysis),
        *habits.agreement(analysis),
        *habits.repeats(analysis),
        *habits.bias(analysis),
        *habits.confidence(analysis),
        *habits.course(analysis),
        *closing.checks(analysis),
        *habits.marks(analysis),
        *results.machine(analysis),
        *closing.flow(analysis),
        *closing.plan(analysis),
        *closing.checklist(),
        *closing.origin(analysis),
        *closing.published(analysis),
        *closing.files(),
    ]
