"""The report's last pages: checks, flow, plan and departures, checklist, origin of the images, limits, files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from importlib import resources

from ...record import read_record
from ...reporting import closing
from ...reporting.blocks import Block, Bullets, Heading, Note, Paragraph, Table
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
    words = (
        "A check is a real image cut into tiles and shuffled; it is passed unless it is called real. Registered: a "
        f"reader who passes fewer than {plan.checks_passed:.0%} is left out of the main analysis."
    )
    columns = ("Reader", "checks passed", "checks", "main analysis")
    return [*blocks, Paragraph(words), Table(columns, rows, "", (1, 2, 0.6, 1), (0, 3))]


def flow(analysis: Analysis) -> list[Block]:
    """Cases and readers from the plan to the analysis."""
    roles = analysis.study.of_role
    tests = roles("test")
    modalities = sorted({case.modality for case in tests}, reverse=True)
    counts = Counter((case.arm, case.modality) for case in tests)
    arms = []
    for arm in sorted({case.arm for case in tests}):
        own = [counts[arm, modality] for modality in modalities]
        arms.append((arm, *map(str, own), str(sum(own))))
    readers = []
    for one in analysis.participants:
        parts = []
        for kind in KINDS:
            given, planned = one.answered.get(kind, 0), one.planned.get(kind)
            parts.append(f"{given} / {planned}" if planned else str(given or NONE))
        fate = "left out" if one.excluded else "in the analysis" if one.answered.get("test") else "no answers"
        readers.append((one.reader, one.source, one.state or NONE, *parts, fate))
    training, checks = count_of(len(roles("training")), "training case"), len(roles("check"))
    caption = f"Test cases; besides, {training} and {count_of(checks, 'attention check')}."
    columns, widths = ("Reader", "came by", "state", *KINDS, "fate"), (1.3, 1, 0.9, 0.9, 0.9, 0.8, 0.8, 1.2)
    return [
        Heading("Who was shown what"),
        Table(("Arm", *modalities, "all"), tuple(arms), caption),
        Table(columns, tuple(readers), "Answered / planned presentations.", widths, (0, 1, 2, 7)),
    ]


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
    blocks: list[Block] = [Heading("How the images were made, and limits")]
    if record:
        blocks += closing.origin_table(record, "the study")
    else:
        blocks.append(Paragraph("The study has no record of how its images came to be."))
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
        given = "the three treatments of them are given beside one another"
        yield f"Of {count_of(len(analysis.main), 'answer')}, {count_of(unclear, 'is', 'are')} unclear; {given}."
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
        images, readers = len({read.case.case_id for read in analysis.main}), count_of(len(analysis.readers), "reader")
        rows.append(
            ("This study", count_of(images, "image"), readers, f"{as_share(own)} of the phony images called real")
        )
    return closing.published(("Study", "images", "readers", "result"), rows, (2, 2, 1.4, 3))


def files() -> list[Block]:
    """What lies beside the report."""
    return closing.files(
        "results.json and results.csv: every figure with value, interval, n and method.",
        "answers.csv: every answer beside the truth; readers.csv; cases.csv: what was said of each case.",
        "dictionary.csv: what each column of each table means.",
        closing.FIGURES,
        "record.json: what this report was made from, with which versions.",
    )


def read_table(name: str) -> list[dict[str, str]]:
    """A table that comes with the report."""
    source = resources.files("phonybrains") / "readerstudy" / "report" / name
    return list(csv.DictReader(io.StringIO(source.read_text(encoding="utf-8"))))
