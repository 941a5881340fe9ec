"""Whose images are whose, where PatientID does not tell: by study, frame of reference, or name with date of birth.

A study is of one patient (PS3.3 A.1.2), a frame of reference of one too (C.7.4.1). So images without PatientID in a
study where others have one are that patient's. All else is a guess, and is called one: two studies may be
of one person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from .header import Frame


def with_patients(frames: Sequence[Frame]) -> list[Frame]:
    """The frames, each with a patient: its PatientID, that of its study, or a name for all that belong together."""
    nameless = {frame.person for frame in frames if not frame.patient}
    groups = _joined(nameless)
    ids: dict[str, set[str]] = defaultdict(set)
    for frame in frames if nameless else ():
        for key in frame.person if frame.patient else ():
            ids[key].add(frame.patient)
    of_group: dict[str, set[str]] = defaultdict(set)
    for key, group in groups.items():
        of_group[group] |= ids[key]
    return [frame if frame.patient else _named(frame, groups[frame.person[0]], ids, of_group) for frame in frames]


def _named(frame: Frame, group: str, ids: dict[str, set[str]], of_group: dict[str, set[str]]) -> Frame:
    surest = frame.person[0]
    if surest.startswith("study ") and len(ids[surest]) == 1:
        return replace(frame, patient=next(iter(ids[surest])))
    known = of_group[group]
    patient = next(iter(known)) if len(known) == 1 else group.partition(" ")[2]
    return replace(frame, patient=patient, patient_is_guess=True)


def _joined(persons: set[tuple[str, ...]]) -> dict[str, str]:
    """For each key the name of its group, the first of all keys that are joined to it through some image."""
    above: dict[str, str] = {}

    def top(key: str) -> str:
        while above.setdefault(key, key) != key:
            above[key] = key = above[above[key]]
        return key

    for person in sorted(persons):
        for key in person:
            first, second = sorted((top(person[0]), top(key)))
            above[second] = first
    return {key: top(key) for key in list(above)}
