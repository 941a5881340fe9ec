"""The report's middle: a section for each part that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from numpy.typing import NDArray

from ...reporting.blocks import Block, Heading, Note, Paragraph, Table
from ...reporting.wording import as_p, count_of
from ..findings import Findings, Pair, PatientsSign, Ruler, Sign
from ..measures import measure_of
from ..outcomes import distance
from ..score import Score
from . import plots
from .embed import embed
from .figures import Looks, gallery, short
from .names import figure, with_interval
from .tables import score_table, score_tables

TELLING, BARS, RULERS = 10, 24, 8
MOST_LABELS, MOST_TABLES = 8, 4
IN_CSV_ONLY = ("prevalence", "composition_ratio", "composition_asked", "composition_ratio_asked")
RATES = ("found_rate", "false_rate")


def quality(findings: Findings, looks: Mapping[str, Looks], seed: int) -> list[Block]:
    """Distances beside their nulls, the map, what gives itself away, prevalence, all scores."""
    blocks: list[Block] = [Heading("Quality: is it good?")]
    for modality in looks:
        own = [score for score in findings.scores if score.modality == modality and not score.group]
        beside = [score for score in own if distance(score) is not None]
        if beside:
            caption = (
                f"{modality}: each score as its distance from what real images score against real ones at the same n. "
                "In the band: no farther than real images are from one another. Beside each point, the score."
            )
            blocks.append(plots.plot_beside_null(modality, beside, caption))
    return [
        *blocks,
        *_map(findings, seed),
        *_telling(findings, looks),
        *_prevalence(findings.scores, "prevalence", "Prevalence, as the metadata say", "real"),
        *score_tables(findings, ("prevalence",)),
    ]


def _map(findings: Findings, seed: int) -> list[Block]:
    maps, method = {}, ""
    for modality, sides in _by_modality(findings, "map").items():
        if set(sides) >= {"real", "synthetic"} and min(map(len, sides.values())):
            method, maps[modality] = embed({kind: sides[kind] for kind in ("real", "synthetic")}, seed)
    if not maps:
        return []
    made_by = ", ".join(sorted({one.extractor for one in (findings.facts.map or {}).values()}))
    caption = (
        f"Features{f' of {made_by}' if made_by else ''} laid out in two dimensions ({method}): images that are alike "
        "lie close. Where the two colours part, synthetic images differ from real ones; where real images have no "
        "synthetic ones near, something is missing. Only nearness means anything."
    )
    return [Heading("A map of the images", 3), plots.plot_map(maps, method, caption)]


def _telling(findings: Findings, looks: Mapping[str, Looks]) -> list[Block]:
    blocks: list[Block] = []
    for modality, images in (findings.facts.telling or {}).items():
        if modality in looks and images:
            shown = []
            for one in images[:TELLING]:
                label = f"{short(one.file_name)}: {100 * one.probability:.0f} % synthetic"
                shown.append((looks[modality].of("synthetic", one.file_name), label))
            caption = (
                f"{modality}: the synthetic images of which the classifier, trained on others, is surest. Look "
                "here first for what goes wrong."
            )
            blocks += gallery(f"telling_{modality.lower()}", shown, caption, 5)
    return [Heading("What gives itself away", 3), *blocks] if blocks else []


def _prevalence(scores: Sequence[Score], name: str, title: str, beside: str) -> list[Block]:
    bars = [score for score in scores if score.name == "prevalence" and score.value is not None]
    if not bars:
        return []
    gaps = [abs((score.value or 0.0) - score.null.value) if score.null else 0.0 for score in bars]
    shown = _farthest(bars, gaps)
    caption = f"Shares of images, synthetic beside {beside}, with 95 % intervals."
    if len(bars) > len(shown):
        caption += f" Of {len(bars)}, the {len(shown)} that differ most; all are in scores.csv."
    return [Heading(title, 3), plots.plot_prevalence(name, shown, beside, caption)]


def _farthest(scores: Sequence[Score], gaps: Sequence[float]) -> list[Score]:
    """The scores with the largest gaps, at most BARS, in their order."""
    chosen = sorted(sorted(range(len(scores)), key=lambda i: -gaps[i])[:BARS])
    return [scores[i] for i in chosen]


def texture(findings: Findings) -> list[Block]:
    """The spectra, the features that tell most, all scores."""
    heading = Heading("Texture: can a ruler tell?")
    return [heading, *_spectra(findings), *_rulers(findings.facts.rulers or {}), *score_tables(findings)]


def _spectra(findings: Findings) -> list[Block]:
    found = _by_modality(findings, "spectrum")
    spectra = {modality: one for modality, one in found.items() if {"frequency", "real", "synthetic"} <= set(one)}
    if not spectra:
        return []
    caption = (
        "Power by ring of the spectrum, means over images in dB, and below it that of synthetic images minus that of "
        "held-out real ones; the band is what real images of other patients give. Fine texture is at the right: below "
        "the band it is too smooth, above it too rough."
    )
    return [Heading("Spectra", 3), plots.plot_spectra(spectra, caption)]


def _rulers(rulers: Mapping[str, Sequence[Ruler]]) -> list[Block]:
    """A row for each of the features that tell most, of each modality."""
    rows = []
    for modality, features in rulers.items():
        for one in features[:RULERS]:
            usual = with_interval(one.usual, one.usual_low, one.usual_high)
            medians = (figure(one.real), figure(one.synthetic))
            rows.append((modality, one.feature, *medians, with_interval(one.auc, one.low, one.high), usual))
    if not rows:
        return []
    caption = (
        "AUC: the chance that a synthetic image has more of the feature than a held-out real one; ½ tells nothing, "
        "0 and 1 tell all. Beside it, what images of other real people give: the median and the range of 95 of 100 "
        "draws of this one feature. The score of the worst one is judged by the farthest of all features in each draw."
    )
    columns = ("images", "feature", "real, median", "synthetic, median", "AUC (95 % interval)", "other real people")
    return [Heading("What tells most", 3), Table(columns, tuple(rows), caption, (0.7, 2.4, 1, 1, 1.7, 1.7), (0, 1))]


def memorisation(findings: Findings, looks: Mapping[str, Looks]) -> list[Block]:
    """Likeness to training images beside that of held-out images, and the pairs for a human to judge."""
    blocks: list[Block] = [Heading("Memorisation: is it new?"), *_said(findings)]
    found = _by_modality(findings, "similarity")
    similarity = {modality: {kind: x for kind, x in one.items() if len(x)} for modality, one in found.items()}
    similarity = {modality: one for modality, one in similarity.items() if one}
    pairs = findings.facts.pairs or ()
    if similarity:
        thresholds = {pair.panel: pair.threshold for pair in pairs}
        caption = (
            "Likeness of each image to its nearest training image, after registration. Real patients that the "
            "model never saw show what chance gives; copies lie to the right of the threshold, which 1 % of "
            "them pass."
        )
        blocks.append(plots.plot_similarity(similarity, thresholds, caption))
    blocks += _pairs(pairs, looks, findings.facts.pairs_shown or 0)
    return [*blocks, *_by_patient(findings.facts.signs or ()), *score_tables(findings, ("effective_patients",))]


def _by_patient(signs: Sequence[Sign]) -> list[Block]:
    """A row for each value that was asked for: how its images spread over training patients."""
    spread = [sign for sign in signs if isinstance(sign, PatientsSign)]
    if not spread:
        return []
    rows = []
    for sign in spread:
        asked, counts = sign.group.replace("=", " = ", 1) or "all", (str(sign.n), str(sign.training_patients))
        unseen = f"{sign.expected:.1f} (at least {sign.least:.1f})"
        shares = (f"{sign.share:.2f}", f"{sign.effective:.1f}", unseen)
        rows.append((sign.modality, asked, *counts, *shares, as_p(sign.p), sign.word))
    caption = (
        "Each image lies nearest to one training patient, after registration and in features; the narrower of "
        "the two is shown. Patients in effect: 1 over the sum of squared shares. Beside it, what as many images "
        "of unseen people give. p pays for all rows of a modality and for both searches. Look: more than chance "
        "allows. Failed: and fewer than 4 patients in effect, as where one takes half."
    )
    patients = ("training patients", "largest share", "patients in effect", "unseen people")
    table = Table(("images", "asked for", "n", *patients, "p", "verdict"), tuple(rows), caption, (), (0, 1, 8))
    return [Heading("By patient and by what was asked", 3), table]


def _in_turn(pairs: Sequence[Pair]) -> list[Pair]:
    """The most suspicious pair of each modality and search, then the second of each, and so on."""
    panels: dict[str, list[Pair]] = {}
    for pair in pairs:
        panels.setdefault(pair.panel, []).append(pair)
    return [pair for row in zip_longest(*panels.values()) for pair in row if pair is not None]


def _pairs(pairs: Sequence[Pair], looks: Mapping[str, Looks], most: int) -> list[Block]:
    shown: list[Any] = []
    edits, pairs = [pair for pair in pairs if pair.edit], _in_turn([pair for pair in pairs if not pair.edit])
    for pair in pairs[:most]:
        if pair.modality in looks:
            look, mark = looks[pair.modality], " FLAGGED" if pair.flagged else ""
            who = f", patient {pair.patient}" if pair.patient else ""
            label = f"synthetic {short(pair.synthetic)}: likeness {pair.similarity:.3f}{mark}"
            shown.append((look.of("synthetic", pair.synthetic), label))
            shown.append((look.of("real", pair.training), f"training {short(pair.training)}{who}"))
    flagged = len({(pair.modality, pair.synthetic) for pair in pairs if pair.flagged})  # two searches may flag one
    undrawn = sum(pair.flagged for pair in pairs[most:])
    caption = (
        f"The most suspicious synthetic images, each left of its nearest training image; {flagged} of them "
        "flagged. A person has to look: the same head, the same lesion, the same slice?"
    )
    caption += f" {count_of(undrawn, 'flagged pair')} not drawn: all are in pairs.csv." if undrawn else ""
    drawn = gallery("pairs", shown, caption, 6)
    if not drawn:
        return _edits(edits, looks, most)
    judge = f"{count_of(flagged, 'flagged image')} to be judged by a person before anything is published."
    alarm = [Note(judge, "warning")] if flagged else []
    return [Heading("Nearest training images", 3), *alarm, *drawn, *_edits(edits, looks, most)]


def _edits(pairs: Sequence[Pair], looks: Mapping[str, Looks], most: int) -> list[Block]:
    """Edits beside the images of their own patients: what is left of a person to be recognised."""
    shown: list[Any] = []
    for pair in (pair for pair in pairs[:most] if pair.modality in looks):
        look, who = looks[pair.modality], f", patient {pair.patient}" if pair.patient else ""
        label = f"edit {short(pair.synthetic)}: likeness {pair.similarity:.3f}"
        shown.append((look.of("synthetic", pair.synthetic), label))
        shown.append((look.of("real", pair.training), f"edit of training {short(pair.training)}{who}"))
    caption = (
        "Edits, each left of the image of its own patient that is most like it. They are edits of these people, not "
        "copies: an edit starts from an image and keeps what it was not asked to change. No search can call it new."
    )
    drawn = gallery("edits", shown, caption, 6)
    return [Heading("Edits and whom they show", 3), *drawn] if drawn else []


def bias(findings: Findings) -> list[Block]:
    """Composition, amplification, what was asked for and found, the worst group."""
    return [
        Heading("Bias: is it fair?"),
        *_said(findings),
        *_prevalence(findings.scores, "composition", "Composition, as found in the images", "training"),
        *_forest("amplification", findings, "log odds, synthetic minus training (0: as in training)"),
        *_confusion(findings),
        *_rates(findings.scores),
        *score_tables(findings, IN_CSV_ONLY),
    ]


def _confusion(findings: Findings) -> list[Block]:
    known = findings.facts.confusion or {}
    tables = {title: table for title, table in known.items() if 1 < len(table.labels) <= MOST_LABELS}
    if not tables:
        return []
    caption = (
        "What was asked for and what a classifier, taught by real images, finds; at the right the same "
        "classifier on real people it did not learn from, who show how well it sees."
    )
    return [Heading("Asked for and found", 3), plots.plot_confusion(dict(list(tables.items())[:MOST_TABLES]), caption)]


def _rates(scores: Sequence[Score]) -> list[Block]:
    """A row or two for each label that was asked for and can be seen."""
    rates = [score for score in scores if score.name in RATES and score.value is not None]
    if not rates:
        return []
    caption = (
        "Label by label (a;b counts for both): how often a classifier finds it in images that were asked for it, over "
        "how often it finds it in real people who show it and of whom it learnt nothing; and in images that were asked "
        "for something else, beside real people who do not show it."
    )
    return [Heading("Found at a rate", 3), score_table(rates, caption)]


def utility(findings: Findings) -> list[Block]:
    """What a classifier, and where there are masks a segmentation network, gains from synthetic images."""
    return [
        Heading("Utility: is it useful?"),
        *_said(findings),
        *_forest("delta_auc", findings, "AUC, minus that of real images alone (0: no gain)"),
        *_forest("delta_dice", findings, "Dice, minus that of real pairs alone (0: no gain)"),
        *score_tables(findings),
    ]


def _said(findings: Findings) -> list[Block]:
    return [Paragraph(findings.facts.sentence)] if findings.facts.sentence else []


def _forest(name: str, findings: Findings, axis: str) -> list[Block]:
    scores = [score for score in findings.scores if score.name == name and score.value is not None]
    if not scores:
        return []
    shown = _farthest(scores, [abs(score.value or 0.0) for score in scores])
    labels = [", ".join(filter(None, (score.modality, score.group.replace("=", " = ", 1)))) for score in shown]
    more = f" Of {len(scores)}, the {len(shown)} farthest from 0." if len(scores) > len(shown) else ""
    caption = f"{axis[0].upper()}{axis[1:]}, with 95 % intervals.{more}"
    return [Heading(measure_of(name).title, 3), plots.plot_intervals(name, shown, labels, 0.0, axis, caption)]


def _by_modality(findings: Findings, kind: str) -> dict[str, dict[str, NDArray[Any]]]:
    """`kind/MODALITY/name` arrays as {modality: {name: array}}."""
    sorted_out: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in findings.arrays.items():
        first, _, rest = key.partition("/")
        if first == kind and "/" in rest:
            modality, _, name = rest.partition("/")
            sorted_out.setdefault(modality, {})[name] = array
    return sorted_out
