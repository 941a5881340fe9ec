"""How often does the audit by patient speak up where nobody is repeated, and how often where few are? Real images.

    python -m bench audit_by_patient corpus/ --sets 100

Features of the registered search alone. Innocent sets: the images of half of the held-out people, at random,
audited against the training split with the other half held out. Repeating sets: 40 images of k random training people
under one value, each searched for without that image itself, so that what lies nearest is another slice of its person.
Prints the share of each word with its exact interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonybrains.evaluation.memorisation import nearness, spread
from phonybrains.evaluation.memorisation.nearness import Closeness
from phonybrains.evaluation.memorisation.search import ByRegistration
from phonybrains.imageset import ImageSet, Row
from phonybrains.statistics.proportions import clopper_pearson

from .options import measurement

MADE = 40
PEOPLE = (1, 2, 3, 5, 10, 20)


def all_against_all(images: ImageSet) -> Closeness:
    """The closeness of every image to every person, the image itself left out; `made` and `real` are the same."""
    plain, mirrored = ByRegistration.of(images).views(images, range(len(images)))
    names, owner = np.unique([row.patient_id for row in images.rows], return_inverse=True)
    alike = np.maximum(plain @ plain.T, mirrored @ plain.T)
    np.fill_diagonal(alike, -2)
    each = np.stack([alike[:, owner == i].max(axis=1) for i in range(len(names))], axis=1)
    split = np.array([row.split for row in images.rows])
    trained = np.array([(split[owner == i] == "train").any() for i in range(len(names))])
    own = alike.max(axis=1)
    nearest = np.stack([alike[:, owner == i].argmax(axis=1) for i in range(len(names))], axis=1)
    places = np.stack([np.flatnonzero(owner == i)[nearest[:, i]] for i in range(len(names))], axis=1)
    return Closeness(each, each < own[places], each, owner, range(len(owner)), names.tolist(), trained, "structure-1")


def words(
    close: Closeness,
    rows: list[Row],
    made: NDArray[np.intp],
    keep: NDArray[np.bool_],
    label: str,
    patients: int,
    seed: int,
) -> tuple[str, str]:
    """What nearness and spread say of these images, with these people in the corpus."""
    place, kept = np.cumsum(keep) - 1, np.flatnonzero(keep[close.owner])
    part = replace(
        close,
        made=close.made[made][:, keep],
        authentic=close.authentic[made][:, keep],
        real=close.real[kept][:, keep],
        owner=place[close.owner[kept]],
        numbers=kept.tolist(),
        names=[name for name, one in zip(close.names, keep, strict=True) if one],
        trained=close.trained[keep],
    )
    near = nearness.sign_of(nearness.nearness_of(part, seed), "").word
    landed = spread.landed_by_features(part, rows)
    group = spread.Group(label, tuple(range(len(made))), patients, max(5, min(patients, part.held_out)))
    names = [name for name, one in zip(part.names, part.trained, strict=True) if one]
    ((sign, _),) = spread.spread_of([landed], [group], names, "", seed)
    return near, sign.word


def show(what: str, draw: Callable[[int], tuple[str, str]], sets: int) -> None:
    """Print how often nearness and spread say look, and failed."""
    found = [draw(i) for i in range(sets)]
    for name, said in zip(("nearness", "patients"), zip(*found, strict=True), strict=True):
        counts = Counter(said)
        shares = {word: clopper_pearson(counts[word], sets) for word in ("look", "failed")}
        text = ", ".join(f"{word} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})" for word, one in shares.items())
        print(f"{what}: {name}: {text}", flush=True)


app = measurement(__name__, __doc__)


@app.default
def main(corpus: Path, /, *, sets: int = 100, permutations: int = 199, modality: str = "") -> None:
    """Measure level and power.

    Args:
        corpus: An image set of real images with patients and splits.
        sets: Of each kind.
        permutations: Of people between the splits.
        modality: MR or CT; both if not given.
    """
    nearness.PERMUTATIONS, spread.DRAWS = permutations, 1000
    opened = ImageSet.open(corpus)
    for name in [modality] if modality else sorted({row.modality for row in opened.rows}, reverse=True):
        images = opened.where(modality=name)
        close, rows = all_against_all(images), list(images.rows)
        held, taught = np.flatnonzero(~close.trained), np.flatnonzero(close.trained)

        def innocent(
            i: int, close: Closeness = close, rows: list[Row] = rows, held: NDArray[np.intp] = held
        ) -> tuple[str, str]:
            half = np.random.default_rng([i, 1]).permutation(held)[: len(held) // 2]
            keep = ~np.isin(np.arange(len(close.names)), half)
            return words(close, rows, np.flatnonzero(np.isin(close.owner, half)), keep, "", int(close.trained.sum()), i)

        show(f"{name}, {len(held) // 2} unseen people of {len(held)}", innocent, sets)
        for k in PEOPLE:

            def repeating(
                i: int, k: int = k, close: Closeness = close, rows: list[Row] = rows, taught: NDArray[np.intp] = taught
            ) -> tuple[str, str]:
                rng = np.random.default_rng([i, 2])
                own = np.flatnonzero(np.isin(close.owner, rng.permutation(taught)[:k]))
                everybody = np.ones(len(close.names), dtype=bool)
                return words(close, rows, rng.choice(own, MADE), everybody, "value=x", k, i)

            show(f"{name}, {k} training people again and again", repeating, sets)
