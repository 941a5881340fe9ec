"""Edits of real images in the audit: an image that started from a patient's is an *edit of* it, which no search need
find, and no search can call new. It is counted apart, with what is left of its patient to be recognised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...imageset import ImageSet
from ..arrays import Array
from ..findings import EditsSign, Pair
from ..inputs.edits import Edits
from ..score import Progress, silent
from .registration import Matches
from .search import Search
from .threshold import Calibration

INTENT = "an edit shows its patient by intent: whoever may show the patients decides whether these may be shown"
WHOSE = "training patients", "other patients of the corpus", "people outside this corpus"
NOBODY = "made of phantoms by models of phantoms: no patient is shown"


@dataclass(frozen=True)
class Recognised:
    """How alike edits are to the training images of their own patients; numbers: which of the set's images they are."""

    numbers: tuple[int, ...]
    found: Matches
    threshold: float

    @property
    def above(self) -> Array:
        """Which are nearer to their own patient than unseen patients' images are to anybody, (n,)."""
        return self.found.score > self.threshold

    def pairs(self, samples: ImageSet, training: ImageSet, panel: str, most: int) -> list[Pair]:
        """The edits most like their own patients, each beside the image of theirs that is nearest; none is flagged."""
        order = np.argsort(-self.found.score, kind="stable")[:most].tolist()
        return [
            Pair(
                modality=samples.rows[0].modality,
                synthetic=samples.rows[self.numbers[i]].file_name,
                similarity=float(self.found.score[i]),
                correlation=float(self.found.correlation[i]),
                training=training.rows[self.found.index[i]].file_name,
                patient=training.rows[self.found.index[i]].patient_id,
                threshold=self.threshold,
                flagged=False,
                same_file=samples.content(self.numbers[i]) == training.content(int(self.found.index[i])),
                panel=panel,
                excess=(float(self.found.score[i]) - self.threshold) / max(1 - self.threshold, 1e-9),
                edit=True,
            )
            for i in order
        ]


def recognised_by(
    search: Search, samples: ImageSet, own: Array, known: Calibration, progress: Progress = silent
) -> Recognised:
    """Search for each edit of a training patient among that patient's images alone; own (n, N): which those are."""
    numbers = np.flatnonzero(own.any(axis=1)).tolist()
    return Recognised(tuple(numbers), search.found(samples, numbers, progress, own[numbers]), known.threshold)


def edits_sign(modality: str, edits: Edits, trained: Array, above: int, *, nobody: bool) -> EditsSign:
    """What edits there are, and whose; trained (N,): which images of the corpus are in the training split.

    undecided: the audit asks whether patients are repeated, and they are, by intent. passed: there are none to repeat.
    """
    n, whose = len(edits.real), edits.of(trained)
    held, elsewhere = edits.of(~trained) & ~whose, edits.real & ~edits.own.any(axis=1)
    counts = int(whose.sum()), int(held.sum()), int(elsewhere.sum())
    kinds = zip(counts, WHOSE, strict=True)
    text = f"{modality}: {int(edits.real.sum())} of {n} are edits of images, counted apart: "
    text += ", ".join(f"{count} of {kind}" for count, kind in kinds if count)
    if counts[0]:
        text += f" ({above} of the {counts[0]} nearer to their own patient than 99 % of unseen people's images to any)"
    return EditsSign(
        "edits",
        "passed" if nobody else "undecided",
        modality,
        f"{text}; {NOBODY if nobody else INTENT}",
        n=n,
        edits=int(edits.real.sum()),
        of_training=counts[0],
        of_held_out=counts[1],
        of_others=counts[2],
        recognised=above,
    )
