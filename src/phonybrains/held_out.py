"""Which images are real, and which of them has a model not seen? One rule for training, evaluation and studies.

Real is what is not marked synthetic. In a set of synthetic images alone, those play the patients that no model drew,
such as phantoms; where models drew all of them, all do.

Held out is what lies in the split test or validation, unless the model sees the same in the split train: another image
of the patient, of any modality, the very file, or an edit of it, which shows whom it shows. An image that names no
patient is held out as its split says (`how_split` warns of it); one without a split is on neither side, as it may show
a neighbour of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .imageset import ImageSet, Row

HELD_OUT = ("test", "validation")
"""The splits that nobody learns from, in the order in which they are compared with: validation chose the weights."""


def real_rows(rows: Sequence[Row]) -> list[int]:
    """The numbers of the real images among all rows of a set: of what a model added to it, none."""
    for kind in (lambda row: not row.synthetic, lambda row: not row["generator"]):
        if found := [number for number, row in enumerate(rows) if kind(row)]:
            return found
    return list(range(len(rows)))


def held_out(rows: Sequence[Row], *splits: str) -> list[int]:
    """The numbers of the held-out images in these splits, or in both: rows are all of a set, of all modalities."""
    learnt = [row for row in rows if row.split == "train"]
    patients = {row.patient_id for row in learnt} - {""}
    files = {file for row in learnt for file in _files(row)}
    return [
        number
        for number in real_rows(rows)
        if rows[number].split in (splits or HELD_OUT)
        and rows[number].patient_id not in patients
        and files.isdisjoint(_files(rows[number]))
    ]


def edited_from(row: Row) -> tuple[str, ...]:
    """SHA-256 of the image that a row's image is an edit of, and where that is an edit too, of what it is of."""
    return tuple(filter(None, str(row["edit_of_sha256"] or "").split(";")))


def is_edit_of_real(row: Row) -> bool:
    """Whether an image is an edit of a real one, so that it shows a person by intent, whatever was drawn anew."""
    return bool(edited_from(row)) and row["edit_of_kind"] != "synthetic"


def _files(row: Row) -> set[str]:
    return {row.sha256, *edited_from(row)} - {""}


def split_to_compare(rows: Sequence[Row], wanted: str | None = None) -> str | None:
    """The split to compare with: the one wanted, else test, else validation; None where nothing of it is held out."""
    order = [wanted] if wanted else HELD_OUT
    return next((split for split in order if held_out(rows, split)), None)


def set_apart(images: ImageSet) -> ImageSet:
    """The set in which test and validation are held out: what a model has seen all the same has no split any more."""
    kept = set(held_out(images.rows))
    rows = [
        replace(row, split="") if row.split in HELD_OUT and number not in kept else row
        for number, row in enumerate(images.rows)
    ]
    return replace(images, rows=tuple(rows))
