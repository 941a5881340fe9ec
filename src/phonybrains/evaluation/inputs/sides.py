"""The two sides of one modality: the made images, and the real ones with who they show and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...held_out import HELD_OUT, held_out, split_to_compare
from ...imageset import ImageSet
from ...reporting.wording import count_of
from ..arrays import Array
from ..config import EvaluateConfig
from ..score import Score, unavailable
from .patients import patients, some_people
from .sets import attributes_of, grouping, part_of

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

    def made_names(self, numbers: Sequence[int] | Array) -> list[str]:
        """The files of the measured made images with these numbers."""
        return [self.made.rows[int(i)].file_name for i in self.measured[numbers]]


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
            few = count_of(n, f"{kind} {modality} image")
            raise ValueError(f"only {few}: at least {FEWEST} are needed to say anything")
    rng, theirs = np.random.default_rng(config.seed), {groups[i] for i in held}
    if len(held) > MOST:
        held = some_people(groups, held, MOST, np.random.default_rng([config.seed, 3]))
    others = [i for i in range(len(groups)) if groups[i] not in theirs]
    others = some_people(groups, others, max(MOST, 2 * len(held)), rng)
    if len(others) < FEWEST:
        raise ValueError(
            f"only {count_of(len(others), f'real {modality} image')} of other patients than those held "
            f"out: at least {FEWEST} are needed to compare real images with real ones"
        )
    kept = np.array(sorted([*held, *others]))
    measured = np.sort(rng.permutation(len(made))[: min(MOST, len(others))])
    people = [groups[i] for i in kept]
    attributes = grouping(attributes_of(made, real, config), config)
    return Side(modality, versus, made, part_of(real, kept), people, np.searchsorted(kept, held), measured, attributes)


def without_copies(made: ImageSet, real: ImageSet) -> tuple[ImageSet, list[Score]]:
    """The made images that are not real ones pixel for pixel, and what was left out; and how many occur twice."""
    known, n = set(map(real.content, range(len(real)))), len(made)
    where: dict[str, Any] = {"modality": made.rows[0].modality}
    fresh = part_of(made, (i for i in range(n) if made.content(i) not in known))
    notes = []
    if len(fresh) < n:
        same = count_of(n - len(fresh), "is", "are")
        copied = f"of {count_of(n, 'synthetic image')}, {same} in the corpus too, pixel for pixel"
        notes.append(unavailable("in_both_sets", f"{copied}; quality and texture leave them out", **where))
    repeated = len(fresh) - len(set(map(fresh.content, range(len(fresh)))))
    if repeated:
        note = "pixel-equal to another image of the set"
        notes.append(Score("repeated_images", repeated / len(fresh), n=len(fresh), note=note, **where))
    return fresh, notes
