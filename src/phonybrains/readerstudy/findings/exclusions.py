"""How the study went: who was shown what, who answered, and who passed the checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...statistics.proportions import clopper_pearson
from ..study import Study
from .performance import EXACT
from .reads import Finding, Read, as_finding, of_kind, readers_of, select


@dataclass(frozen=True, slots=True)
class Participant:
    """One reader's part in the study: presentations planned and answered by kind, checks passed, left out or not."""

    reader: str
    source: str
    state: str
    planned: Mapping[str, int]
    answered: Mapping[str, int]
    checks_passed: int
    excluded: bool

    @property
    def missing(self) -> int:
        """Presentations planned and not answered."""
        return sum(max(0, number - self.answered.get(kind, 0)) for kind, number in self.planned.items())


def participants_of(
    study: Study,
    reads: Sequence[Read],
    planned: Mapping[str, Mapping[str, int]],
    sources: Mapping[str, str],
    states: Mapping[str, str],
) -> list[Participant]:
    """Each reader's part; a reader who failed too many checks is left out, as the plan says."""
    participants = []
    for reader in sorted({*planned, *readers_of(reads)}):
        own = select(reads, reader=reader)
        checks = of_kind(own, "check")
        passed = sum(read.call != "real" for read in checks)  # shuffled tiles
        participants.append(
            Participant(
                reader,
                source=sources.get(reader, "invited"),
                state=states.get(reader, ""),
                planned=planned.get(reader, {}),
                answered=Counter(str(read.answer.kind) for read in own),
                checks_passed=passed,
                excluded=bool(checks) and passed / len(checks) < study.config.plan.checks_passed,
            )
        )
    return participants


def measure_checks(participants: Sequence[Participant], level: float) -> list[Finding]:
    """The share of attention checks each reader passed."""
    found = []
    for one in participants:
        n = one.answered.get("check", 0)
        if n:
            estimate = clopper_pearson(one.checks_passed, n, level)
            note = "left out of the main analysis" if one.excluded else ""
            found.append(as_finding("attention checks passed", estimate, EXACT, reader=one.reader, note=note))
    return found
