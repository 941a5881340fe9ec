"""Scores as tables: in the report, as CSV, and as plain entries for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...reporting.blocks import Block, Bullets, Heading, Table, columns_kept
from ...reporting.tables import finite, write_table
from ...reporting.wording import NONE, as_p
from ...wording import count_of
from ..config import Part
from ..findings import Findings, Pair
from ..measures import measure_of
from ..outcomes import margin_of, outcome_of
from ..score import Score
from .names import figure, images_of, made_with, null_words, with_interval

WHICH = ("part", "name", "modality", "group")
NULL = ("null_value", "null_low", "null_high", "null_draws")
COLUMNS = (*WHICH, "value", "low", "high", "n", *NULL, "margin", "judged", "p", "versus", "extractor", "note")
PAIR = ("modality", "synthetic", "training", "patient", "similarity", "threshold", "flagged", "same_file", "edit")
PAIR_COLUMNS = (*PAIR, "correlation", "panel", "judgement")
"""`judgement` is empty: for the person who looks."""
SHOWN = {
    "Score": 1.6,
    "images": 1.0,
    "value (95 % interval)": 1.8,
    "n": 0.5,
    "real against real": 1.8,
    "margin": 0.7,
    "judged": 0.8,
    "p": 0.75,
    "features; against": 1.5,
}
"""The columns of a table of scores, with their widths."""
MOST_ROWS, MOST_MISSING = 40, 15
BESIDE = (
    "Beside each score, what real images score against real ones at the same n: median and the range of 95 of "
    "100 draws."
)


def scores_of(found: Mapping[Part, Findings]) -> list[dict[str, Any]]:
    """All scores as plain entries, each with its part."""
    return [
        {"part": part, **score.to_json(), **finite({"margin": margin_of(score), "judged": outcome_of(score)})}
        for part, findings in found.items()
        for score in findings.scores
    ]


def write_scores(path: Path, found: Mapping[Part, Findings]) -> None:
    """Write scores.csv: a row for each score, the null's fields beside it."""
    rows = []
    for entry in scores_of(found):
        null = entry.pop("null") or {}
        rows.append(entry | {f"null_{name}": null.get(name) for name in ("value", "low", "high", "draws")})
    write_table(path, rows, COLUMNS)


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Write pairs.csv: every flagged image and the most suspicious of the others, with its nearest training image."""
    write_table(path, [{"judgement": "", **asdict(pair)} for pair in pairs], PAIR_COLUMNS)


def score_tables(findings: Findings, leave_out: Sequence[str] = ()) -> list[Block]:
    """The part's scores: over all images of a modality, then by attribute, then what could not be measured."""
    shown = [score for score in findings.scores if score.name not in leave_out]
    measured = [score for score in shown if score.value is not None]
    pooled = [score for score in measured if not score.group]
    grouped = [score for score in measured if score.group]
    blocks: list[Block] = []
    if pooled:
        blocks += [Heading("All scores", 3), score_table(pooled, BESIDE if any(score.null for score in pooled) else "")]
    if grouped:
        beyond = len(grouped) - MOST_ROWS
        more = f"The first {MOST_ROWS}; {count_of(beyond, 'more is', 'more are')} in scores.csv." if beyond > 0 else ""
        blocks += [Heading("By attribute", 3), score_table(grouped[:MOST_ROWS], more)]
    if measured:
        blocks.append(Bullets(tuple(_explained(pooled + grouped[:MOST_ROWS]))))
    missing = list(dict.fromkeys(_missing(score) for score in shown if score.value is None))
    if missing:
        beyond = len(missing) - MOST_MISSING
        more = (f"{count_of(beyond, 'more is', 'more are')} in scores.csv.",) if beyond > 0 else ()
        blocks += [Heading("Not available", 3), Bullets((*missing[:MOST_MISSING], *more))]
    return blocks


def score_table(scores: Sequence[Score], caption: str) -> Table:
    """One row for each score; columns that would be empty are left out, and so are notes that `_explained` gives."""
    own = _notes_of_rows(scores)
    rows = []
    for s in scores:
        measured = (with_interval(s.value, s.low, s.high), str(s.n or NONE), null_words(s.null))
        margin, note = margin_of(s) if outcome_of(s) else None, s.note if s.name in own else ""
        judged = (NONE if margin is None else f"±{figure(margin)}", outcome_of(s), as_p(s.p))
        rest = "; ".join(filter(None, (made_with(s), s.versus, note)))
        rows.append((measure_of(s.name).title, images_of(s), *measured, *judged, rest))
    table = Table(tuple(SHOWN), tuple(rows), caption, tuple(SHOWN.values()), (0, 1, 6, 8))
    return columns_kept(
        table, [i for i in range(len(SHOWN)) if i in (0, 2) or any(row[i] not in ("", NONE) for row in rows)]
    )


def _notes_of_rows(scores: Sequence[Score]) -> set[str]:
    """The names of scores whose notes differ from row to row, and so stand there."""
    notes = Counter(name for name, _ in {(score.name, score.note) for score in scores})
    return {name for name, count in notes.items() if count > 1}


def _explained(scores: Sequence[Score]) -> Iterator[str]:
    """What each score means, with the note that all its rows share; and the hashes of the features."""
    own = _notes_of_rows(scores)
    for score in {score.name: score for score in scores}.values():
        said = "; ".join(filter(None, (measure_of(score.name).meaning, "" if score.name in own else score.note)))
        if said:
            yield f"{measure_of(score.name).title}: {said}."
    features = "; ".join(dict.fromkeys(score.extractor for score in scores if score.extractor))
    if features:
        yield f"Features: {features}."


def _missing(score: Score) -> str:
    where = "; ".join(filter(None, (images_of(score) if score.modality or score.group else "", made_with(score))))
    return f"{measure_of(score.name).title}{f' ({where})' if where else ''}: {score.note or 'no reason given'}."
