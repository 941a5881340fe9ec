"""Do image and mask belong together? A segmentation network, learnt with and without synthetic pairs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...files import write_whole
from ...held_out import held_out, split_to_compare
from ...imageset import ImageSet
from ...statistics.estimate import Estimate, holm
from ...wording import count_of
from ..arrays import Array
from ..config import EvaluateConfig
from ..inputs.patients import patients, some_people
from ..inputs.real import MOST
from ..score import Null, Progress, Score, silent, tried
from .again import Again
from .classifier import REAL, SYNTHETIC
from .dice import dice, mean_of, of_empty
from .segmentation import BATCH, SIDE, STEPS, Masks, Segmenter, side_of, stacked

ADDED = "real + synthetic"
SHARE = 0.25
"""Of the real pairs, whole people, that stand for few."""
FEWEST = 10
BASE = {(SYNTHETIC, 0.0): (REAL, 1.0), (ADDED, SHARE): (REAL, SHARE)}
"""Each arm with synthetic pairs, and what it is held against."""
Arm = tuple[str, float]


@dataclass(frozen=True)
class Pairs:
    """Images (n, S, S) uint8 with their masks, and the hashes of both."""

    images: Array
    masks: Masks
    hashes: Sequence[str]

    @classmethod
    def of(cls, images: ImageSet, numbers: Sequence[int], side: int) -> Pairs:
        rows = [images.rows[i] for i in numbers]
        return cls(*stacked(images, numbers, side), [row.sha256 + row.mask_sha256 for row in rows])

    def __add__(self, other: Pairs) -> Pairs:
        images, masks = (np.concatenate(each) for each in ((self.images, other.images), (self.masks, other.masks)))
        return Pairs(images, masks, [*self.hashes, *other.hashes])

    def __len__(self) -> int:
        return len(self.hashes)

    def part(self, places: Sequence[int]) -> Pairs:
        return Pairs(self.images[places], self.masks[places], [self.hashes[i] for i in places])


@dataclass(frozen=True)
class Outlined:
    """What networks found in images, (S, n): Dice with the mask of each (NaN: that is empty), whether anything."""

    dice: Array
    anything: Array

    @classmethod
    def by(cls, networks: Sequence[Outlined], part: slice = slice(None)) -> Outlined:
        """What each of several networks, (n,), found in a part of the images."""
        return cls(*(np.stack([getattr(one, name)[part] for one in networks]) for name in ("dice", "anything")))


def both_have_masks(made: ImageSet, corpus: ImageSet) -> bool:
    """Whether some image of each side has a mask."""
    return all(any(row.mask_file_name for row in images.rows) for images in (made, corpus))


def outline_scores(
    made: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Iterator[Score]:
    """Dice of asked and found masks, and of networks that real, synthetic and both pairs taught, of one modality.

    The mean over images with something outlined, and over networks that begin otherwise and, of a quarter, learn from
    other people; intervals draw networks again, and held-out people or made images. All networks have the same steps.
    folder: where what each network found is kept while the evaluation is not finished.
    """
    versus = split_to_compare(corpus.rows, config.held_out)
    yield from tried("dice", _scores(made, corpus, versus, config, progress, folder), versus=versus or "")


def _scores(
    made: ImageSet,
    corpus: ImageSet,
    versus: str | None,
    config: EvaluateConfig,
    progress: Progress,
    folder: Path | None,
) -> Iterator[Score]:
    people, rng = patients(corpus.rows), np.random.default_rng([config.seed, 101])
    masked = {i for i, row in enumerate(corpus.rows) if row.mask_file_name}
    learners = [i for i, row in enumerate(corpus.rows) if row.split == "train" and i in masked]
    train = some_people(people, learners, MOST, rng)
    held = [i for i in held_out(corpus.rows, versus) if i in masked] if versus else []
    asked = [i for i, row in enumerate(made.rows) if row.mask_file_name]
    there = {"synthetic": len(asked), "real training": len(train), "held-out real": len(held)}
    if short := [f"{n} {what}" for what, n in there.items() if n < FEWEST]:
        raise ValueError(f"too few images with a mask: {', '.join(short)}; {FEWEST} are needed")
    if len({people[i] for i in held}) < 2:
        raise ValueError("the held-out real images with masks are of one person")
    side = side_of(made, corpus)
    real, synthetic, test = (Pairs.of(*which, side) for which in ((corpus, train), (made, asked), (corpus, held)))
    for what, pairs in (("synthetic", synthetic), ("real training", real), ("held-out real", test)):
        if not pairs.masks.any():
            raise ValueError(f"all masks of {what} images are empty")
    owners, networks = [people[i] for i in train], config.utility.networks
    few = max(FEWEST, round(SHARE * len(real)))
    found: dict[Arm, list[Outlined]] = {}
    sizes: dict[Arm, int] = {}
    for turn in range(networks):
        seed = config.seed + 1000 * turn
        some = some_people(owners, range(len(real)), few, np.random.default_rng([seed, 109]))
        quarter = real.part(some)
        arms = {(REAL, 1.0): real, (SYNTHETIC, 0.0): synthetic}
        arms |= {(REAL, SHARE): quarter, (ADDED, SHARE): quarter + synthetic}
        for place, (arm, taught) in enumerate(arms.items(), turn * len(arms)):
            told = partial(_told, progress, f"masks, {label_of(arm)}", place, networks * len(arms))
            seen = test + synthetic if arm == (REAL, 1.0) else test
            found.setdefault(arm, []).append(learnt(taught, seen, seed, told, folder))
            sizes[arm] = len(taught)
    on_test = {arm: Outlined.by(each, slice(len(test))) for arm, each in found.items()}
    on_made = Outlined.by(found[REAL, 1.0], slice(len(test), None))
    yield from _as_scores(on_test, on_made, [people[i] for i in held], sizes, versus or "", config)


def _told(progress: Progress, what: str, place: int, of: int, _what: str, done: int, total: int) -> None:
    progress(what, place * total + done, of * total)


def label_of(arm: Arm) -> str:
    """An arm in words: `real, 25 % of real`."""
    return arm[0] if arm[0] == SYNTHETIC else f"{arm[0]}, {100 * arm[1]:g} % of real"


def learnt(taught: Pairs, seen: Pairs, seed: int, progress: Progress, folder: Path | None = None) -> Outlined:
    """What a network that some pairs taught finds in others; kept in `folder` under the hashes of all of them."""
    words = [*map(str, (STEPS, BATCH, SIDE, seed, taught.images.shape)), *taught.hashes, "", *seen.hashes]
    path = folder / f"masks-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:32]}.npy" if folder else None
    if path and path.is_file():
        kept = np.load(path, allow_pickle=False)
        return Outlined(kept[0], kept[1] > 0)
    masks = Segmenter(seed).fit(taught.images, taught.masks, progress).predict(seen.images)
    found = Outlined(dice(masks, seen.masks), np.asarray(masks.any(axis=(1, 2))))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, np.stack([found.dice, found.anything.astype(float)]))
        write_whole(path, buffer.getbuffer(), sync=False)
    return found


def _as_scores(
    found: Mapping[Arm, Outlined],
    made: Outlined,
    people: Sequence[str],
    sizes: Mapping[Arm, int],
    versus: str,
    config: EvaluateConfig,
) -> Iterator[Score]:
    settings = config.utility
    again, of_images = (
        Again.of(units, settings.networks, settings.bootstraps, np.random.default_rng([config.seed, purpose]))
        for units, purpose in ((people, 103), ([str(i) for i in range(made.dice.shape[1])], 107))
    )
    means = {arm: mean_of(outlined.dice, again) for arm, outlined in found.items()}
    n = {arm: int(np.isfinite(outlined.dice[0]).sum()) for arm, outlined in found.items()}
    beside = means[REAL, 1.0].estimate(n[REAL, 1.0])
    empty = of_empty(made.dice[0], made.anything)
    note = "; ".join(filter(None, ("mask asked against mask found; null: the same networks on held-out people", empty)))
    asked = mean_of(made.dice, of_images).estimate(int(np.isfinite(made.dice[0]).sum()))
    yield Score.of("dice_asked", asked, null=Null.of(beside), versus=versus, note=note)
    deltas = {arm: means[arm].minus(means[base]) for arm, base in BASE.items()}
    adjusted = dict(zip(deltas, map(float, holm([drawn.p_value() for drawn in deltas.values()])), strict=True))
    for arm, drawn in means.items():
        empty = of_empty(found[arm].dice[0], found[arm].anything)
        tested = f"{count_of(len(set(people)), 'test person', 'test people')}, {count_of(settings.networks, 'network')}"
        said = f"taught by {sizes[arm]} pairs; {tested}"
        where: dict[str, Any] = {"versus": versus, "group": f"masks: {label_of(arm)}"}
        yield Score.of("dice", drawn.estimate(n[arm]), note="; ".join(filter(None, (said, empty))), **where)
        if arm in deltas:
            note = f"minus {label_of(BASE[arm])}; p after Holm's correction; {said}"
            delta: Estimate = deltas[arm].estimate(n[arm])
            yield Score.of("delta_dice", delta, null=Null.known(0.0), p=adjusted[arm], note=note, **where)


def outlines_sentence(scores: Sequence[Score]) -> str:
    """What the Dice of each modality comes to, in words."""
    return " ".join(filter(None, (_of_modality(scores, name) for name in dict.fromkeys(s.modality for s in scores))))


def _of_modality(scores: Sequence[Score], modality: str) -> str:
    own = {(s.name, s.group): s for s in scores if s.modality == modality and s.value is not None}
    asked = own.get(("dice_asked", ""))
    if asked is None or asked.null is None:
        return ""
    group = {arm: f"masks: {label_of(arm)}" for arm in (*BASE, *BASE.values())}
    mean = {arm: own["dice", name].value or 0.0 for arm, name in group.items()}
    added = own["delta_dice", group[ADDED, SHARE]]
    way = "that helped" if (added.value or 0) > 0 else "that did harm"
    shown = way if (added.p or 0) < 0.05 else "no difference is shown"
    return (
        f"{modality}: networks that real images taught find asked outlines with Dice {asked.value:.2f}, and those of "
        f"held-out people with {asked.null.value:.2f}; taught by synthetic pairs alone they find the latter with "
        f"{mean[SYNTHETIC, 0.0]:.2f}, by a quarter of the real ones with {mean[REAL, SHARE]:.2f}, and with synthetic "
        f"pairs added with {mean[ADDED, SHARE]:.2f} ({shown})."
    )
