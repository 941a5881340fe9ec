"""The weakest last steps for both arms that close what tells them apart, found by trying a fixed ladder of them.

Trying cannot refuse an innocent study more often, as each rung is one more chance to pass. It could let a trace pass by
luck, so a rung that was searched for counts only where nothing is below ten times the gate's level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import StudyError
from ..config import StudyConfig
from .encode import EncodedCase
from .leakage import LEVEL, LeakError, check_leakage, compare_encoding, traces
from .leakage_comparison import FeatureComparison

LADDER: tuple[tuple[str, ...], ...] = (
    ("floor:8",),
    ("floor:16",),
    ("ceiling:240",),
    ("frame:8",),
    ("floor:16", "ceiling:240"),
    ("frame:8", "floor:16"),
    ("frame:8", "floor:16", "ceiling:240"),
    ("frame:8", "floor:24", "ceiling:224"),
    ("blur:0.5",),
    ("jpeg:75",),
    ("resize:200",),
    ("blur:0.5", "frame:8", "floor:24", "ceiling:224"),
)
"""From what changes least of what readers see to what changes most; numbers of 255 and of pixels."""
CLEAR = 10 * LEVEL

Encoder = Callable[[tuple[str, ...]], tuple[list[EncodedCase], list[str]]]
"""The cases after these last steps, and warnings."""


def encode_unleaked(
    encoder: Encoder, config: StudyConfig
) -> tuple[StudyConfig, list[EncodedCase], list[str], dict[str, Any]]:
    """The cases after the steps that were asked for, or else after the weakest that close all traces.

    Returns the configuration with these steps, the cases, warnings, and what the gate found, with every rung tried.
    Raises StudyError naming the trace and, where the ladder has one, the steps that close it.
    """
    if config.same_history is not None:
        cases, warnings = encoder(config.same_history)
        return config, cases, warnings, check_leakage(cases, config, lambda: _proposal(encoder, config))
    plain = config.model_copy(update={"same_history": ()})
    cases, warnings = encoder(())
    tried: list[dict[str, Any]] = []
    try:
        return plain, cases, warnings, check_leakage(cases, plain) | {"tried": tried}
    except LeakError as error:
        refusal, first = error, error.first
    tried.append(_rung((), first))
    for history in LADDER:
        cases, warnings = encoder(history)
        closed = config.model_copy(update={"same_history": history})
        tried.append(_try(cases, closed))
        if tried[-1]["p"] > CLEAR:
            said = (
                f"As they were, '{first.feature}' told phony {first.modality} images from real ones (AUC "
                f"{first.auc:.2f}). Images of both sides therefore go through {', '.join(history)}: the weakest of "
                f"{len(LADDER)} steps that closes it. --same-history sets other steps."
            )
            return closed, cases, [*warnings, said], check_leakage(cases, closed) | {"tried": tried}
    raise StudyError(f"{refusal} No last step closes it; tried: {'; '.join(map(' '.join, LADDER))}.")


def _rung(history: Sequence[str], nearest: FeatureComparison | None) -> dict[str, Any]:
    feature = f"{nearest.modality} {nearest.feature}" if nearest else ""
    return {"same_history": list(history), "p": nearest.p if nearest else 1.0, "feature": feature}


def _try(cases: Sequence[EncodedCase], config: StudyConfig) -> dict[str, Any]:
    """What comes nearest to telling them apart, one modality after the other until one does."""
    history = config.same_history or ()
    every: list[FeatureComparison] = []
    for modality in sorted({encoded.case.modality for encoded in cases}):
        found = compare_encoding([e for e in cases if e.case.modality == modality], config)
        if failed := traces(found, history, CLEAR):
            return _rung(history, failed[0])
        every = [*found, *every]
    return _rung(history, min(every, key=lambda c: c.p, default=None))


def _proposal(encoder: Encoder, config: StudyConfig) -> str:
    """What to do about a trace that the steps asked for leave open."""
    for history in LADDER:
        closed = config.model_copy(update={"same_history": history})
        if _try(encoder(history)[0], closed)["p"] > CLEAR:
            return f"Try --same-history {' '.join(history)}, or import both sets the same way."
    return "No step of the ladder closes it: import both sets the same way."
