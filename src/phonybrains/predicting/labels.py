"""What is learnt from a corpus: which rows, which labels, as which numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..held_out import held_out
from ..imageset import ImageSet, Row
from .predictor import SQUEEZED, Subject


def label_of(row: Row, attribute: str) -> str | float | None:
    """What a row says of an attribute: a number, a label ("several" where labels are joined by ;), None for nothing."""
    value = row[attribute]
    if not isinstance(value, str):
        return value
    return "several" if ";" in value.strip("; ") else value.strip("; ") or None


def rows_of(images: ImageSet, attribute: str, split: str) -> list[int]:
    """Rows of a split that say something of an attribute; of validation and test only of people not in train."""
    rows = held_out(images.rows, split) if split != "train" else range(len(images))
    return [i for i in rows if images.rows[i].split == split and label_of(images.rows[i], attribute) is not None]


def shared_out(images: ImageSet, rows: Sequence[int]) -> dict[str, list[int]]:
    """Rows of train for f, and those of every third person for the diffusion around it, people kept whole."""
    who = [images.rows[i].patient_id or images.rows[i].file_name for i in rows]
    third = set(sorted(set(who))[2::3])
    first, around = ([i for i, one in zip(rows, who, strict=True) if (one in third) == a] for a in (False, True))
    return {"train": first, "around": around or first}


def subject_of(images: ImageSet, attribute: str, features: bool) -> Subject:
    """What there is to predict. Raises ConfigError where the corpus cannot teach it, naming the reason."""
    known = list(dict.fromkeys(name for row in images.rows for name in row.attributes))
    if attribute not in known:
        raise ConfigError(f"{images.folder} has no attribute '{attribute}'. It has {', '.join(known) or 'none'}.")
    rows, held = ([images.rows[i] for i in rows_of(images, attribute, name)] for name in ("train", "validation"))
    for split, found in (("train", rows), ("validation", held)):
        if not found:
            raise ConfigError(
                f"{images.folder}: no image of the split {split} says its {attribute}. Import with a split."
            )
    values = [label_of(row, attribute) for row in rows]
    numbers, people = [v for v in values if isinstance(v, float)], defaultdict[str, set[str]](set)
    for row, value in zip(rows, values, strict=True):
        people[str(value)].add(row.patient_id or row.file_name)
    if len(people) < 2:
        raise ConfigError(
            f"{images.folder}: {attribute} is {values[0]} in all of train: there is nothing to tell apart."
        )
    is_number = len(numbers) == len(values)
    if not is_number and (few := [label for label, who in sorted(people.items()) if len(who) < 2]):
        raise ConfigError(
            f"{images.folder}: one person alone of train has {attribute} {', '.join(few)}; a class needs two. "
            "Empty the cells of these rows in metadata.csv, or join them with another class."
        )
    return Subject(
        attribute=attribute,
        labels=() if is_number else tuple(sorted(people)),
        centre=float(np.mean(numbers)) if is_number else 0.0,
        spread=float(np.std(numbers)) if is_number else 1.0,
        width=SQUEEZED * features,
        size=(images.height, images.width),
        modalities=tuple(sorted({row.modality for row in rows})),
    )


def codes(values: Sequence[str | float | None], subject: Subject) -> np.ndarray:
    """Labels as classes (N,), or as the numbers that they are; -1 or nan for one that was not learnt, or is missing."""
    if subject.labels:
        return np.array([subject.labels.index(str(v)) if str(v) in subject.labels else -1 for v in values])
    return np.array([v if isinstance(v, float) else np.nan for v in values])


def targets(truth: np.ndarray, subject: Subject) -> Tensor:
    """Truth as it is learnt: classes (N,), or numbers in units of the spread (N, 1)."""
    if subject.labels:
        return torch.from_numpy(truth)
    return torch.from_numpy((truth - subject.centre) / subject.spread).float()[:, None]
