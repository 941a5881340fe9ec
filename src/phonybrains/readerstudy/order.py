"""What each reader sees, one after the other: training cases, then test cases, repeats and checks mixed."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np

from ..errors import ConfigError
from .config import StudyConfig
from .study import Case, Presentation, Study

Kind = Literal["training", "test", "repeat", "check"]
Shown = tuple[Case, Kind]
T = TypeVar("T")


def keyed_digest(seed: int, purpose: str) -> bytes:
    """HMAC-SHA256 of a purpose under the study's seed: who does not know the seed learns nothing from it."""
    return hmac.new(seed.to_bytes(8, "big"), purpose.encode(), hashlib.sha256).digest()


def keyed_generator(seed: int, purpose: str) -> np.random.Generator:
    """The random generator of one purpose: equal seed and purpose, equal draws."""
    return np.random.default_rng(int.from_bytes(keyed_digest(seed, purpose), "big"))


def presentations(study: Study, reader: str) -> list[Presentation]:
    """One reader's order, drawn from HMAC-SHA256(study seed, reader).

    Training comes first. Test cases follow in blocks of random size, at most `config.block`, in which modality and
    truth keep their shares; checks are spread among them, and each repeat comes at least `config.repeats.gap`
    presentations after its first showing.
    """
    config, rng = study.config, keyed_generator(study.seed, f"order {reader}")
    training: list[Shown] = [(case, "training") for case in _shuffled(study.of_role("training"), rng)]
    tests = study.of_role("test")
    shown: list[Shown] = [(case, "test") for block in draw_blocks(tests, stratum, config.block, rng) for case in block]
    _spread_checks(shown, _shuffled(study.of_role("check"), rng), rng)
    _insert_repeats(shown, number_of_repeats(config, len(tests)), max(1, config.repeats.gap), rng)
    return [Presentation(position, case.case_id, kind) for position, (case, kind) in enumerate(training + shown, 1)]


def stratum(case: Case) -> tuple[str, str]:
    """What is balanced over blocks: modality and truth."""
    return case.modality, case.truth


def number_of_repeats(config: StudyConfig, tests: int) -> int:
    """How many cases a reader sees twice. Raises ConfigError if they cannot lie `gap` presentations apart."""
    if not config.repeats.share or not tests:
        return 0
    wanted = min(tests, max(math.ceil(config.repeats.share * tests), config.repeats.least))
    room = max(0, tests + 1 - config.repeats.gap)
    if wanted > room:
        raise ConfigError(f"repeats: {wanted} cases shown again at least {config.repeats.gap} presentations later do "
                          f"not fit into {tests} test cases; {room} would. Set a smaller repeats.gap or "
                          "repeats.least, or repeats.share = 0.")  # fmt: skip
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


def _insert_repeats(shown: list[Shown], number: int, gap: int, rng: np.random.Generator) -> None:
    """Insert repeats: what stands between two showings can only grow when more is inserted."""
    early = [case for case, kind in shown[: max(0, len(shown) - gap + 1)] if kind == "test"]
    groups = draw_blocks(early, stratum, max(2, number), rng)
    for case in [case for group in groups for case in group][:number]:
        first = next(i for i, (other, _) in enumerate(shown) if other is case)
        shown.insert(int(rng.integers(first + gap, len(shown) + 1)), (case, "repeat"))


def _shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [items[int(i)] for i in rng.permutation(len(items))]


def count_strata(cases: Sequence[Case]) -> Counter[tuple[str, str]]:
    """How many cases of each modality and truth."""
    return Counter(map(stratum, cases))
