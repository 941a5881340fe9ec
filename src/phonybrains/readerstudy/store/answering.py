"""What a reader has before them, what they typed so far, and their final answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from ...errors import StudyError
from ..study import CALLS, Answer
from . import tables as t
from .access import Visitor
from .errors import ConflictError, EndedError, PausedError, UnknownError
from .writer import Writing

DESCRIPTION_LIMIT, MARKS_LIMIT, SECONDS_LIMIT = 2000, 20, 1e7


@dataclass(frozen=True, slots=True)
class Said:
    """What a reader says of a presentation, final or not yet."""

    call: str | None
    confidence: int | None
    description: str
    marks: tuple[tuple[float, float], ...]
    seconds: float | None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Showing:
    """A presentation as it waits for an answer."""

    id: str
    position: int
    case_id: str
    kind: str
    draft: Said | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a reader is: what is shown now and next (none: nothing is left)."""

    done: int
    total: int
    current: Showing | None
    next: Showing | None


SAID = "call", "confidence", "description", "marks", "seconds"
NOT_NOW = "It is not this image's turn, or it was answered already."
NO_IMAGE = "There is no such image."
_waiting = (
    select(
        *(t.presentation.c[name] for name in ("id", "position", "case_id", "kind")),
        *(t.draft.c[name] for name in (*SAID, "revision")),
    )
    .select_from(t.presentation.outerjoin(t.draft).outerjoin(t.answer))
    .where(t.presentation.c.reader_id == bindparam("reader_id"), t.answer.c.presentation_id.is_(None))
    .order_by(t.presentation.c.position)
    .limit(2)
)
_total = select(func.count()).where(t.presentation.c.reader_id == bindparam("reader_id"))
_given = (
    select(t.presentation.c.case_id, t.presentation.c.kind, *(t.answer.c[name] for name in SAID))
    .select_from(t.presentation.outerjoin(t.answer))
    .where(t.presentation.c.id == bindparam("id"), t.presentation.c.reader_id == bindparam("reader_id"))
)


def waiting(connection: Connection, reader_id: int) -> tuple[Showing | None, Showing | None]:
    """The presentation that is shown now and the one after it, without an answer yet."""
    current, following, *_ = *map(_showing, connection.execute(_waiting, {"reader_id": reader_id})), None, None
    return current, following


def standing(connection: Connection, reader_id: int) -> Standing:
    """How far a reader is; answers come in the order of the positions, so that all before the current one are given."""
    current, following = waiting(connection, reader_id)
    total = connection.execute(_total, {"reader_id": reader_id}).scalar_one()
    return Standing(current.position - 1 if current else total, total, current, following)


def _showing(row: Row[Any]) -> Showing:
    draft = None if row.revision is None else _said(row, row.revision)
    return Showing(row.id, row.position, row.case_id, row.kind, draft)


def _said(row: Row[Any], revision: int = 0) -> Said:
    marks = tuple((x, y) for x, y in json.loads(row.marks))
    return Said(row.call, row.confidence, row.description, marks, row.seconds, revision)


def shown(connection: Connection, who: Visitor, presentation_id: str) -> Showing:
    """The current presentation, or the next one, by its id. Raises UnknownError for any other."""
    check_open(who)
    for showing in waiting(connection, who.reader_id):
        if showing is not None and showing.id == presentation_id:
            return showing
    raise UnknownError(NO_IMAGE)


def check_open(who: Visitor) -> None:
    """Raises EndedError or PausedError unless this reader may go on."""
    if who.finished:
        raise EndedError("You have finished this study; your answers are final.")
    if who.closed:
        raise EndedError("This study is closed.")
    if who.paused:
        raise PausedError("The study is paused. Your answers are kept; please come back later.")


def save_draft(writing: Writing, who: Visitor, presentation_id: str, said: Said) -> None:
    """Keep what a reader has typed so far; an older revision than the kept one changes nothing."""
    current = _current(writing.connection, who, presentation_id)
    if current is None:
        _given_row(writing.connection, who, presentation_id)
        raise ConflictError(NOT_NOW)
    if current.draft is not None and current.draft.revision > said.revision:
        return
    values = _values(said) | {"revision": said.revision, "saved_at": writing.now}
    if current.draft is None:
        writing.insert(t.draft, **values, presentation_id=presentation_id)
    else:
        writing.connection.execute(update(t.draft).where(t.draft.c.presentation_id == presentation_id), values)


def give_answer(writing: Writing, who: Visitor, presentation_id: str, said: Said) -> tuple[str, str]:
    """Record a final answer, once; its case and kind. The same again is no error, another answer is ConflictError."""
    current = _current(writing.connection, who, presentation_id)
    if current is not None:
        insert(writing, who.reader, current, said, writing.now)
        return current.case_id, current.kind
    row = _given_row(writing.connection, who, presentation_id)
    if row.call is None:
        raise ConflictError(NOT_NOW)
    if replace(_said(row), seconds=None) != replace(said, seconds=None, revision=0):
        raise ConflictError("This image was answered already; the first answer stands.")
    return row.case_id, row.kind


def insert(writing: Writing, reader: str, showing: Showing, said: Said, answered_at: str) -> None:
    """Write an answer and its row of the audit log; the draft goes."""
    values = _values(said) | {"answered_at": answered_at}
    writing.insert(t.answer, presentation_id=showing.id, **values)
    if showing.draft is not None:
        writing.connection.execute(delete(t.draft).where(t.draft.c.presentation_id == showing.id))
    writing.note("answer", reader, position=showing.position, case_id=showing.case_id, **values)


def _current(connection: Connection, who: Visitor, presentation_id: str) -> Showing | None:
    """What is shown now, if it is this. Raises unless the reader may go on."""
    check_open(who)
    current, _ = waiting(connection, who.reader_id)
    return current if current is not None and current.id == presentation_id else None


def _given_row(connection: Connection, who: Visitor, presentation_id: str) -> Row[Any]:
    """A presentation and its answer, if there is one. Raises UnknownError if it is none of the reader's."""
    row = connection.execute(_given, {"id": presentation_id, "reader_id": who.reader_id}).first()
    if row is None:
        raise UnknownError(NO_IMAGE)
    return row


def _values(said: Said) -> dict[str, Any]:
    values = asdict(said) | {"marks": json.dumps(said.marks)}
    del values["revision"]
    return values


def check_answers(answers: Iterable[Answer]) -> None:
    """Raises StudyError naming the reader and the position of an answer that cannot be one."""
    for a in answers:
        wrong = ""
        if a.call not in CALLS:
            wrong = f"'{a.call}' is none of {', '.join(CALLS)}."
        elif a.confidence is not None and not 0 <= a.confidence <= 100:
            wrong = f"confidence {a.confidence} is not within 0…100."
        elif len(a.description) > DESCRIPTION_LIMIT or "\0" in a.description:
            wrong = f"the description is longer than {DESCRIPTION_LIMIT} characters, or not text."
        elif len(a.marks) > MARKS_LIMIT or not all(0 <= v <= 1 for mark in a.marks for v in (mark.x, mark.y)):
            wrong = f"more than {MARKS_LIMIT} marks, or one outside the image."
        elif a.seconds is not None and not 0 <= a.seconds <= SECONDS_LIMIT:
            wrong = f"{a.seconds} seconds cannot be."
        if wrong:
            raise StudyError(f"{place_of(a)}: {wrong}")


def place_of(answer: Answer) -> str:
    """What an answer is called in messages."""
    return f"answer of {answer.reader}, position {answer.position}"
