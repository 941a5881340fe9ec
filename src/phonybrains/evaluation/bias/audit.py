"""Is it fair? Composition and its amplification, along the chain; noise; the worst group; what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...imageset import ImageSet
from ...wording import count_of
from ..config import EvaluateConfig
from ..findings import Confusion, Facts, Findings
from ..inputs.real import Compared, Readable, modalities_of, reading_extractor
from ..inputs.sets import grouping, part_of
from ..outcomes import differing
from ..score import Null, Progress, Score, silent, tried, unavailable
from .adherence import adherence_scores
from .after_autoencoder import autoencoder_scores
from .composition import LabelShare, asked_shares, found_shares
from .noise import compare, measure
from .worst_group import worst_group_scores

MOSTLY = 0.9
"""An attribute that a smaller share of real images has is not looked for in generated ones."""
ANSWERED = ("amplification", "amplification_asked")


def bias_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Measure each modality's composition, noise, groups and adherence; what cannot be measured says why.

    folder: where features are kept; see features.py.
    """
    extractor = reading_extractor(config)
    known = {row.modality for row in corpus.rows}
    scores: list[Score] = []
    tables: dict[str, Confusion] = {}
    for modality, made in modalities_of(samples):
        if modality not in known:
            scores.append(unavailable("composition", "the corpus has no images of this modality", modality=modality))
            continue
        side = Compared.of(made, corpus, extractor, config, folder, progress)
        parts = {
            "composition": composition_scores(side),
            "noise": noise_scores(side, progress),
            "group_kid": worst_group_scores(side),
            "adherence": adherence_scores(side, tables),
        }
        if config.model is not None:
            parts["amplification_autoencoder"] = autoencoder_scores(side, config.model)
        for done, (name, found) in enumerate(parts.items()):
            progress(f"{name}, {modality}", done, len(parts))
            scores += [replace(score, modality=modality) for score in tried(name, found)]
    return Findings(scores, facts=Facts(sentence=sentence(scores), confusion=tables))


def composition_scores(side: Compared) -> Iterator[Score]:
    """For each label: its share as asked for and as found, q/p, and amplification in log odds, against training."""
    if not side.attributes:
        yield unavailable("composition", "the two sets have no attribute in common")
    for attribute in grouping(side.attributes, side.config):
        of, identity = {"group": attribute, "versus": "train"}, side.extractor.identity
        try:
            known = side.real.readable(attribute)
        except ValueError as error:
            yield unavailable("amplification", str(error), extractor=identity, **of)
            continue
        yield from tried("amplification_asked", _asked(side, attribute, known), **of)
        yield from tried("amplification", _found(side, attribute, known), extractor=identity, **of)


def _asked(side: Compared, attribute: str, known: Readable) -> Iterator[Score]:
    made, taught = known.scale.labels(side.made.rows), known.scale.labels(side.real.training)
    yield from _as_scores(asked_shares(made, taught, known.scale.names), attribute, "_asked", "")


def _found(side: Compared, attribute: str, known: Readable) -> Iterator[Score]:
    if len(known.kept) < MOSTLY * len(side.real.rows):
        raise ValueError(
            f"only {len(known.kept)} of {len(side.real.rows)} real images have it: a classifier "
            "cannot say which of the generated ones do not"
        )
    votes = known.reader.votes(side.features)
    found = found_shares(known.reader.confusion, votes, known.training, known.scale.names, side.rng(61))
    yield from _as_scores(found, attribute, "", side.extractor.identity)


def _as_scores(shares: Sequence[LabelShare], attribute: str, suffix: str, extractor: str) -> Iterator[Score]:
    """Shares as scores; those found by a classifier are named prevalence, as the report draws them."""
    asked = suffix == "_asked"
    found = "found by a classifier that real images taught, corrected as if it erred alike on generated ones"
    note = "as asked for" if asked else found
    name = "composition_asked" if asked else "prevalence"
    where: dict[str, Any] = {"versus": "train", "extractor": extractor, "note": note}
    for one in shares:
        where |= {"p": one.p_value, "group": f"{attribute}={one.label}"}
        yield Score.of(name, one.share, null=Null.known(one.training), **where)
        yield Score.of(f"composition_ratio{suffix}", one.ratio, null=Null.known(1.0), **where)
        yield Score.of(f"amplification{suffix}", one.amplification, null=Null.known(0.0), **where)


def noise_scores(side: Compared, progress: Progress = silent) -> Iterator[Score]:
    """Noise of background or tissue beside that of held-out real images, in the unit of the values."""
    reference = part_of(side.real.images, side.reference)
    unit = side.real.rows[0].unit
    made = measure(side.made, range(len(side.made)), progress)
    real = measure(reference, range(len(reference)), progress)
    people = [side.real.people[i] for i in side.reference]
    units = {row.unit for images in (side.made, reference) for row in images.rows}

    def compared(name: str) -> Iterator[Score]:
        if len(units) > 1:
            raise ValueError(f"values are in different units: {', '.join(sorted(units))}")
        one, other, p = compare(made[name], real[name], people, side.rng(67))
        ratio = f", {one.value / other.value:.2f} times that of real images" if other.value > 0 else ""
        note = f"mean over images, in {unit}{ratio}; null: real images with their interval"
        n = min(one.n, other.n)
        yield Score.of(name, one, n=n, null=Null.of(other), p=p, versus=side.versus, note=note)

    for name in made:
        yield from tried(name, compared(name), versus=side.versus)


def sentence(scores: Sequence[Score]) -> str:
    """Which labels became rarer or more frequent, after Holm's correction; and the worst group."""
    tested = [score for score in scores if score.name in ANSWERED and score.p is not None]
    if not tested:
        return "No attribute could be compared, so that nothing is known of bias."
    apart = differing(tested)
    shifted = sorted((score for score in apart if score.name == "amplification"), key=lambda s: -abs(s.value or 0.0))
    asked = {(score.modality, score.group) for score in apart if score.name == "amplification_asked"}
    shown = f"{len(apart) or 'none'} {'is' if len(apart) <= 1 else 'are'} shown to differ"
    whole = count_of(len(tested), "comparison")
    text = f"Of {whole} of labels with the training images {shown} (5 % after Holm's correction)"
    named = []
    for score in shifted[:3]:
        way = "rarer" if (score.value or 0) < 0 else "more frequent"
        words = f"{score.modality} {score.group.replace('=', ' = ')} {way}"
        named.append(words + ("" if (score.modality, score.group) in asked else ", though asked for as in training"))
    return text + (f"; most: {'; '.join(named)}." if named else ".")
