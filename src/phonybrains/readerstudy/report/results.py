"""The report's middle, first half: performance, ROC, arms, and the machine beside the readers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ...reporting.blocks import Block, Figure, Heading, Note, Paragraph, Table
from ...reporting.wording import as_p
from ..findings.analysis import Analysis
from ..findings.reads import ALL, TREATMENTS, Finding, find
from ..study import CALLS
from . import plots
from .wording import as_number, as_share

TREATMENT_WORDS = {
    "not phony": "unclear counts as not phony",
    "phony": "unclear counts as phony",
    "left out": "unclear is left out",
}
SHARES = ("sensitivity", "specificity", "accuracy")
MOST_FEATURES = 12


def performance(analysis: Analysis) -> list[Block]:
    """Sensitivity, specificity, accuracy; per reader, modality and arm; with `unclear` treated in three ways."""
    if not analysis.controls:
        return []
    registered = analysis.study.config.plan.unclear
    explained = (
        "Phony is the positive class: sensitivity is the share of phony images called phony, specificity the share of "
        "real images not called phony. Intervals of single readers are Wilson's; the exact ones (Clopper-Pearson), "
        "which are wider, are in results.csv. Of all readers together the interval keeps the answers to one image "
        "together, since some images are harder than others; it is of these readers."
    )
    blocks: list[Block] = [Heading("Accuracy, sensitivity and specificity"), Paragraph(explained)]
    found = [f for f in analysis.findings if f.unclear == registered and f.arm == ALL]
    groups = {name: [(_label(f), f) for f in found if f.quantity == name] for name in SHARES}
    groups = {name: items for name, items in groups.items() if items}
    if groups:
        caption = f"{', '.join(groups)} in %, with intervals; n is answers; {TREATMENT_WORDS[registered]}."
        blocks.append(plots.plot_forest("performance", groups, caption.capitalize(), None))
    for treatment in (registered, *(t for t in TREATMENTS if t != registered)):
        extra = " (as the plan has it)" if treatment == registered else ""
        blocks.append(_share_table(analysis, treatment, f"{TREATMENT_WORDS[treatment].capitalize()}{extra}."))
    general = [f for f in analysis.findings if f.quantity.endswith("readers in general") and "AUC" not in f.quantity]
    if general:
        rows = tuple((f.quantity.split(",")[0], as_share(f), str(f.n), f.method) for f in general)
        caption = "For readers in general and images like those shown."
        columns = ("Figure", "readers in general", "images", "method")
        blocks.append(Table(columns, rows, caption, (1.2, 2, 0.6, 3), (0, 3)))
    for again in analysis.all_of("right, mixed logistic"):
        words = "A second look, by mixed logistic regression: a typical reader is right on a typical image in"
        blocks.append(Paragraph(f"{words} {as_share(again)} (n = {again.n} answers, unclear left out). {again.note}"))
    return [*blocks, _confusion(analysis)]


def _label(finding: Finding) -> str:
    parts = ["all readers" if finding.reader == ALL else finding.reader]
    return " ".join(parts + ([finding.modality] if finding.modality != ALL else []))


def _share_table(analysis: Analysis, treatment: str, caption: str) -> Table:
    cells = list(dict.fromkeys((f.reader, f.modality, f.arm) for f in analysis.all_of("sensitivity")))
    if treatment != analysis.study.config.plan.unclear:
        cells = [cell for cell in cells if cell[1:] == (ALL, ALL)]  # the rest is in results.csv
    several = len({arm for _, _, arm in cells}) > 1
    rows = []
    for reader, modality, arm in cells:
        which = {"reader": reader, "modality": modality, "arm": arm, "unclear": treatment}
        shares = [as_share(find(analysis.findings, name, **which), with_n=True) for name in SHARES]
        rows.append((reader, modality, *([arm] if several else []), *shares))
    columns = ("Reader", "Modality", *(["Arm"] if several else []), *(f"{name} [n]" for name in SHARES))
    texts = tuple(range(len(columns) - len(SHARES)))
    return Table(columns, tuple(rows), caption, (1.1, 0.8, *([1.0] if several else []), *[2.1] * len(SHARES)), texts)


def _confusion(analysis: Analysis) -> Figure:
    counts = Counter((read.reader, read.case.truth, read.call) for read in analysis.main)
    tables = {
        reader: np.array([[counts[reader, truth, call] for call in CALLS] for truth in ("real", "phony")])
        for reader in analysis.readers
    }
    caption = "What was said against what was true: counts, and the share of the row; n is images."
    return plots.plot_confusion(tables, ("real", "phony"), caption)


def each(analysis: Analysis) -> list[Block]:
    """Each reader against one half, unclear counting one half."""
    rows = []
    for f in analysis.findings:
        name = f.quantity.removesuffix(", one reader")
        if name != f.quantity:
            figure = as_number(f, 3) if name.startswith("AUC") else as_share(f)
            rows.append((f.reader, name, figure, str(f.n), as_p(f.p)))
    if not rows:
        return []
    columns = ("Reader", "figure", "with interval", "images", "p, corrected")
    caption = "Unclear counts one half; p as in the registered test, then corrected with all others of this part."
    table = Table(columns, tuple(rows), caption, (1.2, 1.4, 2, 0.8, 1), (0, 1))
    return [Heading("Each reader against one half"), table]


def roc(analysis: Analysis) -> list[Block]:
    """ROC per reader, and the area under it over readers."""
    if not analysis.controls:
        return []
    explained = (
        "The score of an answer is 100 + confidence for phony, 100 for unclear, 100 - confidence for real (50 where no "
        "confidence was given). The area under the curve is the chance that a phony image gets a higher score than a "
        "real one; 0.5 is guessing."
    )
    blocks: list[Block] = [Heading("ROC"), Paragraph(explained)]
    if analysis.curves:
        blocks.append(plots.plot_roc(analysis.curves, "ROC of each reader; n is images."))
    areas = [f for f in analysis.findings if f.quantity.startswith("AUC")]
    if not areas:
        return [*blocks, Note("No reader answered both real and phony images.", "warning")]
    rows = []
    for f in areas:
        who = f.reader if f.quantity == "AUC" else f.quantity.split(", ")[-1]
        rows.append((who, f.modality, f.arm, as_number(f, 3), str(f.n), as_p(f.p), f.method))
    caption = "Areas with intervals; p is against 0.5, corrected with all others of this part."
    columns = ("Reader", "Modality", "Arm", "AUC", "images", "p, corrected", "method")
    blocks.append(Table(columns, tuple(rows), caption, (1.4, 0.9, 0.9, 1.9, 0.9, 0.9, 2.8), (0, 1, 2, 6)))
    if len(analysis.readers) < 3:
        blocks.append(Note("Fewer than three readers: no claim about readers in general is made."))
    return blocks


def arms(analysis: Analysis) -> list[Block]:
    """Synthetic arms compared with one another."""
    compared = [f for f in analysis.findings if f.quantity.startswith("difference of")]
    if not compared:
        return []
    rows = []
    for f in compared:
        name = f.quantity.removeprefix("difference of ")
        rows.append((name, f.arm, as_number(f, 3), str(f.n), as_p(f.p), f.note))
    said = "found out" if analysis.controls else "called phony"
    columns = ("Figure", "Arms", "difference", "images", "p, corrected", "note")
    return [
        Heading("The synthetic arms compared"),
        Paragraph(f"The same readers saw all arms. Above 0: the first arm was {said} more often."),
        Table(columns, tuple(rows), "Differences with intervals.", (1, 2, 2, 0.7, 0.9, 2.4), (0, 1, 5)),
    ]


def machine(analysis: Analysis) -> list[Block]:
    """Single image statistics as the machine's benchmark."""
    features = machine_features(analysis.study.protocol.get("leakage") or {})
    heading = Heading("The machine's benchmark")
    if not features:
        return [heading, Paragraph("The protocol has no image statistics to compare with (they need real images).")]
    readers = [(f.reader, f) for f in analysis.all_of("AUC") if f.modality == ALL and f.arm == ALL]
    best = dict(sorted(features.items(), key=lambda item: -item[1][0])[:MOST_FEATURES])
    images = len({read.case.case_id for read in analysis.main})
    words = (
        "How well one simple statistic of the pixels, such as noise or contrast, tells phony from real, beside the "
        "readers. Where the machine does better, the images differ in something that the eye does not use."
    )
    caption = (
        f"Area under the ROC curve: the {len(best)} image statistics of {len(features)} that tell most (the best of "
        f"many look better than they are), measured before the study, and the readers; n = {images} images, of which "
        "each statistic saw one modality. All are in protocol.json."
    )
    return [heading, Paragraph(words), plots.plot_machine(best, readers, caption)]


def machine_features(leakage: object) -> dict[str, tuple[float, float, float]]:
    """Name → area, low, high of the leakage gate's image statistics, turned so that the area is 0.5 or more."""
    group = leakage.get("statistics") if isinstance(leakage, dict) else None
    features = {}
    for entry in group or ():
        value, low, high = (entry.get(key) for key in ("auc", "low", "high"))
        if value is None or low is None or high is None:
            continue
        turned = (value, low, high) if value >= 0.5 else (1 - value, 1 - high, 1 - low)
        label = " ".join(str(entry[key]) for key in ("modality", "arm", "feature") if entry.get(key) not in (None, ALL))
        features[label] = turned
    return features
