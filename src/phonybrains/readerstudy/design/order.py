"""What each reader sees, one after the other: training cases, then test cases, repeats and checks mixed."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from itertools import chain, pairwise
from operator import attrgetter
from typing import TypeVar

import numpy as np

from ...errors import ConfigError
from ..config import StudyConfig
from ..study import Case, Kind, Presentation, Study

Shown = tuple[Case, Kind]
T = TypeVar("T")

FORESIGHT, MOST_FILLERS = 0.025, 13


def keyed_digest(seed: int, purpose: str) -> bytes:
    """HMAC-SHA256 of a purpose under the study's seed: who does not know the seed learns nothing from it."""
    return hmac.new(seed.to_bytes(8, "big"), purpose.encode(), hashlib.sha256).digest()


def keyed_generator(seed: int, purpose: str) -> np.random.Generator:
    """The random generator of one purpose: equal seed and purpose, equal draws."""
    return np.random.default_rng(int.from_bytes(keyed_digest(seed, purpose), "big"))


def presentations(study: Study, reader: str) -> list[Presentation]:
    """One reader's order, drawn from HMAC-SHA256(study seed, reader).

    Training comes first. Test cases and the reader's own draw of fillers follow in an order all of whose permutations
    are as likely; checks are spread among them, and each repeat comes at least `config.repeats.gap` presentations after
    its first showing. Studies frozen with a longest block (`config.block`) keep the order that they had.
    """
    config, rng = study.config, keyed_generator(study.seed, f"order {reader}")
    training = _shuffled(study.of_role("training"), rng)
    tests = study.of_role("test")
    if config.block is None:
        mixed = _shuffled([*tests, *draw_fillers(study.of_role("filler"), rng)], rng)
    else:
        mixed = [*chain(*draw_blocks(tests, STRATUM, config.block, rng))]
    shown: list[Shown] = [(case, "filler" if case.role == "filler" else "test") for case in mixed]
    _spread_checks(shown, _shuffled(study.of_role("check"), rng), rng)
    _insert_repeats(shown, number_of_repeats(config, len(tests)), max(1, config.repeats.gap), rng, config.block)
    shown[:0] = [(case, "training") for case in training]
    return [Presentation(position, case.case_id, kind) for position, (case, kind) in enumerate(shown, 1)]


def draw_fillers(fillers: Sequence[Case], rng: np.random.Generator) -> list[Case]:
    """A reader's fillers: of each modality a fixed number, of which 0 to all are phony, each number as likely.

    As nobody knows that number, nobody can count what is left: what was shown tells next to nothing of what comes.
    """
    drawn: list[Case] = []
    for modality in sorted({case.modality for case in fillers}):
        sides = [[c for c in fillers if c.modality == modality and c.truth == truth] for truth in ("phony", "real")]
        number = min(map(len, sides))
        phony = int(rng.integers(number + 1))
        for side, wanted in zip(sides, (phony, number - phony), strict=True):
            drawn += _shuffled(side, rng)[:wanted]
    return drawn


@cache
def foresight(phony: int, real: int, fillers: int) -> float:
    """By how much the best guess of the next truth, from all truths before, beats the best guess without them.

    Of one modality, the mean over positions; exact. The guess knows the numbers and rules of the design but not how
    many fillers were phony, which is uniform. Without fillers it counts cards: 20 + 20 cases give 0.087.
    """
    from scipy.special import comb

    total = phony + real + fillers
    extra = np.arange(fillers + 1)  # phony fillers
    right = 0.0
    for shown in range(total):
        seen = np.arange(shown + 1)[:, None]  # phony ones
        left, other = phony + extra - seen, real + fillers - extra - (shown - seen)
        ways = comb(phony + extra, seen) * comb(real + fillers - extra, shown - seen) / comb(total, shown)
        best = np.maximum((ways * left).sum(axis=1), (ways * other).sum(axis=1)).sum()
        right += float(best) / (total - shown) / (fillers + 1)
    return right / total - max(phony + fillers / 2, real + fillers / 2) / total


def fillers_for(phony: int, real: int) -> int:
    """The fewest fillers that keep foresight below 2.5 points; what comes nearest where there are few cases."""
    if not phony or not real:
        return 0
    found = (n for n in range(MOST_FILLERS) if foresight(phony, real, n) <= FORESIGHT)
    return next(found, min(range(MOST_FILLERS), key=lambda n: foresight(phony, real, n)))


STRATUM = attrgetter("modality", "truth")
"""What each block of older studies holds in balance."""


def number_of_repeats(config: StudyConfig, tests: int) -> int:
    """How many cases a reader sees twice. Raises ConfigError if they cannot lie `gap` presentations apart."""
    if not config.repeats.share or not tests:
        return 0
    wanted = min(tests, max(math.ceil(config.repeats.share * tests), config.repeats.least))
    room = max(0, tests + 1 - config.repeats.gap)
    if wanted > room:
        raise ConfigError(
            f"repeats: {wanted} cases shown again at least {config.repeats.gap} presentations later do not fit into "
            f"{tests} test cases; {room} would. Set a smaller repeats.gap or repeats.least, or repeats.share = 0."
        )
    return wanted


def draw_blocks(
    items: Sequence[T], key: Callable[[T], Hashable], longest: int, rng: np.random.Generator
) -> list[list[T]]:
    """Split items at random into blocks of random size; each stratum keeps its share over them, to within one or so."""
    waiting: dict[Hashable, list[T]] = {}
    for item in _shuffled(items, rng):
        waiting.setdefault(key(item), []).append(item)
    sizes, blocks = {name: len(group) for name, group in waiting.items()}, []
    done = 0
    while done < len(items):
        block: list[T] = []
        for _ in range(min(int(rng.integers(max(2, longest // 2), longest + 1)), len(items) - done)):
            done += 1
            block.append(waiting[_furthest_behind(waiting, sizes, done / len(items), rng)].pop())
        blocks.append(_shuffled(block, rng))
    return blocks


def _furthest_behind(
    waiting: Mapping[Hashable, list[T]], sizes: Mapping[Hashable, int], share: float, rng: np.random.Generator
) -> Hashable:
    """The stratum with most left to catch up; ties are drawn."""
    names = [name for name, group in waiting.items() if group]
    behind = [share * sizes[name] - (sizes[name] - len(waiting[name])) + 1e-6 * rng.random() for name in names]
    return names[int(np.argmax(behind))]


def _spread_checks(shown: list[Shown], checks: Sequence[Case], rng: np.random.Generator) -> None:
    """Put one check at a random place in each of as many equal stretches."""
    bounds = np.linspace(0, len(shown), len(checks) + 1).astype(int)
    places = [int(rng.integers(low, max(low + 1, high))) for low, high in pairwise(bounds)]
    for place, case in sorted(zip(places, checks, strict=True), key=lambda pair: -pair[0]):
        shown.insert(place, (case, "check"))


def _insert_repeats(shown: list[Shown], number: int, gap: int, rng: np.random.Generator, block: int | None) -> None:
    """Insert repeats: what stands between two showings can only grow when more is inserted."""
    early = [case for case, kind in shown[: max(0, len(shown) - gap + 1)] if kind == "test"]
    blocks = [_shuffled(early, rng)] if block is None else draw_blocks(early, STRATUM, max(2, number), rng)
    again = [*chain(*blocks)]
    for case in again[:number]:
        first = next(i for i, (other, _) in enumerate(shown) if other is case)
        shown.insert(int(rng.integers(first + gap, len(shown) + 1)), (case, "repeat"))


def _shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [items[int(i)] for i in rng.permutation(len(items))]
