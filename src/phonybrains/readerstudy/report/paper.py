"""The elements of the paper: samples, counts, images all called alike, notes (its Fig. 2 to 5 and Table I)."""

from __future__ import annotations

from collections import Counter

from ...reporting.blocks import Block, Gallery, Heading, Paragraph, Table
from ...reporting.wording import listed
from ..findings.analysis import Analysis
from ..findings.figures import CaseAnswers, pick_notes, unanimous
from ..findings.reads import modalities_of, readers_of
from ..study import CALLS
from . import plots
from .images import picture_of

SAMPLES = 10


def paper_elements(analysis: Analysis) -> list[Block]:
    """What the paper shows: samples, images all called phony, counts, images all called real, notes."""
    blocks: list[Block] = [Heading("The images and what was said of them")]
    for modality in modalities_of(analysis.main):
        blocks += _samples(analysis, modality)
    blocks += [*_counts(analysis), *_unanimous(analysis), *_notes(analysis)]
    return blocks


def _samples(analysis: Analysis, modality: str) -> list[Block]:
    phony = [one for one in analysis.cases if one.case.modality == modality and one.case.truth == "phony"][:SAMPLES]
    if not phony:
        return []
    figure = {"MR": " (the paper's Fig. 2)", "CT": " (the paper's Fig. 3)"}.get(modality, "")
    caption = (
        f"{modality}: {len(phony)} of the synthetic images that were shown, with how many readers called each real, "
        f"phony and unclear{figure}."
    )
    return [_gallery(analysis, f"samples_{modality.lower()}", phony, caption)]


def _gallery(analysis: Analysis, name: str, cases: list[CaseAnswers], caption: str) -> Gallery:
    pictures = tuple(picture_of(analysis.study, one.case.case_id) for one in cases)
    return Gallery(name, pictures, tuple(map(_label, cases)), caption)


def _label(one: CaseAnswers) -> str:
    said = ", ".join(f"{one.count(call)} {call}" for call in CALLS if one.count(call))
    return f"{one.case.case_id[:8]} ({one.case.truth}): {said}"


def _counts(analysis: Analysis) -> list[Block]:
    blocks: list[Block] = [Heading("Counts of real, phony and unclear", 3)]
    table = [
        (reader, modality, truth, *(str(c) for c in calls), str(sum(calls)))
        for (truth, modality, reader), calls in call_counts(analysis).items()
    ]
    for truth in ("phony", "real"):
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for (kind, modality, reader), calls in call_counts(analysis).items():
            if kind == truth:
                counts.setdefault(modality, {})[reader] = dict(zip(CALLS, calls, strict=True))
        if counts:
            caption = f"How many of the {truth} images each reader called real, phony and unclear" + (
                " (the paper's Fig. 5)." if truth == "phony" else "."
            )
            blocks.append(plots.plot_calls(counts, truth, caption))
    return [
        *blocks,
        Table(
            ("Reader", "Modality", "Truth", "called real", "called phony", "called unclear", "images"),
            tuple(table),
            "The same as numbers.",
            text_columns=(0, 1, 2),
        ),
    ]


def call_counts(analysis: Analysis) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """(truth, modality, reader) → counts of real, phony, unclear."""
    counts = Counter((read.case.truth, read.case.modality, read.reader, read.call) for read in analysis.main)
    return {
        (truth, modality, reader): (
            counts[truth, modality, reader, "real"],
            counts[truth, modality, reader, "phony"],
            counts[truth, modality, reader, "unclear"],
        )
        for truth in ("phony", "real")
        for modality in modalities_of(analysis.main)
        for reader in analysis.readers
        if any(counts[truth, modality, reader, call] for call in CALLS)
    }


def _unanimous(analysis: Analysis) -> list[Block]:
    readers = len(readers_of(analysis.main))
    who = {1: "the reader", 2: "both readers"}.get(readers, f"all {readers} readers")
    blocks: list[Block] = [Heading(f"Images that {who} called phony, and authentic", 3)]
    for call, name in (("phony", "phony"), ("real", "authentic")):
        cases = unanimous(analysis.cases, call, readers)
        phony = sum(one.case.truth == "phony" for one in cases)
        split = Counter(one.case.modality for one in cases)
        found = listed([f"{split[m]} {m}" for m in modalities_of(analysis.main) if split[m]])
        if not cases:
            blocks.append(Paragraph(f"No image was called {name} by {who}."))
            continue
        paper = " (the paper's Fig. 4)" if call == "phony" else ""
        truth = f"{phony} of them phony, {len(cases) - phony} real" if analysis.controls else "all of them phony"
        caption = f"Called {name} by {who}{paper}: {found}, n = {len(cases)}, {truth}."
        blocks.append(_gallery(analysis, f"called_{call}_by_all", cases[: 4 * SAMPLES], caption))
    return blocks


def _notes(analysis: Analysis) -> list[Block]:
    chosen = pick_notes(analysis.cases)
    if not chosen:
        return [Heading("Notes on single images", 3), Paragraph("No reader described an image.")]
    rows = []
    for one in chosen:
        notes = "\n".join(f"{answer.reader} ({answer.call}): {answer.description.strip()}" for answer in one.described)
        rows.append((picture_of(analysis.study, one.case.case_id), f"{one.case.modality}, {one.case.truth}", notes))
    caption = (
        f"Sample notes (the paper's Table I). All {sum(len(o.described) for o in analysis.cases)} are in answers.csv."
    )
    return [
        Heading("Notes on single images", 3),
        Table(("Image", "What it is", "What readers wrote"), tuple(rows), caption, (1.1, 0.9, 4.5), (0, 1, 2)),
    ]
