"""Which made images are edits of real ones, and so show a person by intent: their own source is no copy to be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...held_out import HELD_OUT, edited_from, is_edit_of_real
from ...imageset import ImageSet, Row
from ...reporting.wording import count_of
from ..arrays import Array
from .patients import patients


@dataclass(frozen=True)
class Edits:
    """Edits among made images, beside the images of a corpus.

    own (n, N): the corpus' images of the person whose image was edited, known by file or by patient. real (n,): which
    are edits of real images, of this corpus or of others; an edit of a generated image is an image like any generated.
    """

    own: Array
    real: Array

    def of(self, chosen: Array) -> Array:
        """Which are edits of people whom some of the chosen (N,) images of the corpus show, (n,)."""
        return np.asarray(self.own[:, chosen].any(axis=1))


def edits_among(made: Sequence[Row], corpus: Sequence[Row]) -> Edits:
    """Find them by what the rows say, `edit_of_sha256` and the patient; corpus: all rows of it, or of one modality."""
    own = np.zeros((len(made), len(corpus)), dtype=bool)
    edited = [number for number, row in enumerate(made) if edited_from(row)]
    if edited:
        people = np.array(patients(corpus))
        owner = {row.sha256: person for row, person in zip(corpus, people, strict=True)}
        for number in edited:
            theirs = {owner[file] for file in edited_from(made[number]) if file in owner}
            own[number] = np.isin(people, list(theirs | {made[number].patient_id} - {""}))
    real = np.array([is_edit_of_real(row) for row in made], dtype=bool)
    return Edits(own, real | own.any(axis=1))


def of_held_out(made: Sequence[Row], corpus: Sequence[Row], *splits: str) -> Array:
    """Which made images are edits of people in these splits of a corpus, test or validation, (n,)."""
    held = np.array([row.split in (splits or HELD_OUT) for row in corpus], dtype=bool)
    return edits_among(made, corpus).of(held)


def warnings_of_edits(made: ImageSet, corpus: ImageSet, splits: Sequence[str]) -> Iterator[str]:
    """What the reader of a report must know of edits among the synthetic images."""
    n, edits = len(made), edits_among(made.rows, corpus.rows)
    if not edits.real.any():
        return
    all_are = "is an edit of an image, not a new one", "are edits of images, not new ones"
    said = f"Of {count_of(n, 'synthetic image')}, {count_of(int(edits.real.sum()), *all_are)}."
    if seen := int(of_held_out(made.rows, corpus.rows, *splits).sum()):
        said += (
            f" Of them, {count_of(seen, 'shows', 'show')} people of the split {' and '.join(sorted(set(splits)))}, "
            "with which they are compared: distances and two-sample tests say how little was changed, and flatter."
        )
    yield said
