"""Near duplicates: pairs of images whose thumbnails correlate, above all those that would join two splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.97
"""Above every pair of different patients in 1300 head CT slices (at most 0.961), below half of the neighbours."""
WORST = 20
CHUNK = 2048


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two images by their place in the set, and the correlation of their thumbnails."""

    first: int
    second: int
    correlation: float


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """How many pairs are near duplicates, how many of them join two splits, or two patients; the worst of these."""

    pairs: int
    across_splits: int
    across_patients: int
    worst: tuple[NearDuplicate, ...]


def find_near_duplicates(
    thumbnails: NDArray[np.uint8],
    splits: Sequence[str],
    patients: Sequence[str],
    modalities: Sequence[str],
    threshold: float = THRESHOLD,
    advance: Callable[[int], object] = lambda count: None,
) -> NearDuplicates:
    """Compare all pairs of one modality by the Pearson correlation of their thumbnails, (N, h, w) uint8.

    Works in blocks, so that memory stays below 200 MB beyond the thumbnails, however many pairs are alike; time grows
    with N². An image in no split ("") joins no splits; an unknown patient ("") is not counted as another. `advance`
    hears of images done.
    """
    split, patient = _codes(splits), _codes(patients)
    pairs = across_splits = across_patients = 0
    worst: list[NearDuplicate] = []
    for modality in sorted(set(modalities)):
        members = np.flatnonzero(np.asarray(modalities) == modality)
        for rows, columns, correlation in _blocks(thumbnails, members, advance):
            alike = (correlation > threshold) & (rows[:, None] < columns)
            other_split, other_patient = alike & _unlike(split, rows, columns), alike & _unlike(patient, rows, columns)
            pairs += int(np.count_nonzero(alike))
            across_splits += int(np.count_nonzero(other_split))
            across_patients += int(np.count_nonzero(other_patient))
            worst += _worst(rows, columns, correlation, other_split | other_patient)
            worst = sorted(worst, key=lambda pair: (-pair.correlation, pair.first, pair.second))[:WORST]
    return NearDuplicates(pairs, across_splits, across_patients, tuple(worst))


def _unlike(codes: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pairs of a block have two different names, both known."""
    first, second = codes[rows, None], codes[columns]
    return (first != second) & (first > 0) & (second > 0)


def _worst(
    rows: NDArray[np.int64], columns: NDArray[np.int64], correlation: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> list[NearDuplicate]:
    """The WORST of the chosen pairs of a block, the first ones of equals."""
    places = np.flatnonzero(chosen)
    found = correlation.ravel()[places].round(4)
    if len(places) > WORST:
        least = np.partition(found, -WORST)[-WORST]
        above = np.flatnonzero(found > least)
        kept = np.concatenate([above, np.flatnonzero(found == least)[: WORST - len(above)]])
        places, found = places[kept], found[kept]
    i, j = np.unravel_index(places, correlation.shape)
    return [NearDuplicate(*pair) for pair in zip(rows[i].tolist(), columns[j].tolist(), found.tolist(), strict=True)]


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each name; 0 for ""."""
    numbers = {name: number for number, name in enumerate(sorted(set(names) - {""}), start=1)}
    return np.array([numbers.get(name, 0) for name in names], np.int64)


def _blocks(
    thumbnails: NDArray[np.uint8], members: NDArray[np.int64], advance: Callable[[int], object]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Rows, columns and the correlations between them, block by block, on and above the diagonal."""
    for top in range(0, len(members), CHUNK):
        upper = _standardised(thumbnails[members[top : top + CHUNK]])
        for left in range(top, len(members), CHUNK):
            lower = upper if left == top else _standardised(thumbnails[members[left : left + CHUNK]])
            yield members[top : top + CHUNK], members[left : left + CHUNK], upper @ lower.T
        advance(len(upper))


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean 0 and length 1 each; an even image becomes 0, and is like no other."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 1e-3, length, np.inf)
