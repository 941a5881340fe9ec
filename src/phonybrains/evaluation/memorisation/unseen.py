"""Images of people who are not among those searched, which say how alike images are by chance.

Held-out images, and training images among those of the other patients: a threshold is as good as the number of people
it rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet, Row
from ..inputs.patients import RUN_LENGTH, deal, patients
from ..score import Progress, silent
from .search import Search

Array = NDArray[Any]
MOST_TURNS = 300


@dataclass(frozen=True)
class Unseen:
    """Their likeness, (n,), and the number of the training image nearest to each.

    who: whom each shows; rows: theirs; left_out: how many are training images, searched for among other patients'.
    """

    score: Array
    nearest: Array
    who: list[str]
    rows: list[Row]
    left_out: int


def unseen_by(
    search: Search,
    corpus: ImageSet,
    others: Sequence[int],
    training: ImageSet,
    seed: int = 0,
    progress: Progress = silent,
) -> Unseen:
    """Search for images of people who are not among the training images; others: numbers of the held-out ones."""
    everyone = patients(corpus.rows)
    found, absent = search.found(corpus, others, progress), _in_turns(search, training, seed, progress)
    return Unseen(
        np.concatenate([found.score, absent.score]),
        np.concatenate([found.index, absent.nearest]),
        [*(everyone[i] for i in others), *absent.who],
        [*(corpus.rows[i] for i in others), *absent.rows],
        len(absent.who),
    )


def _in_turns(search: Search, training: ImageSet, seed: int, progress: Progress) -> Unseen:
    """Search for training images among those of the other patients, a fifth of the patients at a time.

    At most MOST_TURNS random images, as evenly over the patients as can be.
    """
    rng, people = np.random.default_rng([seed, 6]), patients(training.rows)
    order: list[tuple[int, int]] = []
    seen: Counter[str] = Counter()
    for i in rng.permutation(len(people)).tolist():
        order.append((seen[people[i]], i))
        seen[people[i]] += 1
    chosen = np.array([i for _, i in sorted(order)[:MOST_TURNS]])
    scores, nearest, shown = [np.empty(0)], [np.empty(0, dtype=int)], []
    for fold, rest in divisions_of(training, people, rng):
        own: list[int] = chosen[fold[chosen]].tolist()
        if own and rest.sum() >= 2:
            found = search.part(np.flatnonzero(rest)).found(training, own, progress)
            scores.append(found.score)
            nearest.append(np.flatnonzero(rest)[found.index])
            shown += own
    who, rows = [f"training {people[i]}" for i in shown], [training.rows[i] for i in shown]
    return Unseen(np.concatenate(scores), np.concatenate(nearest), who, rows, len(shown))


def divisions_of(training: ImageSet, people: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Fifths of the training images, (n,) booleans, and the images that show none of their people.

    Where patients are unknown, a fifth is a stretch in the order of the set, and RUN_LENGTH images before and after it
    are left out too: they may show the same people.
    """
    n, known = len(people), all(row.patient_id for row in training.rows)
    folds, place = deal(people, 5, rng) if known else np.arange(n) * 5 // n, np.arange(n)
    for number in range(folds.max() + 1):
        fold = folds == number
        rest = ~np.isin(people, np.array(people)[fold])
        if not known:
            first, last = place[fold].min(), place[fold].max()
            rest &= (place < first - RUN_LENGTH) | (place > last + RUN_LENGTH)
        yield fold, rest
