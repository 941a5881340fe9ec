"""Scores as tables: in the report, as CSV, and as plain entries for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...reporting.blocks import Block, Bullets, Heading, Table
from ...reporting.tables import write_table
from ...reporting.wording import NONE, as_p
from ..config import Part
from ..score import Findings, Score
from .names import MEANINGS, images_of, judged, label_of, made_with, meaning_of, null_words, with_interval

COLUMNS = ("part", "name", "modality", "group", "value", "low", "high", "n", "null_value", "null_low", "null_high",
           "null_draws", "judged", "p", "versus", "extractor", "note")  # fmt: skip
MOST_ROWS = 60


def scores_of(found: Mapping[Part, Findings]) -> list[dict[str, Any]]:
    """All scores as plain entries, each with its part."""
    return [{"part": part, **score.to_json()} for part, findings in found.items() for score in findings.scores]


def write_scores(path: Path, found: Mapping[Part, Findings]) -> None:
    """Write scores.csv: a row for each score, the null's fields beside it."""
    rows = []
    for part, findings in found.items():
        for score in findings.scores:
            entry = {"part": part, "judged": judged(score), **score.to_json()}
            null = entry.pop("null") or {}
            rows.append(entry | {f"null_{name}": null.get(name) for name in ("value", "low", "high", "draws")})
    write_table(path, rows, COLUMNS)


def score_tables(findings: Findings, leave_out: Sequence[str] = ()) -> list[Block]:
    """The part's scores: over all images of a modality, then by attribute, then what could not be measured."""
    shown = [score for score in findings.scores if score.name not in leave_out]
    measured = [score for score in shown if score.value is not None]
    pooled = [score for score in measured if not score.group]
    grouped = [score for score in measured if score.group]
    blocks: list[Block] = []
    if pooled:
        blocks.append(score_table(pooled, _caption(pooled)))
    if grouped:
        beyond = len(grouped) - MOST_ROWS
        more = f"The first {MOST_ROWS}; {beyond} more are in scores.csv." if beyond > 0 else ""
        blocks += [Heading("By attribute", 3), score_table(grouped[:MOST_ROWS], more)]
    missing = [score for score in shown if score.value is None]
    if missing:
        blocks += [Heading("Not available", 3), Bullets(tuple(dict.fromkeys(map(_missing, missing))))]
    return blocks


def score_table(scores: Sequence[Score], caption: str) -> Table:
    """One row for each score; columns that would be empty are left out."""
    rows = [(label_of(s.name), images_of(s), with_interval(s.value, s.low, s.high), str(s.n or NONE),
             null_words(s.null), judged(s), as_p(s.p), _made_with(s)) for s in scores]  # fmt: skip
    columns = ("Score", "images", "value (95 % interval)", "n", "real against real", "judged", "p",
               "features; against")  # fmt: skip
    widths = (1.6, 1.1, 1.8, 0.5, 1.9, 0.75, 0.65, 1.7)
    kept = [i for i in range(len(columns)) if i in (0, 2) or any(row[i] not in ("", NONE) for row in rows)]
    return Table(tuple(columns[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows), caption,
                 tuple(widths[i] for i in kept), tuple(k for k, i in enumerate(kept) if i in (0, 1, 5, 7)))  # fmt: skip


def _made_with(score: Score) -> str:
    return "; ".join(part for part in (made_with(score), score.versus, score.note) if part)


def _caption(scores: Sequence[Score]) -> str:
    names = dict.fromkeys(score.name for score in scores if score.name in MEANINGS)
    explained = "; ".join(f"{label_of(name)}: {meaning_of(name)}" for name in names)
    beside = ("Beside each score, what real images score against real ones at the same n: median and the range of 95 "
              "of 100 draws." if any(score.null for score in scores) else "")  # fmt: skip
    features = "; ".join(dict.fromkeys(score.extractor for score in scores if score.extractor))
    said = (beside, explained and f"{explained}.", features and f"Features: {features}.")
    return " ".join(part for part in said if part)


def _missing(score: Score) -> str:
    where = images_of(score) if score.modality or score.group else ""
    return f"{label_of(score.name)}{f' ({where})' if where else ''}: {score.note or 'no reason given'}."
