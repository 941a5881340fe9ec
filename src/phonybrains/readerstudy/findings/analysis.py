"""All that the answers of one study show, worked out once for the report, the tables and the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import StudyError
from ..design.order import presentations
from ..study import Answer, Study
from .agreement import measure_agreement, measure_repeats
from .bias import ConfidenceBin, calibrate, measure_bias, measure_confidence
from .departures import frozen_first, list_departures, origin_of_answers
from .exclusions import Participant, measure_checks, participants_of
from .figures import CaseAnswers, Heat, gather_cases, map_marks
from .over_time import Window, follow_course, measure_times, measure_trend
from .performance import count_calls, measure_called_real, measure_performance
from .reader_population import correct_together, measure_each, measure_in_general
from .reads import Finding, Read, join, of_kind, patient_of, readers_of, with_controls
from .registered import Registered, register
from .roc import Curve, compare_arms, measure_auc, trace_curves


@dataclass(frozen=True)
class Analysis:
    """The registered result, and `findings` beside it, which are exploratory, and what they came from.

    `main` are the first answers to test cases by readers who are kept.
    """

    study: Study
    reads: tuple[Read, ...]
    main: tuple[Read, ...]
    participants: tuple[Participant, ...]
    findings: tuple[Finding, ...]
    registered: Registered
    curves: tuple[Curve, ...]
    cases: tuple[CaseAnswers, ...]
    maps: tuple[Heat, ...]
    windows: Mapping[str, Sequence[Window]]
    bins: Mapping[str, Sequence[ConfidenceBin]]
    departures: tuple[str, ...]
    nobody_kept: bool
    """Every reader failed the attention checks, so that all were kept."""

    @property
    def readers(self) -> list[str]:
        return readers_of(self.main)

    @property
    def controls(self) -> bool:
        return with_controls(self.main)

    @property
    def simulated(self) -> bool:
        return any(one.source == "simulated" for one in self.participants)

    @property
    def origin(self) -> str:
        """Where the answers come from."""
        return origin_of_answers(self.participants)

    @property
    def frozen_first(self) -> bool | None:
        """Whether the protocol was frozen before all answers; None where it is not known."""
        return frozen_first(self.study, self.reads, self.participants)

    @property
    def patients(self) -> int:
        """How many patients the real images that were answered are of."""
        return len({patient_of(read.case) for read in self.main if not read.phony})

    def all_of(self, quantity: str) -> list[Finding]:
        """The findings of one quantity."""
        return [finding for finding in self.findings if finding.quantity == quantity]


def analyse_answers(
    study: Study,
    answers: Sequence[Answer],
    *,
    sources: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
    noted: Sequence[str] = (),
) -> Analysis:
    """Work out everything. `sources` and `states` of the readers, and what was noted, come from the store.

    Raises StudyError if no test case was answered.
    """
    sources, plan = sources or {}, study.config.plan
    reads = join(study, answers)
    if not of_kind(reads, "test"):
        raise StudyError(f"{study.folder}: no test case has been answered yet, so there is nothing to analyse.")
    planned = {name: plan_of(study, name, source) for name, source in sources.items()}
    participants = participants_of(study, reads, planned, sources, states or {})
    excluded = {one.reader for one in participants if one.excluded}
    nobody_kept = excluded >= set(readers_of(of_kind(reads, "test")))
    kept = [read for read in reads if nobody_kept or read.reader not in excluded]
    main, again = of_kind(kept, "test"), of_kind(kept, "repeat")
    course = [read for read in kept if read.answer.kind in ("test", "repeat")]
    registered = register(study, of_kind(reads, "test"), sorted(excluded))
    found = correct_together([*_measure(main, again, course, study), *measure_checks(participants, plan.level)])
    return Analysis(
        study,
        tuple(reads),
        tuple(main),
        tuple(participants),
        findings=tuple(found),
        registered=registered,
        curves=tuple(trace_curves(main, plan.level)) if with_controls(main) else (),
        cases=tuple(gather_cases(main)),
        maps=tuple(map_marks(study, main)),
        windows={reader: follow_course(course, reader, plan.unclear) for reader in readers_of(course)},
        bins={reader: found for reader in readers_of(main) if (found := calibrate(main, reader, plan.level))},
        departures=tuple(list_departures(study, reads, participants, registered, noted)),
        nobody_kept=nobody_kept,
    )


def plan_of(study: Study, reader: str, source: str) -> Mapping[str, int]:
    """How many presentations of each kind this reader was to see; of an imported one the test cases are known."""
    if source == "imported":
        return {"test": len(study.of_role("test"))}
    return Counter(str(one.kind) for one in presentations(study, reader))


def _measure(main: Sequence[Read], again: Sequence[Read], course: Sequence[Read], study: Study) -> list[Finding]:
    plan, seed = study.config.plan, int(study.hash[:8], 16)
    level, unclear = plan.level, plan.unclear
    found = [*count_calls(main), *measure_called_real(main, level)]
    found += [*measure_in_general(main, plan), *measure_each(main, plan, seed)]
    if with_controls(main):
        found += [*measure_performance(main, level), *measure_auc(main, level), *measure_bias(main, unclear, level)]
        found += measure_confidence(main, level)
    found += compare_arms(main, unclear, level)
    found += [*measure_agreement(main, level), *measure_repeats(main, again, level)]
    found += [*measure_trend(course, unclear, level), *measure_times(course)]
    return found
