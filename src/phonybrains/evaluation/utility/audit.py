"""Is it useful? A classifier of an attribute, learnt with and without synthetic images, tested on other real people;
where there are masks, a segmentation network too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...imageset import ImageSet
from ...reporting.wording import count_of
from ...statistics.bootstrap import Drawn
from ...statistics.estimate import holm
from ..arrays import Array
from ..config import EvaluateConfig, UtilityConfig
from ..features.shards import CHUNK, pixels_of
from ..findings import Facts, Findings
from ..inputs.edits import of_held_out
from ..inputs.labels import Scale, text_of
from ..inputs.real import Compared, modalities_of, reading_extractor
from ..inputs.sets import part_of
from ..outcomes import outcome_of
from ..score import Null, Progress, Score, silent, unavailable
from .again import Again
from .auc_gain import auc_of, brier, calibration_error
from .classifier import (
    ARMS,
    MIXED,
    REAL,
    SYNTHETIC,
    ClassifierData,
    classically_augmented,
    learn,
    pool,
    share_of_people,
)
from .outlines import both_have_masks, outline_scores, outlines_sentence

FEWEST = 10
GROUP = 20
"""Test images that a group needs, to be looked at alone."""
NORMAL = "synthetic images alone below real ones is normal, not a fault"
Key = tuple[str, float]


@dataclass(frozen=True)
class ArmResults:
    """Probabilities of the test images, (seeds, m, K), of each arm and share of real images; why others are missing."""

    found: dict[Key, Array]
    missing: dict[str, str]


def run_arms(
    data: ClassifierData, shares: Sequence[float], seeds: int, seed: int = 0, progress: Progress = silent
) -> ArmResults:
    """Learn every arm at every share of real images with every seed; all arms of a seed have the same real images.

    Synthetic images alone need no real ones: they are learnt from once, under the share 0.
    """

    def run(arm: str, share: float, seed: int) -> Array:
        for_real, for_pool = (np.random.default_rng([seed, purpose, round(1000 * share)]) for purpose in (73, 79))
        x, y = pool(data, arm, share_of_people(data, share, for_real), for_pool)
        return learn(x, y, data.labels, data.test, seed)

    keys = [(arm, share) for share in shares for arm in ARMS if arm != SYNTHETIC] + [(SYNTHETIC, 0.0)]
    found: dict[Key, Array] = {}
    missing: dict[str, str] = {}
    for done, (arm, share) in enumerate(keys, 1):
        try:
            found[arm, share] = np.stack([run(arm, share, seed + 1000 * i) for i in range(seeds)])
        except ValueError as error:
            missing[label_of(arm, share)] = str(error)
        progress("classifiers", done, len(keys))
    return ArmResults(found, missing)


def label_of(arm: str, share: float) -> str:
    """An arm in words: `real + synthetic 1:1, 10 % of the real images`."""
    return arm if arm == SYNTHETIC else f"{arm}, {100 * share:g} % of real"


def gains(
    outcome: ArmResults, truth: Array, people: Sequence[str], settings: UtilityConfig, seed: int = 0
) -> tuple[dict[Key, Drawn], dict[Key, Drawn], dict[Key, float]]:
    """AUC of each arm; its difference from real images alone at the same share; and p of this, Holm's correction made.

    Test people, and the seeds, are drawn again together for all arms. Synthetic images alone are held against all real.
    """
    again = Again.of(people, settings.seeds, settings.bootstraps, np.random.default_rng([seed, 83]))
    aucs = {key: auc_of(found, truth, again) for key, found in outcome.found.items()}
    full = max((share for arm, share in aucs if arm == REAL), default=0.0)
    deltas = {
        (arm, share): drawn.minus(aucs[REAL, share or full])
        for (arm, share), drawn in aucs.items()
        if arm != REAL and (REAL, share or full) in aucs
    }
    adjusted = holm([drawn.p_value() for drawn in deltas.values()]) if deltas else []
    return aucs, deltas, dict(zip(deltas, map(float, adjusted), strict=True))


def utility_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Measure the gain for each attribute that `utility.attribute` names, and for masks where both sides have them.

    Edits of held-out people are not learnt from: they show whom the classifier is tested on.
    """
    seen = of_held_out(samples.rows, corpus.rows)
    samples = part_of(samples, np.flatnonzero(~seen).tolist())
    scores = [*_of_attributes(samples, corpus, config, progress, folder)]
    masks = [*_of_masks(samples, corpus, config, progress, folder)]
    apart = f"{count_of(int(seen.sum()), 'edit')} of held-out people left out." if seen.any() else ""
    said = " ".join(filter(None, (sentence(scores), outlines_sentence(masks), apart)))
    return Findings(scores + masks, facts=Facts(sentence=said))


def _of_masks(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress, folder: Path | None
) -> Iterator[Score]:
    for modality, made in modalities_of(samples):
        real = corpus.where(modality=modality)
        if both_have_masks(made, real):
            for score in outline_scores(made, real, config, progress, folder):
                yield replace(score, modality=modality)


def _of_attributes(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress, folder: Path | None
) -> Iterator[Score]:
    names = [name.strip() for name in config.utility.attribute.split(",") if name.strip()]
    if not names:
        yield unavailable("auc", "no attribute was named: choose what the classifier shall learn with --attribute")
        return
    extractor, known = reading_extractor(config), {row.modality for row in corpus.rows}
    for modality, made in modalities_of(samples):
        if modality not in known:
            yield unavailable("auc", "the corpus has no images of this modality", modality=modality)
            continue
        side = Compared.of(made, corpus, extractor, config, folder, progress)
        augmented = functools.cache(partial(_augmented, side, progress))
        for name in names:
            try:
                found = list(_of_attribute(side, name, augmented, progress))
            except ValueError as error:
                found = [unavailable("auc", f"{name}: {error}", versus=side.versus)]
            yield from (replace(score, modality=modality) for score in found)


def _of_attribute(side: Compared, name: str, augmented: Callable[[], Array], progress: Progress) -> Iterator[Score]:
    real, settings = side.real, side.config.utility
    scale = Scale.of(name, real.rows)
    if "none" in scale.names and len(scale.names) > 2:
        scale = Scale(name, ("none", "any"), only_any=True)
    codes, asked = scale.codes(real.rows), scale.codes(side.made.rows)
    train = [i for i in real.numbers("train") if codes[i] >= 0]
    held = [i for i in side.reference if codes[i] >= 0 and side.versus != "train"]
    told = np.flatnonzero(asked >= 0)
    learners, people = ([real.people[i] for i in numbers] for numbers in (train, held))
    _check(codes[train], codes[held], len(told), len(set(people)))
    data = ClassifierData(
        real.features[train],
        codes[train],
        learners,
        augmented()[train],
        side.features[told],
        asked[told],
        real.features[held],
        len(scale.names),
    )
    outcome = run_arms(data, settings.real_shares, settings.seeds, side.config.seed, progress)
    yield from arm_scores(outcome, codes[held], people, data, side, name)
    yield from worst_groups(outcome, codes[held], held, side, name)


def _check(train: Array, held: Array, told: int, people: int) -> None:
    if len(set(train.tolist())) < 2 or len(set(held.tolist())) < 2:
        raise ValueError("training or held-out real images have one label only")
    if told < FEWEST:
        raise ValueError(
            f"only {count_of(told, 'synthetic image was', 'synthetic images were')} asked for it, {FEWEST} are needed"
        )
    if min(len(train), len(held)) < FEWEST or people < 2:
        raise ValueError(
            f"too few real images: {len(train)} training, {len(held)} held-out, of "
            f"{count_of(people, 'person', 'people')}"
        )


def _augmented(side: Compared, progress: Progress) -> Array:
    """Features of an augmented copy of every training image; rows of other images stay as they are."""
    found, train = side.real.features.copy(), side.real.numbers("train")
    for start in range(0, len(train), CHUNK):
        part = train[start : start + CHUNK]
        images = classically_augmented(pixels_of(side.real.images, part), side.rng(89_000 + start))
        found[part] = np.nan_to_num(side.extractor(images).astype(np.float64), posinf=0, neginf=0)
        progress("augmented copies", start + len(part), len(train))
    return found


def arm_scores(
    outcome: ArmResults, truth: Array, people: Sequence[str], data: ClassifierData, side: Compared, name: str
) -> Iterator[Score]:
    """AUC, its difference, Brier score and calibration error of each arm."""
    aucs, deltas, adjusted = gains(outcome, truth, people, side.config.utility, side.config.seed)
    n = len(truth)
    where: dict[str, Any] = {"versus": side.versus, "extractor": side.extractor.identity}
    for arm, reason in outcome.missing.items():
        yield unavailable("auc", reason, group=f"{name}: {arm}", **where)
    for key, drawn in aucs.items():
        arm, share = key
        where["group"] = f"{name}: {label_of(arm, share)}"
        wanted = MIXED.get(arm, 0) * share * len(data.truth)
        tested = count_of(len(set(people)), "test person", "test people")
        note = f"{count_of(side.config.utility.seeds, 'seed')}, {tested}"
        few = f"; only {count_of(len(data.asked), 'synthetic image')} for {wanted:.0f}"
        note += few if wanted > len(data.asked) + 1 else ""
        note += f"; {NORMAL}" if arm == SYNTHETIC else ""
        yield Score.of("auc", drawn.estimate(n), null=Null.known(0.5), note=note, **where)
        if key in deltas:
            said = f"minus real alone; p after Holm's correction; {note}"
            delta, p = deltas[key].estimate(n), adjusted[key]
            yield Score.of("delta_auc", delta, null=Null.known(0.0), p=p, note=said, **where)
        seeds = outcome.found[key]
        yield Score("brier", float(np.mean([brier(one, truth).mean() for one in seeds])), n=n, **where)
        yield Score("ece", float(np.mean([calibration_error(one, truth) for one in seeds])), n=n, **where)


def worst_groups(outcome: ArmResults, truth: Array, held: Sequence[int], side: Compared, name: str) -> Iterator[Score]:
    """The lowest AUC of each arm over the groups that other attributes make of the test images."""
    groups, settings = _groups(truth, held, side, name), side.config.utility
    draws: dict[str, Again] = {}
    for group, inside in groups.items():
        people = [side.real.people[held[i]] for i in np.flatnonzero(inside).tolist()]
        draws[group] = Again.of(people, settings.seeds, settings.bootstraps, side.rng(97))
    where = {"versus": side.versus, "extractor": side.extractor.identity}
    for (arm, share), found in outcome.found.items():
        each = {group: auc_of(found[:, inside], truth[inside], draws[group]) for group, inside in groups.items()}
        known = [(auc.value, group) for group, auc in each.items() if np.isfinite(auc.value)]
        if known:
            _, group = min(known)
            worst = each[group].estimate(int(groups[group].sum()))
            note = f"{group}: the lowest of {count_of(len(known), 'group')}"
            yield Score.of("worst_group_auc", worst, group=f"{name}: {label_of(arm, share)}", note=note, **where)


def _groups(truth: Array, held: Sequence[int], side: Compared, name: str) -> dict[str, Array]:
    """Which test images belong to each label of the other attributes, (m,), where it has enough of both answers."""
    groups = {}
    for attribute in side.attributes:
        values = [side.real.rows[i][attribute] for i in held]
        labels = np.array(["" if value is None else text_of(value) for value in values])
        for label in sorted(set(labels.tolist()) - {""}) if attribute != name else ():
            inside = labels == label
            if GROUP <= inside.sum() < len(held) and len(np.unique(truth[inside])) > 1:
                groups[f"{attribute} = {label}"] = inside
    return groups


def sentence(scores: Sequence[Score]) -> str:
    """Whether adding synthetic images helped, in words."""
    deltas = [score for score in scores if score.name == "delta_auc" and score.value is not None]
    added = [score for score in deltas if "real + synthetic" in score.group]
    if not added:
        return ""
    helped, harmed = ([outcome_of(score) for score in added].count(word) for word in ("better", "apart"))
    text = (
        f"Adding synthetic images to real ones is shown to have raised a classifier's AUC in {helped} of "
        f"{count_of(len(added), 'comparison')} and lowered it in {harmed} (5 % after Holm's correction)"
    )
    alone = [score.value or 0 for score in deltas if SYNTHETIC in score.group]
    if alone and max(alone) < 0:
        text += "; trained on synthetic images alone it does worse than on real ones, which is normal"
    return f"{text}."
