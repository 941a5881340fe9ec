"""The report's first pages: the verdict in one paragraph, then the elements of the paper (Fig. 2 to 5, Table I)."""

from __future__ import annotations

from collections import Counter

from ...reporting.blocks import Block, Bullets, Gallery, Heading, Note, Paragraph, Table
from ...reporting.wording import as_p, count_of, listed
from ..findings.analysis import Analysis
from ..findings.pictures import CaseAnswers, pick_notes, unanimous
from ..findings.reads import ALL, find, modalities_of, readers_of
from ..study import CALLS
from . import plots
from .images import picture_of
from .wording import as_number, as_share

SAMPLES = 10


def verdict(analysis: Analysis) -> list[Block]:
    """What was found, in one paragraph of plain words; warnings that must not be missed come first."""
    blocks: list[Block] = []
    if analysis.simulated:
        blocks.append(Note("SIMULATED READERS. These answers were drawn by a computer, not given by people.", "banner"))
    blocks.append(Heading("Verdict"))
    if analysis.nobody_kept:
        blocks.append(Note("Every reader failed the attention checks. All are kept below, so that there is "
                           "something to "
                           "see; by the registered plan there is no main analysis.", "warning"))  # fmt: skip
    blocks.append(Paragraph(verdict_text(analysis)))
    if len(analysis.readers) < 3:
        blocks.append(Note(f"With {count_of(len(analysis.readers), 'reader')}, no claim about readers in "
                           f"general is made: "
                           "the intervals speak of these readers and of images like these. At least three readers, "
                           "better five or more, are needed to speak of others."))  # fmt: skip
    if not analysis.controls:
        blocks.append(
            Note(
                "All images were synthetic. Without real images nothing can be said on how well "
                "these readers "
                "know a real one: specificity, accuracy, ROC and the area under it are left out. A "
                "reader who "
                "says real of everything looks the same here as images that fool everybody.",
                "warning",
            )
        )
    return blocks


def verdict_text(analysis: Analysis) -> str:
    """The verdict as one paragraph."""
    main, findings = analysis.main, analysis.findings
    cases = {read.case.case_id: read.case for read in main}.values()
    by_modality = Counter(case.modality for case in cases)
    shown = listed([f"{by_modality[modality]} {modality}" for modality in modalities_of(main)])
    real = sum(case.truth == "real" for case in cases)
    what = f"{len(cases) - real} phony and {real} real" if real else "all phony"
    parts = [f"{count_of(len(analysis.readers), 'reader')} judged {count_of(len(cases), 'image')} ({shown}; {what}), "
             f"{count_of(len(main), 'answer')} in all."]  # fmt: skip
    called_real = find(findings, "called real", unclear="not real")
    if called_real is not None:
        parts.append(f"Of the phony images they called {as_share(called_real)} real (n = {called_real.n} answers).")
    if analysis.controls:
        unclear = analysis.study.config.plan.unclear
        known = find(findings, "specificity", unclear=unclear)
        found = find(findings, "sensitivity", unclear=unclear)
        if known and found:
            parts.append(f"They found {as_share(found)} of the phony ones (sensitivity, n = {found.n}) and did "
                         f"not take "
                         f"{as_share(known)} of the real ones for phony (specificity, n = {known.n}).")  # fmt: skip
        area = find(findings, "AUC, readers in general") or find(findings, "AUC, these readers")
        if area is None and len(analysis.readers) == 1:
            area = find(findings, "AUC", reader=analysis.readers[0])
        if area is not None:
            whom = {"AUC, readers in general": "for readers in general", "AUC, these readers": "for these readers"}
            parts.append(f"The area under the ROC curve {whom.get(area.quantity, 'of this reader')} is "
                         f"{as_number(area)}, n = {area.n} images; 0.5 is chance.")  # fmt: skip
    if analysis.tested is not None:
        parts.append(analysis.tested.sentence)
    parts.append(_agreement_words(analysis))
    level = analysis.study.config.plan.level
    return " ".join([part for part in parts if part] + [f"Figures in brackets are {100 * level:g} % intervals."])


def _agreement_words(analysis: Analysis) -> str:
    for name in ("Cohen's κ", "Fleiss' κ"):
        kappa = find(analysis.findings, name)
        if kappa is not None and kappa.value is not None:
            return f"The readers agreed with {name.split()[-1]} = {as_number(kappa)} (n = {kappa.n} images)."
    return ""


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
    caption = (f"{modality}: {len(phony)} of the synthetic images that were shown, with how many readers called "
               f"each real, "
               f"phony and unclear{figure}.")  # fmt: skip
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
            caption = (f"How many of the {truth} images each reader called real, phony and unclear"
                       + (" (the paper's Fig. 5)." if truth == "phony" else "."))  # fmt: skip
            blocks.append(plots.plot_calls(counts, truth, caption))
    return [*blocks, Table(("Reader", "Modality", "Truth", "called real", "called phony", "called unclear", "images"),
                           tuple(table), "The same as numbers.", text_columns=(0, 1, 2))]  # fmt: skip


def call_counts(analysis: Analysis) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """(truth, modality, reader) → counts of real, phony, unclear."""
    counts = Counter((read.case.truth, read.case.modality, read.reader, read.call) for read in analysis.main)
    return {
        (truth, modality, reader): (counts[truth, modality, reader, "real"], counts[truth, modality, reader, "phony"],
                                    counts[truth, modality, reader, "unclear"])
        for truth in ("phony", "real")
        for modality in modalities_of(analysis.main)
        for reader in analysis.readers
        if any(counts[truth, modality, reader, call] for call in CALLS)
    }  # fmt: skip


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


def test_of_plan(analysis: Analysis) -> list[Block]:
    """The share of phony images called real, and the registered hypothesis."""
    plan = analysis.study.config.plan
    blocks: list[Block] = [Heading("Phony images called real, and the registered test")]
    rows = [(reader, modality, as_share(finding), str(finding.n), as_p(finding.p))
            for finding in analysis.all_of("called real") if finding.unclear == "not real" and finding.arm == ALL
            for reader, modality in [(finding.reader, finding.modality)]]  # fmt: skip
    blocks.append(Table(("Reader", "Modality", "called real", "n", "p against 50 %"), tuple(rows),
                        "Share of phony images called real; unclear counts as not real. 50 % is what a coin "
                        "would give.",
                        (1, 1, 2, 0.6, 1), (0, 1)))  # fmt: skip
    items = [(f"{f.reader} {f.modality}" if f.modality != ALL else f.reader, f) for f in analysis.all_of("called real")
             if f.unclear == "not real" and f.arm == ALL]  # fmt: skip
    zone = plan.margin if plan.hypothesis == "equivalence" and plan.primary == "called_real" else 0.0
    blocks.append(
        plots.plot_forest(
            "called_real",
            {"phony images called real": items},
            "Share of phony images called real, with intervals; n is answers. The "
            "dotted line is "
            "chance" + (", the band the registered margin." if zone else "."),
            0.5,
            zone,
        )
    )
    figure = {"auc": "the area under the ROC curve", "accuracy": "accuracy",
              "called_real": "the share of phony images called real"}[plan.primary]  # fmt: skip
    aim = {"estimate": "an estimate with its interval", "difference": "that it differs from chance",
           "equivalence": f"that it equals chance to within ± {plan.margin:g}"}[plan.hypothesis]  # fmt: skip
    blocks.append(Paragraph(f"Registered was: {figure}; {aim}; level {100 * plan.level:g} %."))
    if analysis.tested is None:
        blocks.append(Note(f"{figure[0].upper()}{figure[1:]} cannot be reckoned from these answers: it takes real and "
                           "phony images that all readers answered.", "warning"))  # fmt: skip
    else:
        tested, primary = analysis.tested, analysis.tested.primary
        shown = as_number(primary) if plan.primary == "auc" else as_share(primary)
        blocks.append(Bullets((f"{primary.quantity}: {shown}, n = {primary.n}. {primary.method}.", tested.sentence)))
    return blocks
