"""The report, built once as blocks, in the order a reviewer reads it."""

from __future__ import annotations

from ...reporting.blocks import Block, Heading, Paragraph
from ..findings.analysis import Analysis
from . import checklist, closing, habits, opening, paper, results


def build_report(analysis: Analysis) -> list[Block]:
    """All blocks: the registered result and departures, all that is exploratory, the conduct of the study."""
    return [
        *opening.verdict(analysis),
        *opening.registered_test(analysis),
        *opening.departures(analysis),
        *opening.exploratory(analysis),
        *paper.paper_elements(analysis),
        *opening.called_real(analysis),
        *results.performance(analysis),
        *results.each(analysis),
        *results.roc(analysis),
        *results.arms(analysis),
        *habits.agreement(analysis),
        *habits.repeats(analysis),
        *habits.bias(analysis),
        *habits.confidence(analysis),
        *habits.course(analysis),
        *habits.marks(analysis),
        *results.machine(analysis),
        Heading("Conduct of the study"),
        Paragraph("How the study was planned and carried out."),
        *closing.checks(analysis),
        *closing.flow(analysis),
        *closing.plan(analysis),
        *checklist.checklist(analysis),
        *closing.origin(analysis),
        *closing.published(analysis),
        *closing.files(),
    ]
