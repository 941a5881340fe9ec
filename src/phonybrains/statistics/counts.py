"""Counts of a reader study that cannot be true together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .count_tables import Key, smallest_contradiction

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
            yield f"{_who(readers, modality)}: {listed}, but {images} images were shown."


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
