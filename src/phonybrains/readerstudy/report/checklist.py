"""CLAIM 2024, STARD-AI and GRRAS, filled in from the study: answered, not answered, not applicable, and where."""

from __future__ import annotations

from collections.abc import Mapping

from ...record import read_record
from ...reporting.blocks import Block, Heading, Paragraph, Table
from ...reporting.origin import chain_of
from ..findings.analysis import Analysis
from .closing import read_table

YES, NO, NONE = "yes", "no", "not applicable"
PART, AUTHOR = "in part", "for the author to state"
NOT_SEEN = "the order and the blinding of imported answers are for the author to state"


def checklist(analysis: Analysis) -> list[Block]:
    """Every item with what this study answers, and where; what only the author knows is said to be the author's."""
    known = facts(analysis)
    rows = []
    for row in read_table("checklist.csv"):
        answer, where = known.get(row["fact"], (row["fact"], row["where"]))
        rows.append((row["guideline"], row["item"], row["topic"], answer, where or row["where"]))
    return [
        Heading("Reporting checklist"),
        Paragraph("Items of CLAIM 2024, STARD 2015 with the additions of STARD-AI, and GRRAS, in our own words; CLAIM's and "
                  "STARD-AI's by section, not by their numbers. Filled in from what this study did; it helps to fill in "
                  "the official forms and does not replace them."),
        Table(("Guideline", "item", "topic", "here", "where"), tuple(rows), "", (1.2, 1.1, 3, 1.2, 3), (0, 1, 2, 3, 4)),
    ]


def facts(analysis: Analysis) -> Mapping[str, tuple[str, str]]:
    """What this study answers: a fact of the table's column `fact` → the answer, and where (empty: the table's)."""
    config, findings = analysis.study.config, analysis.findings
    real, several = analysis.controls, len(analysis.readers) > 1
    chain = [str(step[0]).strip() for step in chain_of(read_record(analysis.study.folder))]
    sources = {reading.source for reading in analysis.readings if reading.answered}
    attributes = any(case.attributes for case in analysis.study.cases.values())
    missing = sum(reading.missing for reading in analysis.readings)
    held_out = config.split == "test"

    def given(condition: bool, otherwise: str, answer: str = NO) -> tuple[str, str]:
        return (YES, "") if condition else (answer, otherwise)

    no_real = "all images were synthetic"
    return {
        "frozen first": {True: (YES, "prospective: The plan as registered (frozen before the first answer)"),
                         False: (NO, "answers were given before the protocol was frozen"),
                         None: (AUTHOR, "the times of imported or simulated answers are not known")}[analysis.frozen_first],
        "hypothesis": given(config.plan.hypothesis != "estimate", "no hypothesis was registered, but an estimate"),
        "sources": given(bool(chain), "the study has no record of its images") if not real else
                   (PART, "") if chain else (NO, "the study has no record of its images"),
        "real images": (PART, "") if real else (NONE, no_real),
        "de-identified": (NONE, no_real) if not real else
                         (PART, "") if any("import" in step for step in chain) else
                         (AUTHOR, "no import stands in the chain of records"),
        "held out": (NONE, no_real) if not real else
                    given(held_out, f"controls come from the split '{config.split}', which a model may have learnt from"),
        "missing data": (YES, f"Departures from the plan: {missing} presentations not answered"),
        "several readers": given(several, "there was one reader", NONE),
        "variability": given(several and bool(analysis.all_of("repeats: agreement")),
                             "; ".join([*(["one reader"] if not several else []),
                                        *(["no image was answered twice by a reader"]
                                          if not analysis.all_of("repeats: agreement") else [])])),
        "repeats": given(bool(analysis.all_of("repeats: agreement")), "no image was answered twice by a reader"),
        "accuracy": given(real, f"{no_real}: sensitivity alone, under 'Sensitivity'", PART),
        "cross table": given(real, no_real, NONE),
        "reference": (YES, "Truth is known by origin: real images come from a scanner, phony ones from a model") if real
                     else (YES, "All images are phony by origin"),
        "marks": given(bool(analysis.maps), "nobody marked a spot"),
        "attributes": (PART, "") if attributes else (NO, "the cases have no attributes"),
        "blinded": _blinded(sources),
        "order known": given(sources == {"invited"}, NOT_SEEN if "imported" in sources else "readers were simulated",
                             AUTHOR if "imported" in sources else NONE),
        "machine readers": (NONE, "readers were simulated") if sources == {"simulated"} else (PART, ""),
        "registered": (PART, "") if analysis.registered.test else (PART, "The registered test could not be carried out; "
                                                                      "protocol as frozen: The plan as registered"),
        "two arms": given(len({f.arm for f in findings if f.arm != "all"}) > 1, "there was one synthetic set", NONE),
    }


def _blinded(sources: set[str]) -> tuple[str, str]:
    if "imported" in sources:
        return AUTHOR, "of imported answers it is not known here"
    if "simulated" in sources:
        return NONE, "readers were simulated"
    return YES, ""
