"""What went otherwise than registered, found by comparing the frozen protocol with what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...record import versions
from ...reporting.wording import count_of, listed
from ..design.order import presentations
from ..study import Study
from .exclusions import Participant
from .reads import Read, of_kind, select
from .registered import Registered

ORIGINS: Mapping[str, str] = {
    "invited": "given in the browser to this study's server",
    "imported": "collected elsewhere and imported, from paper forms or another tool",
    "simulated": "drawn by a computer; no person gave them",
}
"""What `source` of a reader means for the answers."""


def list_departures(
    study: Study, reads: Sequence[Read], came: Sequence[Participant], registered: Registered, noted: Sequence[str]
) -> list[str]:
    """Everything that went another way than registered: what the store noted, then what plan and answers show."""
    return [
        *noted,
        *_who_came(study, came),
        *(text for one in came for text in _of_participant(study, one, registered)),
        *_of_answers(study, reads, came),
        *_of_settings(study),
    ]


def origin_of_answers(participants: Sequence[Participant]) -> str:
    """Where the answers come from, in one sentence for each source."""
    parts = []
    for source, words in ORIGINS.items():
        names = [one.reader for one in participants if one.source == source and one.answered]
        if names:
            parts.append(f"The answers of {listed(names)} were {words}.")
    return " ".join(parts)


def frozen_first(study: Study, reads: Sequence[Read], participants: Sequence[Participant]) -> bool | None:
    """Whether all answers were given after the protocol was frozen; None where their time is not known."""
    if any(one.source != "invited" for one in participants if one.answered):
        return None
    times = [read.answer.answered_at for read in reads]
    created = str(study.protocol.get("created", ""))
    if not created or not all(times):
        return None
    return all(time[:19] >= created[:19] for time in times)


def _who_came(study: Study, participants: Sequence[Participant]) -> Iterator[str]:
    planned = study.config.readers
    simulated = [one.reader for one in participants if one.source == "simulated"]
    if simulated:
        yield f"Simulated, not persons: {listed(simulated)}."
    came = [one.reader for one in participants if one.answered]
    if len(came) != len(planned):
        yield f"Planned were {count_of(len(planned), 'reader')}; {len(came)} gave answers."
    more = [name for name in came if name not in planned]
    if not set(came) & set(planned):
        yield (
            f"None of the readers whom the plan names took part: {listed(more)} stand for {listed(planned)} in the "
            "registered test."
        )
    elif more:
        yield f"Not named in the plan, and not in the registered test: {listed(more)}."


def _of_participant(study: Study, one: Participant, registered: Registered) -> Iterator[str]:
    name, total, plan = f"Reader '{one.reader}'", sum(one.planned.values()), study.config.plan
    if not one.answered:
        yield f"{name} gave no answer."
    elif one.missing:
        left = {kind: number - one.answered.get(kind, 0) for kind, number in one.planned.items()}
        kinds = ", ".join(f"{number} {kind}" for kind, number in left.items() if number > 0)
        missing = count_of(one.missing, "was", "were")
        yield f"{name} did not finish: of {total} presentations, {missing} not answered ({kinds})."
    if one.source == "imported" and one.answered:
        yield (
            f"The answers of {name[0].lower() + name[1:]} were {ORIGINS['imported']}: the order and time of them, and "
            "whether the truth was hidden, are not known here."
        )
    if one.excluded:
        yield (
            f"{name} is left out of the main analysis: {one.checks_passed} of "
            f"{count_of(one.answered['check'], 'attention check')} "
            f"passed, fewer than {plan.checks_passed:.0%}."
        )
    elif one.reader in registered.left_out:
        share = f"{plan.answered:.0%}"
        yield f"{name} does not count in the registered test: fewer than {share} of the cases were answered."


def _of_answers(study: Study, reads: Sequence[Read], participants: Sequence[Participant]) -> Iterator[str]:
    if frozen_first(study, reads, participants) is False:
        yield "Some answers were given before the protocol was frozen."
    for one in participants:
        own = select(reads, reader=one.reader)
        if one.source != "imported":
            planned = {shown.position: (shown.case_id, shown.kind) for shown in presentations(study, one.reader)}
            given = [(read.answer.position, (read.answer.case_id, read.answer.kind)) for read in own]
            if other := sum(planned.get(position) != said for position, said in given):
                where = "at another place than in the order that the protocol gives"
                yield f"Reader '{one.reader}': {count_of(other, 'image')} came {where}."
        times = [read.answer.answered_at for read in own if read.answer.answered_at]
        if one.source == "invited" and times != sorted(times):
            yield f"Reader '{one.reader}' did not answer in the order of the showings."
    unsure = sum(read.answer.confidence is None for read in of_kind(reads, "test"))
    if unsure and study.config.plan.primary == "auc":
        n = len(of_kind(reads, "test"))
        has = count_of(unsure, "has", "have")
        yield f"Of {n} answers to test cases, {has} no confidence; the score takes 50 for it."


def _of_settings(study: Study) -> Iterator[str]:
    """Software, and any setting, that is not the one that was frozen."""
    from ..design.protocol import code_hash

    protocol = study.protocol
    then, now = protocol.get("versions") or {}, versions()
    changed = [
        f"{name} {then.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if changed:
        yield f"Versions differ from those of the protocol: {', '.join(changed)}."
    if protocol.get("code") and protocol["code"] != code_hash():
        yield "The code of the reader study and its statistics is not the one whose hash the protocol holds."
    registered, used = protocol.get("config") or {}, study.config.model_dump(mode="json")
    for key, old, new in _different(registered, used):
        yield f"{key} is {new}; registered was {old}."


def _different(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _different(before, value, f"{prefix}{key}.")
        elif key in old and before != value:
            yield f"{prefix}{key}", before, value
