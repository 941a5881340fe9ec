"""The report's first pages: the registered result alone, then the elements of the paper (Fig. 2 to 5, Table I)."""

from __future__ import annotations

from collections import Counter

from ...reporting.blocks import Block, Bullets, Gallery, Heading, Note, Paragraph, Table
from ...reporting.wording import as_p, count_of, listed
from ..findings.analysis import Analysis
from ..findings.pictures import CaseAnswers, pick_notes, unanimous
from ..findings.rating import FIXED, RANDOM
from ..findings.reads import ALL, find, modalities_of, readers_of
from ..findings.registered import Tested, summary
from ..plan import FIGURES
from ..study import CALLS
from . import plots
from .images import picture_of
from .wording import as_number, as_share

SAMPLES = 10


def verdict(analysis: Analysis) -> list[Block]:
    """The registered result, first and alone; warnings that must not be missed come before it."""
    blocks: list[Block] = []
    if analysis.simulated:
        blocks.append(Note("SIMULATED READERS. These answers were drawn by a computer, not given by people.", "banner"))
    blocks.append(Heading("Verdict"))
    if analysis.nobody_kept:
        blocks.append(
            Note(
                "Every reader failed the attention checks. By the registered plan there is no main analysis; "
                "all are kept in the exploratory part, so that there is something to see.",
                "warning",
            )
        )
    blocks += [Paragraph(verdict_text(analysis)), Paragraph(analysis.origin)]
    if not analysis.controls:
        blocks.append(Note(NO_CONTROLS, "warning"))
    return blocks


NO_CONTROLS = (
    "All images were synthetic. How often they pass for real is all that can be told: a reader who says real of "
    "everything looks the same here as images that fool everybody. Specificity, accuracy and the ROC curve are "
    "left out."
)


def verdict_text(analysis: Analysis) -> str:
    """The registered result as one paragraph: who read what, the primary figure, what was shown."""
    main, registered = analysis.main, analysis.registered
    cases = {read.case.case_id: read.case for read in main}.values()
    by_modality = Counter(case.modality for case in cases)
    shown = listed([f"{by_modality[modality]} {modality}" for modality in modalities_of(main)])
    real = sum(case.truth == "real" for case in cases)
    what = (
        f"{len(cases) - real} phony and {real} real, of {count_of(analysis.patients, 'patient')}"
        if real
        else "all phony"
    )
    parts = [
        f"{count_of(len(analysis.readers), 'reader')} judged {count_of(len(cases), 'image')} ({shown}; {what}), "
        f"{count_of(len(main), 'answer')} in all."
    ]
    if registered.test is not None:
        parts.append(figure_words(registered.test, analysis))
    parts.append(summary(registered))
    count = len(analysis.departures)
    parts.append(
        f"{count_of(count, 'departure')} from the plan {'is' if count == 1 else 'are'} listed below."
        if count
        else "Nothing departed from the plan."
    )
    return " ".join(parts)


def figure_words(tested: Tested, analysis: Analysis) -> str:
    """The primary figure with its interval and population, in one sentence."""
    plan, primary = analysis.study.config.plan, tested.primary
    figure = as_number(primary) if plan.primary == "auc" else as_share(primary)
    what = {
        "auc": "The area under the ROC curve",
        "balanced_accuracy": "Balanced accuracy",
        "called_real": "The share of phony images called real, unclear counting one half,",
    }[plan.primary]
    whose = "this reader" if tested.population == "these readers" and len(tested.readers) == 1 else tested.population
    half = "0.5" if plan.primary == "auc" else "50 %"
    return (
        f"{what} is {figure} for {whose} (interval at {100 * plan.level:g} %, n = {primary.n} images); {half} is what "
        f"{'leaning to neither side' if plan.primary == 'called_real' else 'guessing'} gives."
    )


def registered_test(analysis: Analysis) -> list[Block]:
    """The registered test with and without those the plan leaves out, and what stands where it could not be done."""
    registered, config = analysis.registered, analysis.study.config
    plan = config.plan
    aim = {
        "estimate": "an estimate with its interval, and no test",
        "difference": "a difference from one half",
        "equivalence": f"equivalence with one half to within ± {plan.margin:g}",
    }[plan.hypothesis]
    blocks: list[Block] = [
        Heading("The registered test"),
        Paragraph(
            f"Registered was the {FIGURES[plan.primary]} for {registered.population}, "
            f"{aim}, at a level of {100 * plan.level:g} %. Planned were "
            f"{count_of(len(config.readers), 'reader')}."
        ),
    ]
    rows = [
        ("as registered", registered.test),
        ("with those whom the plan leaves out", registered.with_left_out),
        ("not registered: those who remain", registered.instead),
    ]
    table = tuple(_test_row(label, tested, plan.primary) for label, tested in rows if tested is not None)
    if registered.test is None:
        blocks.append(Note(summary(registered), "warning"))
    if table:
        blocks.append(
            Table(
                ("Analysis", "readers", "figure", "images", "p", "result", "method"),
                table,
                "The primary figure, with its interval.",
                (1.2, 1.1, 1.7, 0.8, 0.8, 2.5, 2),
                (0, 1, 5, 6),
            )
        )
    if registered.instead is not None:
        blocks.append(
            Note(
                "What stands under 'not registered' is a departure from the plan, and no result of the test "
                "that was registered.",
                "warning",
            )
        )
    if registered.left_out:
        blocks.append(Paragraph(f"Left out by the rules of the plan: {listed(registered.left_out)}."))
    elif registered.test is not None:
        blocks.append(
            Paragraph("The plan leaves out none of these readers, so that with and without them is the same.")
        )
    return blocks


def _test_row(label: str, tested: Tested, primary: str) -> tuple[str, ...]:
    figure = as_number(tested.primary, 3) if primary == "auc" else as_share(tested.primary)
    return (
        label,
        f"{listed(tested.readers)} ({tested.population})",
        figure,
        str(tested.primary.n),
        as_p(tested.p),
        tested.sentence,
        tested.primary.method,
    )


def departures(analysis: Analysis) -> list[Block]:
    """Every departure from the plan."""
    found = analysis.departures
    return [Heading("Departures from the plan"), Bullets(found) if found else Paragraph("None.")]


def exploratory(analysis: Analysis) -> list[Block]:
    """Where the exploratory part begins, and what its figures come to."""
    tested = sum(finding.p is not None for finding in analysis.findings)
    family = (
        f" Their p, {tested} in all, are corrected together (Holm): read one below 0.05 as a hint." if tested else ""
    )
    return [
        Heading("Exploratory"),
        Paragraph(
            f"Nothing from here on was registered as a test.{family} Intervals are not corrected; each holds for "
            "itself, for these readers unless it says otherwise."
        ),
        Paragraph(exploratory_text(analysis)),
    ]


def exploratory_text(analysis: Analysis) -> str:
    """The main figures beside the registered one, each with its population."""
    findings, parts = analysis.findings, []
    called_real = find(findings, "called real", unclear="not real")
    if called_real is not None:
        parts.append(
            f"Of the phony images these readers called {as_share(called_real)} real (n = {called_real.n} answers, "
            "unclear counts as not real)."
        )
    if analysis.controls:
        unclear = analysis.study.config.plan.unclear
        known = find(findings, "specificity", unclear=unclear)
        found = find(findings, "sensitivity", unclear=unclear)
        if known and found:
            parts.append(
                f"These readers found {as_share(found)} of the phony ones (sensitivity, n = {found.n}) and did "
                f"not take {as_share(known)} of the real ones for phony (specificity, n = {known.n})."
            )
        for quantity in (FIXED, RANDOM):
            area = find(findings, quantity)
            if area is not None:
                parts.append(
                    f"The area under the ROC curve for {quantity.removeprefix('AUC, ')} is {as_number(area)}, "
                    f"n = {area.n} images."
                )
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


def called_real(analysis: Analysis) -> list[Block]:
    """The share of phony images called real, of each reader and all."""
    found = [f for f in analysis.all_of("called real") if f.unclear == "not real" and f.arm == ALL]
    rows = tuple((f.reader, f.modality, as_share(f), str(f.n)) for f in found)
    items = [(f"{f.reader} {f.modality}" if f.modality != ALL else f.reader, f) for f in found]
    caption = (
        "Share of phony images called real, with intervals; n is answers. The dotted line is one half, which a "
        "reader who leans to neither side gives."
    )
    return [
        Heading("Phony images called real"),
        Table(
            ("Reader", "Modality", "called real", "n"),
            rows,
            "Share of phony images called real; unclear counts as not "
            "real. It says nothing on whether a reader can tell.",
            (1, 1, 2, 0.6),
            (0, 1),
        ),
        plots.plot_forest("called_real", {"phony images called real": items}, caption, 0.5),
    ]
