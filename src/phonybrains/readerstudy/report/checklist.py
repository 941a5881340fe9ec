"""CLAIM 2024, STARD-AI and GRRAS, filled in from the study: answered, not answered, not applicable, and where."""

from __future__ import annotations

from ...record import read_record
from ...reporting.blocks import Block, Heading, Paragraph, Table
from ...reporting.origin import chain_of
from ...wording import count_of
from ..findings.analysis import Analysis
from .closing import read_table

YES, NO, NONE = "yes", "no", "not applicable"
PART, AUTHOR = "in part", "for the author to state"
Answered = tuple[str, str]


def checklist(analysis: Analysis) -> list[Block]:
    """Every item with what this study answers, and where; what only the author knows is said to be the author's."""
    known = facts(analysis)
    rows = []
    for row in read_table("checklist.csv"):
        answer, where = known[row["here"][1:]] if row["here"].startswith("=") else (row["here"], "")
        rows.append((row["guideline"], row["item"], row["topic"], answer, where or row["where"]))
    explained = (
        "Items of CLAIM 2024, STARD 2015 with the additions of STARD-AI, and GRRAS, in our own words; CLAIM's and "
        "STARD-AI's by section, not by their numbers. Filled in from what this study did; it helps to fill in the "
        "official forms and does not replace them."
    )
    columns = ("Guideline", "item", "topic", "here", "where")
    return [
        Heading("Reporting checklist"),
        Paragraph(explained),
        Table(columns, tuple(rows), "", (1.2, 1.1, 3, 1.2, 3), (0, 1, 2, 3, 4)),
    ]


def facts(analysis: Analysis) -> dict[str, Answered]:
    """What this study answers: `=fact` of the table → the answer, and where or why not (empty: the table's `where`)."""
    return {**_of_plan(analysis), **_of_images(analysis), **_of_readers(analysis)}


def _of_plan(analysis: Analysis) -> dict[str, Answered]:
    missing = sum(participant.missing for participant in analysis.participants)
    frozen: dict[bool | None, Answered] = {
        True: (YES, ""),
        False: (NO, "answers were given before the protocol was frozen"),
        None: (AUTHOR, "the times of imported or simulated answers are not known"),
    }
    tested = "" if analysis.registered.test else "The registered test was not carried out; The plan as registered"
    estimate = analysis.study.config.plan.hypothesis == "estimate"
    return {
        "frozen first": frozen[analysis.frozen_first],
        "hypothesis": (NO, "an estimate was registered, and no hypothesis") if estimate else (YES, ""),
        "missing data": (
            YES,
            f"Departures from the plan: {count_of(missing, 'presentation was', 'presentations were')} not answered",
        ),
        "registered": (PART, tested),
    }


def _of_images(analysis: Analysis) -> dict[str, Answered]:
    real, split = analysis.controls, analysis.study.config.split
    steps = [str(step[0]) for step in chain_of(read_record(analysis.study.folder))]
    unknown = (NO, "the study has no record of how its images came to be")
    synthetic = (NONE, "all images were synthetic")
    learnt = (NO, f"controls come from the split '{split}', which a model may have learnt from")
    imported = any("import" in step for step in steps)
    return {
        "sources": (PART, "") if steps else unknown,
        "chain": (YES, "") if steps else unknown,
        "real images": (PART, "") if real else synthetic,
        "de-identified": synthetic if not real else (PART, "") if imported else (AUTHOR, "no import is on record"),
        "held out": synthetic if not real else (YES, "") if split == "test" else learnt,
        "reference": (YES, "") if real else (YES, "All images are phony by origin"),
        "accuracy": (YES, "") if real else (PART, "all images were synthetic: Phony images called real; Sensitivity"),
        "cross table": (YES, "") if real else synthetic,
        "attributes": (PART, "")
        if any(case.attributes for case in analysis.study.cases.values())
        else (NO, "the cases have no attributes"),
        "marks": (PART, "") if analysis.maps else (NO, "nobody marked a spot"),
    }


def _of_readers(analysis: Analysis) -> dict[str, Answered]:
    several, again = len(analysis.readers) > 1, bool(analysis.all_of("repeats: agreement"))
    sources = {participant.source for participant in analysis.participants if participant.answered}
    drawn = (NONE, "the readers were simulated")
    elsewhere = (AUTHOR, "of imported answers it is not known here")
    seen = elsewhere if "imported" in sources else drawn if "simulated" in sources else (YES, "")
    lacking = [*([] if several else ["there was one reader"]), *([] if again else ["no image was answered twice"])]
    return {
        "several readers": (YES, "") if several else (NONE, "there was one reader"),
        "variability": (YES, "") if not lacking else (NO if len(lacking) == 2 else PART, "; ".join(lacking)),
        "blinded": seen,
        "order known": seen,
        "persons": drawn if sources == {"simulated"} else (PART, ""),
    }
