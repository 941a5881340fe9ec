"""The report's last pages: checks, flow, plan and departures, checklist, origin of the images, limits, files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from importlib import resources

from ...record import read_record
from ...reporting.blocks import Block, Bullets, Heading, Note, Paragraph, Table
from ...reporting.origin import chain_of, refusals
from ...reporting.wording import NONE, count_of
from ..findings.analysis import Analysis
from ..findings.reads import find
from .wording import as_share

KINDS = ("training", "test", "repeat", "check")


def checks(analysis: Analysis) -> list[Block]:
    """Attention checks and who was left out."""
    plan = analysis.study.config.plan
    blocks: list[Block] = [Heading("Attention checks and exclusions")]
    found = analysis.all_of("attention checks passed")
    if not found:
        return [*blocks, Paragraph("The study had no attention checks, or none was answered; nobody was left out.")]
    rows = tuple((f.reader, as_share(f), str(f.n), "left out" if f.note else "kept") for f in found)
    return [
        *blocks,
        Paragraph(
            "A check is a real image cut into tiles and shuffled; it is passed unless it is called real. Registered: "
            f"a reader who passes fewer than {plan.checks_passed:.0%} is left out of the main analysis."
        ),
        Table(("Reader", "checks passed", "checks", "main analysis"), rows, "", (1, 2, 0.6, 1), (0, 3)),
    ]


def flow(analysis: Analysis) -> list[Block]:
    """Cases and readers from the plan to the analysis."""
    roles = analysis.study.of_role
    tests = roles("test")
    arms: dict[str, list[int]] = {}
    modalities = sorted({case.modality for case in tests}, reverse=True)
    for case in tests:
        arms.setdefault(case.arm, [0] * len(modalities))[modalities.index(case.modality)] += 1
    rows = tuple((arm, *map(str, counts), str(sum(counts))) for arm, counts in sorted(arms.items()))
    readers = []
    for participant in analysis.participants:
        parts = [
            f"{participant.answered.get(kind, 0)} / {participant.planned[kind]}"
            if participant.planned.get(kind)
            else str(participant.answered.get(kind, 0) or NONE)
            for kind in KINDS
        ]
        fate = (
            "left out"
            if participant.excluded
            else "in the analysis"
            if participant.answered.get("test")
            else "no answers"
        )
        readers.append((participant.reader, participant.source, participant.state or NONE, *parts, fate))
    return [
        Heading("Who was shown what"),
        Table(
            ("Arm", *modalities, "all"),
            rows,
            f"Test cases; besides, {count_of(len(roles('training')), 'training case')} and "
            f"{count_of(len(roles('check')), 'attention check')}.",
        ),
        Table(
            ("Reader", "came by", "state", *KINDS, "fate"),
            tuple(readers),
            "Answered / planned presentations.",
            (1.3, 1, 0.9, 0.9, 0.9, 0.8, 0.8, 1.2),
            (0, 1, 2, 7),
        ),
    ]


def conduct() -> list[Block]:
    """Where the part on the conduct of the study begins."""
    return [Heading("Conduct of the study"), Paragraph("How the study was planned and carried out.")]


def plan(analysis: Analysis) -> list[Block]:
    """The plan as it was registered."""
    protocol = analysis.study.protocol
    frozen = {
        True: "before the first answer",
        False: "after the first answer",
        None: "and whether before the first answer is not known, as not all answers have a time of this study's server",
    }[analysis.frozen_first]
    return [
        Heading("The plan as registered"),
        Paragraph(
            f"Protocol {analysis.study.hash}, frozen {protocol.get('created', 'at an unknown time')}, {frozen}. Its "
            "hash covers the cases, the code, the seed and this plan."
        ),
        Bullets(tuple(map(str, protocol["plan"]))),
        *(Note(str(warning), "warning") for warning in protocol.get("warnings") or ()),
    ]


def origin(analysis: Analysis) -> list[Block]:
    """How the images were made, and the limits of the study."""
    record = read_record(analysis.study.folder)
    rows = tuple(chain_of(record))
    blocks: list[Block] = [Heading("How the images were made, and limits")]
    if rows:
        blocks.append(
            Table(
                ("Step", "name", "SHA-256", "what determined it"),
                rows,
                "The chain of records from the study back to its sources; an indented step is an input of the one "
                "above.",
                (1.4, 1.4, 1.2, 4.2),
                (0, 1, 2, 3),
            )
        )
    else:
        blocks.append(Paragraph("The study has no record of how its images came to be."))
    blocks += refusals(record)
    history = analysis.study.config.same_history
    if history:
        blocks.append(Paragraph(f"Real and synthetic images went through the same last steps: {', '.join(history)}."))
    return [*blocks, Heading("Limits", 3), Bullets(tuple(_limits(analysis)))]


def _limits(analysis: Analysis) -> Iterator[str]:
    readers = len(analysis.readers)
    if readers < 3:
        yield f"{count_of(readers, 'reader')}: no claim about readers in general is made."
    elif readers < 5:
        yield f"{readers} readers: intervals for readers in general are wide, and rest on few of them."
    if analysis.controls:
        yield f"The real images are of {count_of(analysis.patients, 'patient')}; images of one patient count together."
    if not analysis.controls:
        yield "No real images: a reader who calls everything real cannot be told from one whom all images fool."
    unclear = sum(read.call == "unclear" for read in analysis.main)
    if unclear:
        yield (
            f"{unclear} of {len(analysis.main)} answers are unclear; the three treatments of them are given beside one "
            "another."
        )
    yield "Single images were judged on a screen of unknown quality, without the other slices and without the patient."
    yield (
        "Readers knew that some images are synthetic. In daily work nobody expects that, and more would pass for real."
    )
    yield "That an image passes for real does not show that it is anatomically right, or fit to train a model with."


def published(analysis: Analysis) -> list[Block]:
    """Figures of other studies to stand beside these."""
    rows = [(row["study"], row["images"], row["readers"], row["result"]) for row in read_table("published.csv")]
    own = find(analysis.findings, "called real", unclear="not real")
    if own is not None:
        images = len({read.case.case_id for read in analysis.main})
        rows.append(
            (
                "This study",
                f"{images} images",
                count_of(len(analysis.readers), "reader"),
                f"{as_share(own)} of the phony images called real",
            )
        )
    return [
        Heading("Published figures to compare with"),
        Table(
            ("Study", "images", "readers", "result"),
            tuple(rows),
            "Designs differ; the figures show orders of magnitude and no ranking.",
            (2, 2, 1.4, 3),
            (0, 1, 2, 3),
        ),
    ]


def files() -> list[Block]:
    """What lies beside the report."""
    return [
        Heading("Files"),
        Bullets(
            (
                "report.html and report.pdf: this report.",
                "results.json and results.csv: every figure with value, interval, n and method.",
                "answers.csv: every answer beside the truth; readers.csv; cases.csv: what was said of each case.",
                "dictionary.csv: what each column of each table means.",
                "figures/: every figure as SVG and PNG.",
                "record.json: what this report was made from, with which versions.",
            )
        ),
    ]


def read_table(name: str) -> list[dict[str, str]]:
    """A table that comes with the report."""
    source = resources.files("phonybrains") / "readerstudy" / "report" / name
    return list(csv.DictReader(io.StringIO(source.read_text(encoding="utf-8"))))
