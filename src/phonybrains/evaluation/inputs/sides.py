"""The two sides of one modality: the made images, and the real ones with who they show and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...held_out import HELD_OUT, held_out, split_to_compare
from ...imageset import ImageSet, Row
from ...reporting.wording import count_of
from ..config import EvaluateConfig
from ..score import Score, unavailable
from .patients import patients
from .sets import NOT_ATTRIBUTES, grouping

Array = NDArray[Any]
FEWEST, MOST = 10, 1000
"""Images a side below which nothing is said, and above which a random part is compared: a kernel of all must fit."""


@dataclass(frozen=True)
class Side:
    """Made images and real ones of one modality; `held` are the numbers of the held-out real ones (`versus`), MOST of
    them at the most, whole patients of other splits beside them; `measured` are the numbers of the made images that
    scores rest on."""

    modality: str
    versus: str
    made: ImageSet
    real: ImageSet
    groups: Sequence[str]
    held: Array
    measured: Array
    attributes: Sequence[str]


def side_of(made: ImageSet, real: ImageSet, modality: str, config: EvaluateConfig) -> Side:
    """The two sides of a modality. Raises ValueError, with the reason, where there is too little to compare."""
    if not len(real):
        raise ValueError(f"the corpus has no {modality} image")
    groups = patients(real.rows)
    versus = split_to_compare(real.rows, config.held_out)
    if versus is None:
        raise ValueError(f"no real {modality} image is in the split {config.held_out or ' or '.join(HELD_OUT)}")
    held = held_out(real.rows, versus)
    for n, kind in ((len(made), "synthetic"), (len(held), f"real {versus}")):
        if n < FEWEST:
            raise ValueError(
                f"only {count_of(n, f'{kind} {modality} image')}: at least {FEWEST} are needed to say anything"
            )
    rng, theirs = np.random.default_rng(config.seed), {groups[i] for i in held}
    if len(held) > MOST:
        held = sorted(_some_patients(groups, held, MOST, np.random.default_rng([config.seed, 3])))
    others = [i for i in range(len(groups)) if groups[i] not in theirs]
    others = _some_patients(groups, others, max(MOST, 2 * len(held)), rng)
    if len(others) < FEWEST:
        raise ValueError(
            f"only {count_of(len(others), f'real {modality} image')} of other patients than those held "
            f"out: at least {FEWEST} are needed to compare real images with real ones"
        )
    kept = sorted([*held, *others])
    place = {i: k for k, i in enumerate(kept)}
    measured = np.sort(rng.permutation(len(made))[: min(MOST, len(others))])
    return Side(
        modality,
        versus,
        made,
        _part(real, kept),
        [groups[i] for i in kept],
        np.array([place[i] for i in held]),
        measured,
        _attributes(made.rows, real.rows, config),
    )


def without_copies(made: ImageSet, real: ImageSet) -> tuple[ImageSet, list[Score]]:
    """The made images that are not real ones byte for byte, and what was left out; and how many occur twice."""
    known = {row.sha256 for row in real.rows}
    where: dict[str, Any] = {"modality": made.rows[0].modality}
    fresh = [i for i, row in enumerate(made.rows) if row.sha256 not in known]
    notes = []
    if len(fresh) < len(made):
        notes.append(
            unavailable(
                "in_both_sets",
                f"{len(made) - len(fresh)} of {len(made)} synthetic images are in the "
                "corpus too, byte for byte; they were left out of every score",
                **where,
            )
        )
    repeated = len(fresh) - len({made.rows[i].sha256 for i in fresh})
    if repeated:
        notes.append(
            Score(
                "repeated_images",
                repeated / len(fresh),
                n=len(fresh),
                note="byte-equal to another image of the set",
                **where,
            )
        )
    return _part(made, fresh), notes


def _some_patients(groups: Sequence[str], among: Sequence[int], most: int, rng: np.random.Generator) -> list[int]:
    """At most so many of these numbers of images: whole patients at random, the last one cut short."""
    names = rng.permutation(sorted({groups[i] for i in among})).tolist()
    place = {name: k for k, name in enumerate(names)}
    return sorted(among, key=lambda i: (place[groups[i]], i))[:most]


def _attributes(made: Sequence[Row], real: Sequence[Row], config: EvaluateConfig) -> list[str]:
    if config.attributes is not None:
        return list(config.attributes)
    columns = [
        {name for row in rows for name, value in row.attributes.items() if value not in (None, "")}
        for rows in (made, real)
    ]
    return grouping([name for name in sorted(columns[0] & columns[1]) if name not in NOT_ATTRIBUTES], config)


def _part(images: ImageSet, numbers: Sequence[int]) -> ImageSet:
    return replace(images, rows=tuple(images.rows[i] for i in numbers))
