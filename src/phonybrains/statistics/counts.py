"""Counts of a reader study that cannot be true together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array, hstack

from ..wording import count_of

Key = tuple[tuple[str, ...], str, str | None]
Statement = tuple[Key, int]
MOST_CELLS, MOST_IMAGES, SECONDS = 100_000, 1_000_000, 60.0
OTHER = None
ANSWERS = ("real", "phony", "unclear")


@dataclass(frozen=True)
class Claim:
    """One stated count: so many images of a modality got this answer from each of these readers.

    readers: one name, or several for images on which all of them gave the answer; none, with answer None, for the
    number of images shown. modality: "" for all modalities together.
    """

    count: int
    answer: str | None = None
    readers: tuple[str, ...] = ()
    modality: str = ""


def inconsistencies(claims: Iterable[Claim], answers: Sequence[str] = ANSWERS) -> list[str]:
    """Say in plain sentences which counts contradict each other; an empty list if some table of answers has them all.

    First what breaks a simple rule: the same count stated twice; more answers than images, or fewer where all answers
    are stated; totals against their modalities; what readers called alike against what each called so. Where none is
    broken the counts are looked for in the table of all answers by an integer programme, and if there is no such table,
    a smallest set of counts that no table has is named. A total is the sum over the modalities that are named, and
    every reader gives each image one of the answers. Order of claims does not matter. Raises ValueError at a negative
    count, an answer not in answers, an answer without readers or the reverse, or too large a table (count_tables).
    """
    stated, found = _stated(list(claims), answers)
    modalities = sorted({modality for _, modality, _ in stated if modality})
    shown = {modality: count for (readers, modality, _), count in stated.items() if not readers}
    if "" not in shown and modalities and all(modality in shown for modality in modalities):
        shown[""] = sum(shown[modality] for modality in modalities)
    found += _totals(stated, modalities)
    found += _against_shown(stated, shown, answers)
    found += _together(stated, shown)
    if found:
        return found
    smallest = smallest_contradiction(list(stated.items()), answers, modalities or [""])
    every = "; ".join(f"{_who(*key[:2])}: {count} {_what(key[2])}{_for_all(key[0])}" for key, count in smallest)
    return [f"These counts cannot all be true, though any one of them fewer could be: {every}."] if every else []


def _for_all(readers: tuple[str, ...]) -> str:
    return {0: "", 1: "", 2: " for both"}.get(len(readers), " for all")


def _stated(claims: list[Claim], answers: Sequence[str]) -> tuple[dict[Key, int], list[str]]:
    for claim in claims:
        if claim.count < 0 or (claim.answer is None) != (not claim.readers):
            raise ValueError(f"{claim} is no count of answers by readers, nor of images shown.")
        if claim.answer is not None and claim.answer not in answers:
            raise ValueError(f"{claim.answer} is not one of the answers {', '.join(answers)}.")
    counts: dict[Key, int] = {}
    found = []
    for claim in sorted(claims, key=lambda c: (c.readers, c.modality, c.answer or "", c.count)):
        key = (tuple(sorted(set(claim.readers))), claim.modality, claim.answer)
        if counts.setdefault(key, claim.count) != claim.count:
            found.append(
                f"{_who(key[0], claim.modality)}: {_what(claim.answer)} is stated as {counts[key]} and {claim.count}."
            )
    return counts, found


def _totals(stated: dict[Key, int], modalities: list[str]) -> Iterator[str]:
    """A total is the sum of its modalities, and no less than those that are stated."""
    for (readers, modality, answer), total in stated.items():
        parts = [(stated[readers, m, answer], m) for m in modalities if (readers, m, answer) in stated]
        amount = sum(count for count, _ in parts)
        complete = len(parts) == len(modalities)
        if modality == "" and parts and (amount > total or (complete and amount != total)):
            listed = " + ".join(f"{count} {m}" for count, m in parts)
            listed += f" = {amount}" if len(parts) > 1 else ""
            yield f"{_who(readers, '')}: {total} {_what(answer)} in all, but {listed}."


def _against_shown(stated: dict[Key, int], shown: dict[str, int], answers: Sequence[str]) -> Iterator[str]:
    """Each reader's answers add up to the images shown; those that several readers share do not exceed them."""
    judged = sorted((key for key in stated if key[0]), key=lambda key: key[:2])
    for (readers, modality), keys in groupby(judged, key=lambda key: key[:2]):
        given = {answer: stated[readers, modality, answer] for _, _, answer in keys}
        total, images = sum(given.values()), shown.get(modality)
        complete = len(readers) == 1 and len(given) == len(answers)
        if images is not None and (total > images or (complete and total != images)):
            listed = " + ".join(f"{given[answer]} {answer}" for answer in answers if answer in given)
            listed += f" = {total}" if len(given) > 1 else ""
            yield f"{_who(readers, modality)}: {listed}, but {count_of(images, 'image was', 'images were')} shown."


def _together(stated: dict[Key, int], shown: dict[str, int]) -> Iterator[str]:
    """What readers share is no more than any of them has, and no less than must overlap."""
    for (readers, modality, answer), count in stated.items():
        if len(readers) < 2:
            continue
        alone = {(r,): stated[(r,), modality, answer] for r in readers if ((r,), modality, answer) in stated}
        smaller = {other: n for (other, m, a), n in stated.items() if m == modality and a == answer and len(other) > 1}
        for other, most in {**alone, **smaller}.items():
            if set(other) < set(readers) and count > most:
                yield f"{_who(readers, modality)}: {count} {answer} for all, but only {most} for {_names(other)}."
        if len(alone) == len(readers) and modality in shown:
            least = sum(alone.values()) - (len(readers) - 1) * shown[modality]
            if count < least:
                each = " and ".join(str(n) for n in alone.values())
                yield (
                    f"{_who(readers, modality)}: {count} {answer} for all, but {each} "
                    f"of {shown[modality]} share at least {least}."
                )


def _names(readers: tuple[str, ...]) -> str:
    return " and ".join(readers)


def _who(readers: tuple[str, ...], modality: str) -> str:
    return ", ".join(part for part in (_names(readers) or "Shown", modality) if part)


def _what(answer: str | None) -> str:
    return answer or "images"


# --- Is there a table of answers with these counts? ------------------------------------------------------------------
# A table holds, for each modality, how many images got each combination of answers. Readers whose counts are never
# stated together need no common table, and answers that are not part of a common count are one answer in it.


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
