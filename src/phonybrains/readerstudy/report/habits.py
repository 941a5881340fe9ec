"""The report's middle, second half: agreement, repeats, bias, confidence, course of the reading, marks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ...reporting.blocks import Block, Figure, Heading, Note, Paragraph, Table
from ...reporting.wording import NONE, as_p
from ..findings.analysis import Analysis
from ..findings.bias import CONFIDENCE_BINS
from ..findings.reads import ALL, Finding, find, modalities_of
from ..study import CALLS
from . import plots
from .wording import as_number, as_rounded, as_share

MOST_PAIRED = 4
KAPPA = ("Cohen's κ", "Fleiss' κ")


def agreement(analysis: Analysis) -> list[Block]:
    """Agreement among readers."""
    heading, readers = Heading("Agreement among readers"), analysis.readers
    found = [f for f in analysis.findings if f.quantity in ("agreement", *KAPPA, "Gwet's AC1", "Krippendorff's α")]
    if not found:
        return [heading, Paragraph("One reader: there is nobody to agree with.")]
    explained = (
        "Real, phony and unclear are three categories here. κ and α take out the agreement that chance would give, and "
        "sink where nearly all calls are alike; AC1 does so less. κ is Cohen's of two readers, Fleiss' of more."
    )
    shown = [f for f in found if f.reader == ALL or (f.modality == ALL and len(readers) <= MOST_PAIRED)]
    table = _agreement_table(shown, "Agreement with intervals; n is images.")
    notes = [Note(f"{f.quantity}, {f.modality}: {f.note}") for f in shown if f.value is None]
    figures = [_pair_figure(analysis)] if len(readers) == 2 else []
    if len(readers) > 2:
        shares = np.full((len(readers),) * 2, np.nan)
        for (i, one), (j, other) in product(enumerate(readers), repeat=2):
            pair = find(found, "agreement", reader=f"{one} and {other}")
            if pair and pair.value is not None:
                shares[i, j] = shares[j, i] = pair.value
        images = len({read.case.case_id for read in analysis.main})
        caption = f"Equal calls of each two readers; n = {images} images at most."
        figures = [plots.plot_agreement(readers, shares, caption)]
    return [heading, Paragraph(explained), table, *notes, *figures]


def _pair_figure(analysis: Analysis) -> Figure:
    first, second = analysis.readers
    tables = {modality: np.zeros((3, 3), dtype=np.int64) for modality in modalities_of(analysis.main)}
    for one in analysis.cases:
        said = {answer.reader: answer.call for answer in one.answers}
        if len(said) == 2:
            tables[one.case.modality][CALLS.index(said[first]), CALLS.index(said[second])] += 1
    caption = f"Calls of {first} (rows) and {second} (columns); n is images."
    return plots.plot_confusion(tables, CALLS, caption, "agreement", (second, first))


def _agreement_table(found: Sequence[Finding], caption: str) -> Table:
    """A row for each readers and modality, a column for each measure; κ is Fleiss' of more than two, else Cohen's."""

    def column(finding: Finding) -> str:
        name = finding.quantity.removeprefix("repeats: ")
        return "κ" if name in KAPPA else name

    names = list(dict.fromkeys(map(column, found)))
    rows = []
    for readers, modality in dict.fromkeys((f.reader, f.modality) for f in found):
        own = {column(f): f for f in found if (f.reader, f.modality) == (readers, modality)}
        cells = [as_share(own.get(name)) if name == "agreement" else as_number(own.get(name)) for name in names]
        rows.append((readers, modality, *cells, str(max(f.n for f in own.values()))))
    widths = (1.4, 0.95, *(2.3 if name == "agreement" else 1.8 for name in names), 0.5)
    return Table(("Readers", "Modality", *names, "n"), tuple(rows), caption, widths, (0, 1))


def repeats(analysis: Analysis) -> list[Block]:
    """Cases shown twice."""
    heading = Heading("The same image twice")
    found = [f for f in analysis.findings if f.quantity.startswith("repeats: ")]
    if not found:
        nothing = "No image was answered twice by the same reader: how steady each reader is cannot be told."
        return [heading, Paragraph(nothing)]
    words = "Each reader's second answer beside the first; readers were not told that images repeat."
    caption = (
        "Agreement of each reader with himself or herself; change of score is the mean absolute change on the scale of "
        "0 to 200."
    )
    return [heading, Paragraph(words), _agreement_table(found, caption)]


def bias(analysis: Analysis) -> list[Block]:
    """d' and criterion."""
    found = analysis.all_of("d'")
    if not found:
        return []
    rows = []
    for f in found:
        criterion = find(analysis.findings, "criterion c", reader=f.reader, modality=f.modality)
        rows.append((f.reader, f.modality, as_number(f), as_number(criterion), str(f.n)))
    words = (
        "d' is how far apart real and phony look to a reader, whatever he or she leans to: 0 is not at all. The "
        "criterion c is the leaning: below 0 towards saying phony, above 0 towards saying real."
    )
    columns, caption = ("Reader", "Modality", "d'", "criterion c", "n"), "Signal detection, with intervals."
    table = Table(columns, tuple(rows), caption, (1, 1, 2, 2, 0.6), (0, 1))
    return [Heading("Leaning towards phony"), Paragraph(words), table]


def confidence(analysis: Analysis) -> list[Block]:
    """Confidence and how often it was justified."""
    heading = Heading("Confidence")
    if not analysis.controls:
        return [heading, Paragraph("Without real images nothing can be said on whether confidence is justified.")]
    if not analysis.bins:
        return [heading, Paragraph("No confidence was given.")]
    ranges = [f"{low}-{high}" for low, high in CONFIDENCE_BINS]
    rows = []
    for reader, bins in analysis.bins.items():
        shares = {f"{one.low}-{one.high}": as_rounded(one.share_right) for one in bins}
        over = find(analysis.findings, "overconfidence", reader=reader)
        points = f"{100 * (over.value or 0):+.0f} points" if over else NONE
        rows.append((reader, *(shares.get(name, NONE) for name in ranges), points))
    drawn = "Share of right calls against the confidence given; unclear makes no claim and is left out; n is answers."
    columns = ("Reader", *(f"{name} [n]" for name in ranges), "surer than right")
    caption = (
        "Share of right calls by confidence (intervals are in results.csv); the last column is the mean confidence "
        "less the share right."
    )
    table = Table(columns, tuple(rows), caption, (1, *[1.6] * len(ranges), 0.9))
    return [heading, plots.plot_calibration(analysis.bins, drawn), table]


def course(analysis: Analysis) -> list[Block]:
    """Learning, tiring, time."""
    rows = []
    for reader in analysis.readers:
        slope = find(analysis.findings, "trend", reader=reader)
        seconds = as_number(find(analysis.findings, "seconds per case", reader=reader), 1)
        p, n, note = (as_p(slope.p), str(slope.n), slope.note) if slope else (NONE, NONE, "")
        rows.append((reader, as_number(slope), p, n, seconds, note))
    if analysis.controls:
        title, right = "Learning, tiring and time", "right"
        slope = "Change of the log odds of a right answer per ten presentations: above 0 learning, below 0 tiring"
    else:
        title, right = "Change and time", "phony"
        slope = "Change of the log odds of the answer phony per ten presentations"
    columns = ("Reader", "trend per 10 cases", "p, corrected", "n", "seconds (quartiles)", "note")
    drawn = f"Share of {right} answers, and seconds per case, over the reading; n is answers, repeats included."
    table = Table(columns, tuple(rows), f"{slope}.", (1, 1.8, 0.9, 0.5, 1.8, 2.4), (0, 5))
    return [Heading(title), plots.plot_course(analysis.windows, drawn, right), table]


def marks(analysis: Analysis) -> list[Block]:
    """Where readers pointed."""
    heading = Heading("Where readers pointed")
    if not analysis.maps:
        return [heading, Paragraph("Nobody marked a spot.")]
    caption = "Marks on phony images over the mean of all phony images of that modality, smoothed; brighter is more."
    return [heading, plots.plot_marks(analysis.maps, caption)]
