"""The report's first pages: the registered result alone, departures, and where the exploratory part begins."""

from __future__ import annotations

from collections import Counter

from ...reporting.blocks import Block, Bullets, Heading, Note, Paragraph, Table
from ...reporting.wording import as_p, count_of, listed
from ..design.plan import FIGURES
from ..findings.analysis import Analysis
from ..findings.reads import ALL, find, modalities_of
from ..findings.registered import Tested, summary
from ..findings.roc import FIXED, RANDOM
from . import plots
from .wording import as_number, as_share


def verdict(analysis: Analysis) -> list[Block]:
    """The registered result, first and alone; warnings that must not be missed come before it."""
    blocks: list[Block] = []
    if analysis.simulated:
        blocks.append(Note("SIMULATED READERS. These answers were drawn by a computer, not given by people.", "banner"))
    blocks.append(Heading("Verdict"))
    if analysis.nobody_kept:
        blocks.append(Note(NOBODY_KEPT, "warning"))
    blocks += [Paragraph(verdict_text(analysis)), Paragraph(analysis.origin)]
    if not analysis.controls:
        blocks.append(Note(NO_CONTROLS, "warning"))
    return blocks


NOBODY_KEPT = (
    "Every reader failed the attention checks. By the registered plan there is no main analysis; all are kept in the "
    "exploratory part, so that there is something to see."
)
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
    mixed = f"{len(cases) - real} phony and {real} real, of {count_of(analysis.patients, 'patient')}"
    what = mixed if real else "all phony"
    parts = [
        f"{count_of(len(analysis.readers), 'reader')} judged {count_of(len(cases), 'image')} ({shown}; {what}), "
        f"{count_of(len(main), 'answer')} in all."
    ]
    if registered.test is not None:
        parts.append(figure_words(registered.test, analysis))
    parts.append(summary(registered))
    count = len(analysis.departures)
    departed = f"{count_of(count, 'departure')} from the plan {'is' if count == 1 else 'are'} listed below."
    return " ".join([*parts, departed if count else "Nothing departed from the plan."])


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
    words = (
        f"Registered was the {FIGURES[plan.primary]} for {registered.population}, {aim}, at a level of "
        f"{100 * plan.level:g} %. Planned were {count_of(len(config.readers), 'reader')}."
    )
    blocks: list[Block] = [Heading("The registered test"), Paragraph(words)]
    tests = {
        "as registered": registered.test,
        "with those whom the plan leaves out": registered.with_left_out,
        "not registered: those who remain": registered.instead,
    }
    rows = tuple(_test_row(label, tested, plan.primary) for label, tested in tests.items() if tested is not None)
    if registered.test is None:
        blocks.append(Note(summary(registered), "warning"))
    if rows:
        columns = ("Analysis", "readers", "figure", "images", "p", "result", "method")
        widths = (1.2, 1.1, 1.7, 0.8, 0.8, 2.5, 2)
        blocks.append(Table(columns, rows, "The primary figure, with its interval.", widths, (0, 1, 5, 6)))
    if registered.instead is not None:
        blocks.append(Note(NOT_REGISTERED, "warning"))
    if registered.left_out:
        blocks.append(Paragraph(f"Left out by the rules of the plan: {listed(registered.left_out)}."))
    elif registered.test is not None:
        same = "The plan leaves out none of these readers, so that with and without them is the same."
        blocks.append(Paragraph(same))
    return blocks


NOT_REGISTERED = (
    "What stands under 'not registered' is a departure from the plan, and no result of the test that was registered."
)


def _test_row(label: str, tested: Tested, primary: str) -> tuple[str, ...]:
    found, who = tested.primary, f"{listed(tested.readers)} ({tested.population})"
    figure = as_number(found, 3) if primary == "auc" else as_share(found)
    return label, who, figure, str(found.n), as_p(tested.p), tested.sentence, found.method


def departures(analysis: Analysis) -> list[Block]:
    """Every departure from the plan."""
    found = analysis.departures
    return [Heading("Departures from the plan"), Bullets(found) if found else Paragraph("None.")]


def exploratory(analysis: Analysis) -> list[Block]:
    """Where the exploratory part begins, and what its figures come to."""
    tested = sum(finding.p is not None for finding in analysis.findings)
    family = f" Their p, {tested} in all, are corrected together (Holm): read one below 0.05 as a hint."
    words = (
        f"Nothing from here on was registered as a test.{family if tested else ''} Intervals are not corrected; each "
        "holds for itself, for these readers unless it says otherwise."
    )
    return [Heading("Exploratory"), Paragraph(words), Paragraph(exploratory_text(analysis))]


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
                whose = quantity.removeprefix("AUC, ")
                parts.append(f"The area under the ROC curve for {whose} is {as_number(area)}, n = {area.n} images.")
    kappas = (find(findings, name) for name in ("Cohen's κ", "Fleiss' κ"))
    for kappa in [kappa for kappa in kappas if kappa is not None and kappa.value is not None][:1]:
        parts.append(f"The readers agreed with κ = {as_number(kappa)} (n = {kappa.n} images).")
    level = analysis.study.config.plan.level
    return " ".join([*parts, f"Figures in brackets are {100 * level:g} % intervals."])


def called_real(analysis: Analysis) -> list[Block]:
    """The share of phony images called real, of each reader and all."""
    found = [f for f in analysis.all_of("called real") if f.unclear == "not real" and f.arm == ALL]
    rows = tuple((f.reader, f.modality, as_share(f), str(f.n)) for f in found)
    items = [(f"{f.reader} {f.modality}" if f.modality != ALL else f.reader, f) for f in found]
    share = "Share of phony images called real"
    said = f"{share}; unclear counts as not real. It says nothing on whether a reader can tell."
    caption = (
        f"{share}, with intervals; n is answers. The dotted line is one half, which a reader who leans to neither side "
        "gives."
    )
    table = Table(("Reader", "Modality", "called real", "n"), rows, said, (1, 1, 2, 0.6), (0, 1))
    forest = plots.plot_forest("called_real", {"phony images called real": items}, caption, 0.5)
    return [Heading("Phony images called real"), table, forest]
