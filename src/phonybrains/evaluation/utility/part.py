"""Is it useful? A classifier of an attribute, learnt with and without synthetic images, tested on other real people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...statistics.estimate import holm
from ..config import EvaluateConfig, UtilityConfig
from ..features.reading import CHUNK, pixels_of
from ..findings import Facts, Findings
from ..inputs.labels import Scale, text_of
from ..inputs.real import Compared, modalities_of, reading_extractor
from ..score import Null, Progress, Score, silent, unavailable
from .auc_gain import Drawn, auc_of, brier, calibration_error, people_weights
from .classifier import ARMS, MIXED, REAL, SYNTHETIC, Task, classically_augmented, learn, pool, share_of_people

Array = NDArray[Any]
FEWEST = 10
GROUP = 20
"""Test images that a group needs, to be looked at alone."""
NORMAL = "synthetic images alone below real ones is normal, not a fault"
Key = tuple[str, float]


@dataclass(frozen=True)
class Outcome:
    """Probabilities of the test images, (seeds, m, K), of each arm and share of real images; why others are missing."""

    found: dict[Key, Array]
    missing: dict[str, str]


def run_arms(task: Task, shares: Sequence[float], seeds: int, seed: int = 0, progress: Progress = silent) -> Outcome:
    """Learn every arm at every share of real images with every seed; all arms of a seed have the same real images.

    Synthetic images alone need no real ones: they are learnt from once, under the share 0.
    """
    keys = [(arm, share) for share in shares for arm in ARMS if arm != SYNTHETIC] + [(SYNTHETIC, 0.0)]
    found: dict[Key, Array] = {}
    missing: dict[str, str] = {}
    for done, (arm, share) in enumerate(keys):
        try:
            found[arm, share] = np.stack([_run(task, arm, share, seed + 1000 * i) for i in range(seeds)])
        except ValueError as error:
            missing[label_of(arm, share)] = str(error)
        progress("classifiers", done + 1, len(keys))
    return Outcome(found, missing)


def _run(task: Task, arm: str, share: float, seed: int) -> Array:
    real = share_of_people(task, share, np.random.default_rng([seed, 73, round(1000 * share)]))
    x, y = pool(task, arm, real, np.random.default_rng([seed, 79, round(1000 * share)]))
    return learn(x, y, task.labels, task.test, seed)


def label_of(arm: str, share: float) -> str:
    """An arm in words: `real + synthetic 1:1, 10 % of the real images`."""
    return arm if arm == SYNTHETIC else f"{arm}, {100 * share:g} % of real"


def gains(
    outcome: Outcome, truth: Array, people: Sequence[str], settings: UtilityConfig, seed: int = 0
) -> tuple[dict[Key, Drawn], dict[Key, Drawn], dict[Key, float]]:
    """AUC of each arm; its difference from real images alone at the same share; and p of this, Holm's correction made.

    Test people, and the seeds, are drawn again together for all arms. Synthetic images alone are held against all real.
    """
    rng = np.random.default_rng([seed, 83])
    weights = people_weights(people, settings.bootstraps, rng)
    seeds = rng.integers(settings.seeds, size=(settings.bootstraps, settings.seeds))
    aucs = {key: auc_of(found, truth, weights, seeds) for key, found in outcome.found.items()}
    full = max((share for arm, share in aucs if arm == REAL), default=0.0)
    deltas = {
        (arm, share): drawn.minus(aucs[REAL, share or full])
        for (arm, share), drawn in aucs.items()
        if arm != REAL and (REAL, share or full) in aucs
    }
    adjusted = holm([drawn.p_value for drawn in deltas.values()]) if deltas else []
    return aucs, deltas, dict(zip(deltas, map(float, adjusted), strict=True))


def utility_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Measure the gain for each attribute that `utility.attribute` names (several: joined by commas), by modality."""
    names = [name.strip() for name in config.utility.attribute.split(",") if name.strip()]
    if not names:
        note = "no attribute was named: choose what the classifier shall learn with --attribute"
        return Findings([unavailable("auc", note)], facts=Facts(sentence=""))
    extractor = reading_extractor(config)
    scores: list[Score] = []
    for modality, made in modalities_of(samples):
        if all(row.modality != modality for row in corpus.rows):
            scores.append(unavailable("auc", "the corpus has no images of this modality", modality=modality))
            continue
        side = Compared.of(made, corpus, extractor, config, folder, progress)
        augmented: list[Array] = []
        for name in names:
            try:
                found = list(_of_attribute(side, name, augmented, progress))
            except ValueError as error:
                found = [unavailable("auc", f"{name}: {error}", versus=side.versus)]
            scores += [replace(score, modality=modality) for score in found]
    return Findings(scores, facts=Facts(sentence=sentence(scores)))


def _of_attribute(side: Compared, name: str, augmented: list[Array], progress: Progress) -> Iterator[Score]:
    scale = Scale.of(name, side.real.rows)
    if "none" in scale.names and len(scale.names) > 2:
        scale = Scale(name, ("none", "any"), only_any=True)
    codes, asked = scale.codes(side.real.rows), scale.codes(side.made.rows)
    train = [i for i in side.real.numbers("train") if codes[i] >= 0]
    held = [i for i in side.reference if codes[i] >= 0 and side.versus != "train"]
    told = np.flatnonzero(asked >= 0)
    people = [side.real.people[i] for i in held]
    _check(codes[train], codes[held], len(told), len(set(people)))
    if not augmented:
        augmented.append(_augmented(side, progress))
    task = Task(
        side.real.features[train],
        codes[train],
        [side.real.people[i] for i in train],
        augmented[0][train],
        side.features[told],
        asked[told],
        side.real.features[held],
        len(scale.names),
    )
    settings = side.config.utility
    outcome = run_arms(task, settings.real_shares, settings.seeds, side.config.seed, progress)
    yield from arm_scores(outcome, codes[held], people, task, side, name)
    yield from worst_groups(outcome, codes[held], held, side, name)


def _check(train: Array, held: Array, told: int, people: int) -> None:
    if len(set(train.tolist())) < 2 or len(set(held.tolist())) < 2:
        raise ValueError("training or held-out real images have one label only")
    if told < FEWEST:
        raise ValueError(f"only {told} synthetic images were asked for it, {FEWEST} are needed")
    if min(len(train), len(held)) < FEWEST or people < 2:
        raise ValueError(f"{len(train)} training and {len(held)} held-out real images of {people} people are too few")


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
    outcome: Outcome, truth: Array, people: Sequence[str], task: Task, side: Compared, name: str
) -> Iterator[Score]:
    """AUC, its difference, Brier score and calibration error of each arm."""
    aucs, deltas, adjusted = gains(outcome, truth, people, side.config.utility, side.config.seed)
    n = len(truth)
    where: dict[str, Any] = {"versus": side.versus, "extractor": side.extractor.identity}
    for arm, reason in outcome.missing.items():
        yield unavailable("auc", reason, group=f"{name}: {arm}", **where)
    for (arm, share), drawn in aucs.items():
        group = f"{name}: {label_of(arm, share)}"
        wanted = MIXED.get(arm, 0) * share * len(task.truth)
        note = f"{side.config.utility.seeds} seeds, {len(set(people))} test people"
        note += f"; only {len(task.asked)} synthetic images for {wanted:.0f}" if wanted > len(task.asked) + 1 else ""
        note += f"; {NORMAL}" if arm == SYNTHETIC else ""
        yield Score("auc", drawn.value, *drawn.limits, n=n, null=Null(0.5, 0.5, 0.5), group=group, note=note, **where)
        if (arm, share) in deltas:
            delta = deltas[arm, share]
            yield Score(
                "delta_auc",
                delta.value,
                *delta.limits,
                n=n,
                null=Null(0.0, 0.0, 0.0),
                p=adjusted[arm, share],
                group=group,
                note=f"minus real alone; p after Holm's correction; {note}",
                **where,
            )
        mean = outcome.found[arm, share]
        yield Score("brier", float(np.mean([brier(one, truth).mean() for one in mean])), n=n, group=group, **where)
        yield Score("ece", float(np.mean([calibration_error(one, truth) for one in mean])), n=n, group=group, **where)


def worst_groups(outcome: Outcome, truth: Array, held: Sequence[int], side: Compared, name: str) -> Iterator[Score]:
    """The lowest AUC of each arm over the groups that other attributes make of the test images."""
    settings = side.config.utility
    groups = _groups(truth, held, side, name)
    for (arm, share), found in outcome.found.items():
        each: list[tuple[float, str, Drawn, int]] = []
        for group, inside in groups.items():
            people = [side.real.people[held[i]] for i in np.flatnonzero(inside).tolist()]
            rng = side.rng(97)
            weights = people_weights(people, settings.bootstraps, rng)
            seeds = rng.integers(settings.seeds, size=(settings.bootstraps, settings.seeds))
            drawn = auc_of(found[:, inside], truth[inside], weights, seeds)
            if np.isfinite(drawn.value):
                each.append((drawn.value, group, drawn, int(inside.sum())))
        if each:
            value, group, drawn, n = min(each, key=lambda one: one[:2])
            yield Score(
                "worst_group_auc",
                value,
                *drawn.limits,
                n=n,
                versus=side.versus,
                group=f"{name}: {label_of(arm, share)}",
                note=f"{group}: the lowest of {len(each)} groups",
                extractor=side.extractor.identity,
            )


def _groups(truth: Array, held: Sequence[int], side: Compared, name: str) -> dict[str, Array]:
    """Which test images belong to each label of the other attributes, (m,), where it has enough of both answers."""
    groups = {}
    for attribute in side.attributes:
        values = [side.real.rows[i][attribute] for i in held]
        known = {text_of(value) for value in values if value not in (None, "")} if attribute != name else set()
        for label in sorted(known):
            inside = np.array([value not in (None, "") and text_of(value) == label for value in values])
            if GROUP <= inside.sum() < len(held) and len(np.unique(truth[inside])) > 1:
                groups[f"{attribute} = {label}"] = inside
    return groups


def sentence(scores: Sequence[Score]) -> str:
    """Whether adding synthetic images helped, in words."""
    added = [s for s in scores if s.name == "delta_auc" and s.value is not None and "real + synthetic" in s.group]
    if not added:
        return ""
    shown = [s for s in added if s.p is not None and s.p < 0.05]
    helped, harmed = (sum((s.value or 0) * sign > 0 for s in shown) for sign in (1, -1))
    text = (
        f"Adding synthetic images to real ones is shown to have raised a classifier's AUC in {helped} of "
        f"{len(added)} comparisons and lowered it in {harmed} (5 % after Holm's correction)"
    )
    alone = [s for s in scores if s.name == "delta_auc" and SYNTHETIC in s.group and s.value is not None]
    if alone and all((s.value or 0) < 0 for s in alone):
        text += "; trained on synthetic images alone it does worse than on real ones, which is normal"
    return f"{text}."
