"""The elements of the paper: samples, counts, images all called alike, notes (its Fig. 2 to 5 and Table I)."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np

from ...reporting.blocks import Block, Gallery, Heading, Paragraph, Picture, Table
from ...reporting.pictures import picture
from ...reporting.wording import listed
from ..findings.analysis import Analysis
from ..findings.figures import CaseAnswers, pick_notes, to_grey, unanimous
from ..findings.reads import modalities_of, readers_of
from ..study import CALLS, Case
from . import plots

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
    said = f"with how many readers called each real, phony and unclear{figure}"
    caption = f"{modality}: {len(phony)} of the synthetic images that were shown, {said}."
    return [_gallery(analysis, f"samples_{modality.lower()}", phony, caption)]


def _gallery(analysis: Analysis, name: str, cases: list[CaseAnswers], caption: str) -> Gallery:
    pictures = tuple(_picture(analysis, one.case) for one in cases)
    return Gallery(name, pictures, tuple(map(_label, cases)), caption)


def _picture(analysis: Analysis, case: Case) -> Picture:
    grey = np.rint(to_grey(analysis.study, case.case_id) * 255)
    return picture(grey, f"{case.modality} image {case.case_id}")


def _label(one: CaseAnswers) -> str:
    said = ", ".join(f"{one.count(call)} {call}" for call in CALLS if one.count(call))
    return f"{one.case.case_id[:8]} ({one.case.truth}): {said}"


def _counts(analysis: Analysis) -> list[Block]:
    blocks: list[Block] = [Heading("Counts of real, phony and unclear", 3)]
    found = call_counts(analysis)
    for truth in ("phony", "real"):
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for (kind, modality, reader), calls in found.items():
            if kind == truth:
                counts.setdefault(modality, {})[reader] = dict(zip(CALLS, calls, strict=True))
        if counts:
            figure = " (the paper's Fig. 5)" if truth == "phony" else ""
            caption = f"How many of the {truth} images each reader called real, phony and unclear{figure}."
            blocks.append(plots.plot_calls(counts, truth, caption))
    rows = [(reader, modality, truth, *map(str, [*n, sum(n)])) for (truth, modality, reader), n in found.items()]
    columns = ("Reader", "Modality", "Truth", "called real", "called phony", "called unclear", "images")
    return [*blocks, Table(columns, tuple(rows), "The same as numbers.", text_columns=(0, 1, 2))]


def call_counts(analysis: Analysis) -> dict[tuple[str, str, str], tuple[int, ...]]:
    """(truth, modality, reader) → counts of real, phony, unclear."""
    counts = Counter((read.case.truth, read.case.modality, read.reader, read.call) for read in analysis.main)
    cells = product(("phony", "real"), modalities_of(analysis.main), analysis.readers)
    found = {cell: tuple(counts[*cell, call] for call in CALLS) for cell in cells}
    return {cell: calls for cell, calls in found.items() if any(calls)}


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
    heading, chosen = Heading("Notes on single images", 3), pick_notes(analysis.cases)
    if not chosen:
        return [heading, Paragraph("No reader described an image.")]
    rows = []
    for one in chosen:
        notes = "\n".join(f"{answer.reader} ({answer.call}): {answer.description.strip()}" for answer in one.described)
        rows.append((_picture(analysis, one.case), f"{one.case.modality}, {one.case.truth}", notes))
    described = sum(len(one.described) for one in analysis.cases)
    caption = f"Sample notes (the paper's Table I). All {described} are in answers.csv."
    columns = ("Image", "What it is", "What readers wrote")
    return [heading, Table(columns, tuple(rows), caption, (1.1, 0.9, 4.5), (0, 1, 2))]
