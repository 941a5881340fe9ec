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
class Pair:
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
    worst: tuple[Pair, ...]


def find_near_duplicates(
    thumbnails: NDArray[np.uint8],
    splits: Sequence[str],
    patients: Sequence[str],
    modalities: Sequence[str],
    threshold: float = THRESHOLD,
    advance: Callable[[int], object] = lambda count: None,
) -> NearDuplicates:
    """Compare all pairs of one modality by the Pearson correlation of their thumbnails, (N, h, w) uint8.

    Works in blocks, so that memory stays at a few megabytes beyond the thumbnails; time grows with N². An image in no
    split ("") joins no splits; an unknown patient ("") is not counted as another. `advance` hears of images done.
    """
    split, patient = _codes(splits), _codes(patients)
    pairs = across_splits = across_patients = 0
    worst: list[Pair] = []
    for modality in sorted(set(modalities)):
        members = np.flatnonzero(np.asarray(modalities) == modality)
        for first, second, correlation in _alike(thumbnails, members, threshold, advance):
            other_split = (split[first] != split[second]) & (split[first] > 0) & (split[second] > 0)
            other_patient = (patient[first] != patient[second]) & (patient[first] > 0) & (patient[second] > 0)
            pairs += len(first)
            across_splits += int(other_split.sum())
            across_patients += int(other_patient.sum())
            shown = np.flatnonzero(other_split | other_patient)
            worst += [Pair(int(first[i]), int(second[i]), float(correlation[i])) for i in shown]
            worst = sorted(worst, key=lambda pair: (-pair.correlation, pair.first, pair.second))[:WORST]
    return NearDuplicates(pairs, across_splits, across_patients, tuple(worst))


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each name; 0 for ""."""
    numbers = {name: number for number, name in enumerate(sorted(set(names) - {""}), start=1)}
    return np.array([numbers.get(name, 0) for name in names], np.int64)


def _alike(
    thumbnails: NDArray[np.uint8], members: NDArray[np.int64], threshold: float, advance: Callable[[int], object]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Pairs (first < second) above the threshold, block by block."""
    for top in range(0, len(members), CHUNK):
        rows = _standardised(thumbnails[members[top : top + CHUNK]])
        for left in range(top, len(members), CHUNK):
            columns = rows if left == top else _standardised(thumbnails[members[left : left + CHUNK]])
            correlation = rows @ columns.T
            i, j = np.nonzero(correlation > threshold)
            later = j + left > i + top
            i, j = i[later], j[later]
            yield members[i + top], members[j + left], correlation[i, j].round(4)
        advance(len(rows))


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean 0 and length 1 each; an even image becomes 0, and is like no other."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 1e-3, length, np.inf)
