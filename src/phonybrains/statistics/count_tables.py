"""Is there a table of answers with these counts? An integer programme over all answers that readers can give together.

A table holds, for each modality, how many images got each combination of answers. Readers whose counts are never stated
together need no common table, and answers that are not part of a common count are one answer in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array, hstack

Key = tuple[tuple[str, ...], str, str | None]
Statement = tuple[Key, int]
MOST_CELLS, MOST_IMAGES, SECONDS = 100_000, 1_000_000, 60.0
OTHER = None


@dataclass(frozen=True)
class Programme:
    """The rows of the programme: what holds of every table (= 0), and the count of each statement, over unknowns."""

    always: Any  # csr_array, of which scipy's annotations know no shape
    counted: Any
    images: int
    """No modality has more images than this."""


def smallest_contradiction(
    statements: Sequence[Statement], answers: Sequence[str], modalities: Sequence[str]
) -> list[Statement]:
    """The fewest statements that no table fulfils, in the order given; none if some table fulfils them all.

    Raises ValueError if the table has too many cells. [Ignatiev, Previti, Liffiton & Marques-Silva 2015: a smallest set
    that meets every way to mend the statements]
    """
    if not statements:
        return []
    programme = _programme(statements, answers, modalities)
    counts = np.array([count for _, count in statements], dtype=float)
    if _fewest_broken(programme, counts, set(range(len(statements)))) is not None:
        return []
    mendings: list[set[int]] = []
    while True:
        chosen = _smallest_hitting(mendings, [len(readers) for (readers, _, _), _ in statements])
        broken = _fewest_broken(programme, counts, chosen)
        if broken is None:
            return [statements[i] for i in sorted(chosen)]
        mendings.append(broken)


def _smallest_hitting(mendings: list[set[int]], readers: list[int]) -> set[int]:
    """The fewest statements with one of each mending; of as many, those about the fewest readers."""
    size = len(readers)
    if not mendings:
        return set()
    rows = np.array([np.isin(np.arange(size), list(one)) for one in mendings], dtype=float)
    cost = 1 + np.array(readers) / (1 + sum(readers))
    solved = milp(cost, integrality=np.ones(size), bounds=Bounds(0, 1), constraints=LinearConstraint(rows, 1, np.inf))
    return set(np.flatnonzero(np.asarray(solved.x) > 0.5).tolist())


def _fewest_broken(programme: Programme, counts: np.ndarray, kept: set[int]) -> set[int] | None:
    """The fewest other statements to give up so that a table fulfils the kept ones; None if no table does."""
    size, unknowns = programme.counted.shape
    free = np.ones(size)
    free[list(kept)] = 0
    far = float(programme.images * len(counts))
    loose = csr_array(np.diag(far * free))
    none = csr_array((programme.always.shape[0], size))
    constraints = [
        LinearConstraint(hstack([programme.always, none], format="csr"), 0, 0),
        LinearConstraint(hstack([programme.counted, loose], format="csr"), lb=counts),  # pyright: ignore[reportArgumentType]
        LinearConstraint(hstack([programme.counted, -loose], format="csr"), ub=counts),  # pyright: ignore[reportArgumentType]
    ]
    upper: Any = np.concatenate([np.full(unknowns, float(programme.images)), free])
    cost = np.concatenate([np.zeros(unknowns), np.ones(size)])
    solved = milp(
        cost,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, upper),
        constraints=constraints,
        options={"time_limit": SECONDS},
    )
    if solved.status == 2:
        return None
    if solved.x is None or solved.status != 0:
        raise ValueError("These counts are too many to be decided in a minute: check them in parts.")
    return set(np.flatnonzero(solved.x[unknowns:] > 0.5).tolist())


# --- The unknowns ----------------------------------------------------------------------------------------------------


def _programme(statements: Sequence[Statement], answers: Sequence[str], modalities: Sequence[str]) -> Programme:
    """Number the unknowns: images shown, each reader's answers, and common tables, all for each modality."""
    readers = sorted({reader for (names, _, _), _ in statements for reader in names})
    shared = [(names, answer) for (names, _, answer), _ in statements if len(names) > 1]
    common = {r: sorted({str(answer) for names, answer in shared if r in names}) for r in readers}
    kinds = {r: [*common[r], *([OTHER] if len(common[r]) < len(answers) else [])] for r in readers}
    groups = _groups(readers, [names for names, _ in shared])
    sizes = [math.prod(len(kinds[r]) for r in group) for group in groups]
    cells = len(modalities) * sum(sizes)
    if cells > MOST_CELLS:
        raise ValueError(
            f"{max(map(len, groups))} readers with counts in common make a table of {cells} cells, more "
            f"than {MOST_CELLS} that can be searched: check fewer readers at a time."
        )
    images = sum(count for _, count in statements)
    if images > MOST_IMAGES:
        raise ValueError(f"The counts add up to {images}, more than {MOST_IMAGES}: there are not so many images.")
    number: dict[tuple, int] = {}
    always: list[dict[int, float]] = []

    def unknown(*name: object) -> int:
        return number.setdefault(name, len(number))

    for modality in modalities:
        for reader in readers:
            whole = {unknown("answers", modality, reader, answer): 1.0 for answer in answers}
            always.append({**whole, unknown("shown", modality): -1.0})
        for group in groups:
            combinations = list(product(*(kinds[reader] for reader in group)))
            columns = [unknown("cell", modality, group, one) for one in combinations]
            always.append({**dict.fromkeys(columns, 1.0), unknown("shown", modality): -1.0})
            for place, reader in enumerate(group):
                for answer in common[reader]:
                    row = {c: 1.0 for c, one in zip(columns, combinations, strict=True) if one[place] == answer}
                    always.append({**row, unknown("answers", modality, reader, answer): -1.0})
    counted = []
    for (names, modality, answer), _ in statements:
        row: dict[int, float] = {}
        for one in modalities if modality == "" else [modality]:
            if not names:
                row[unknown("shown", one)] = 1.0
            elif len(names) == 1:
                row[unknown("answers", one, names[0], answer)] = 1.0
            else:
                group = next(group for group in groups if names[0] in group)
                fixed = [group.index(name) for name in names]
                for cell in product(*(kinds[reader] for reader in group)):
                    if all(cell[place] == answer for place in fixed):
                        row[unknown("cell", one, group, cell)] = 1.0
        counted.append(row)
    return Programme(_matrix(always, len(number)), _matrix(counted, len(number)), images)


def _groups(readers: Sequence[str], shared: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Readers whom common counts join, directly or by way of others; readers without any are left out."""
    group = {reader: {reader} for reader in readers}
    for names in shared:
        joined = set.union(*(group[name] for name in names))
        for name in joined:
            group[name] = joined
    return sorted({tuple(sorted(one)) for one in group.values() if len(one) > 1})


def _matrix(rows: list[dict[int, float]], width: int) -> csr_array:
    entries = [(i, j, value) for i, row in enumerate(rows) for j, value in row.items()]
    places, columns, values = (np.array(part) for part in zip(*entries, strict=True)) if entries else ([], [], [])
    return csr_array(coo_array((values, (places, columns)), shape=(len(rows), width)))
