"""The readers of a study: adding, listing, revoking and finishing them, and answers that come by another way."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, select, update

from ...errors import StudyError
from ...wording import count_of
from ..names import clean_name, name_key
from ..study import Answer, Presentation
from . import access, audit
from . import tables as t
from .answering import Said, Showing, check_answers, insert, place_of, standing
from .errors import ConflictError, UnknownError
from .writer import Writing

Source = Literal["invited", "imported", "simulated"]
State = Literal["invited", "reading", "finished", "revoked"]


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader and how far they are, in presentations."""

    id: int
    name: str
    source: Source
    state: State
    answered: int
    total: int
    added_at: str
    finished_at: str | None
    revoked_at: str | None
    last_answer_at: str | None

    @property
    def is_invited(self) -> bool:
        """Whether an invitation is of use to them."""
        return self.source == "invited" and self.state in ("invited", "reading")


def state_of(revoked: str | None, finished: str | None, begun: bool) -> State:
    """How far a reader is; `begun`: there is an answer or a session."""
    return "revoked" if revoked else "finished" if finished else "reading" if begun else "invited"


def list_readers(connection: Connection) -> list[Reader]:
    """All readers, in the order in which they were added."""
    columns = [t.reader.c[name] for name in ("id", "name", "source", "added_at", "finished_at", "revoked_at")]
    counts = func.count(t.answer.c.presentation_id), func.count(t.presentation.c.id), func.max(t.answer.c.answered_at)
    query = (
        select(*columns, *counts)
        .select_from(t.reader.outerjoin(t.presentation).outerjoin(t.answer))
        .group_by(*columns)
        .order_by(t.reader.c.id)
    )
    begun = set(connection.scalars(select(t.web_session.c.reader_id).distinct()))
    found = []
    for number, name, source, added, finished, revoked, answered, total, last in map(tuple, connection.execute(query)):
        state = state_of(revoked, finished, bool(answered) or number in begun)
        found.append(Reader(number, name, source, state, answered, total, added, finished, revoked, last))
    return found


def checked_name(name: str) -> str:
    """A name as it is kept. Raises StudyError if it cannot be a reader's."""
    try:
        return clean_name(name)
    except ValueError as error:
        raise StudyError(str(error)) from None


def add(writing: Writing, name: str, source: Source, order: Sequence[Presentation], *, planned: bool) -> int:
    """Add a reader with their order; each showing gets an opaque id of its own. Returns the reader's number."""
    name = checked_name(name)
    for other in writing.connection.scalars(select(t.reader.c.name)):
        if name_key(other) == name_key(name):
            raise ConflictError(f"There is a reader '{other}' already.")
    _check_source(writing, source)
    values = {"name": name, "added_at": writing.now, "source": source}
    number = writing.connection.execute(t.reader.insert().returning(t.reader.c.id), values).scalar_one()
    shown = [(secrets.token_hex(16), one.position, one.case_id, one.kind) for one in order]
    if shown:
        rows = [dict(zip(audit.SHOWN, row, strict=True), reader_id=number) for row in shown]
        writing.connection.execute(t.presentation.insert(), rows)
    writing.note("reader added", name, number=number, source=source, planned=planned, presentations=shown)
    return number


def _check_source(writing: Writing, source: Source) -> None:
    """Simulated readers and others do not mix, ever; the first simulated one marks the study."""
    simulated = audit.first(writing.connection, "simulated") is not None
    if source != "simulated":
        if simulated:
            mixed = "The readers here are simulated, and that is for good: no others can be added."
            raise ConflictError(f"{mixed} Serve the study with another --database.")
        return
    others = writing.connection.scalars(select(t.reader.c.name).where(t.reader.c.source != "simulated")).all()
    if others:
        mixed = f"This study has readers who are not simulated ({', '.join(others[:3])})"
        raise ConflictError(f"{mixed}: rehearse on a database of its own, --database sqlite:///FILE.")
    if not simulated:
        writing.note("simulated")


def find(connection: Connection, name: str) -> Row[Any]:
    """The row of a reader. Raises UnknownError."""
    rows = connection.execute(select(t.reader))  # all, as PostgreSQL takes no question with a NUL in it
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise UnknownError(f"There is no reader '{name[:80]}'.")
    return found


def new_link(writing: Writing, name: str, days: int) -> str:
    """A new invitation for a reader who has not finished; older ones end. Returns its token."""
    row = find(writing.connection, name)
    if row.finished_at or row.revoked_at or row.source != "invited":
        ended = "has finished, was withdrawn or does not read here: there is nothing to invite to"
        raise ConflictError(f"'{name}' {ended}.")
    return access.invite(writing, row.id, name, days)


def revoke(writing: Writing, name: str) -> None:
    """Withdraw a reader: links and sessions end at once, answers stay. Doing it again changes nothing."""
    number = _mark(writing, name, "revoked_at")
    if number is not None:
        writing.note("reader revoked", name, ended=access.shut_out(writing, number))


def finish(writing: Writing, name: str) -> None:
    """Lock a reader's answers. Raises ConflictError while any is missing; doing it again changes nothing."""
    now = standing(writing.connection, find(writing.connection, name).id)
    if now.current is not None:
        raise ConflictError(f"{count_of(now.total - now.done, 'image is', 'images are')} still to be answered.")
    if _mark(writing, name, "finished_at") is not None:
        writing.note("finished", name, answers=now.total)


def _mark(writing: Writing, name: str, column: str) -> int | None:
    """Set a time that is not set yet. Returns the reader's number; none where nothing changed."""
    row = find(writing.connection, name)
    if row._mapping[column] is not None:
        return None
    writing.connection.execute(update(t.reader).where(t.reader.c.id == row.id).values({column: writing.now}))
    return row.id


def record(writing: Writing, answers: Sequence[Answer]) -> None:
    """Record answers that did not come through a browser. Raises StudyError, and records none, if one cannot be.

    Without a time of its own an answer is of now, but an imported one stays without.
    """
    check_answers(answers)
    known = {row.name: row for row in writing.connection.execute(select(t.reader))}
    for answer in answers:
        if answer.reader not in known:
            raise UnknownError(f"There is no reader '{answer.reader}'.")
        reader = known[answer.reader]
        showing = _open_showing(writing.connection, reader.id, answer)
        marks = tuple((mark.x, mark.y) for mark in answer.marks)
        said = Said(answer.call, answer.confidence, answer.description, marks, answer.seconds)
        at = answer.answered_at or ("" if reader.source == "imported" else writing.now)
        insert(writing, answer.reader, showing, said, at)


def import_readers(writing: Writing, answers: Sequence[Answer], source: Source, planned: Collection[str]) -> None:
    """Add readers who answered elsewhere, what they were shown, and their answers, and lock them."""
    answers = [replace(answer, reader=checked_name(answer.reader)) for answer in answers]
    for name in dict.fromkeys(answer.reader for answer in answers):
        own = sorted((a for a in answers if a.reader == name), key=lambda a: a.position)
        for one, other in pairwise(own):
            if one.position == other.position:
                raise ConflictError(f"{place_of(one)}: is there twice.")
        order = [Presentation(a.position, a.case_id, a.kind) for a in own]
        add(writing, name, source, order, planned=name in planned)
        record(writing, own)
        finish(writing, name)


def _open_showing(connection: Connection, number: int, answer: Answer) -> Showing:
    own = t.presentation.c
    query = select(own.id, own.case_id, own.kind, t.answer.c.call).select_from(t.presentation.outerjoin(t.answer))
    row = connection.execute(query.where(own.reader_id == number, own.position == answer.position)).first()
    where = place_of(answer)
    if row is None:
        raise UnknownError(f"{where}: this reader has no such position.")
    if (row.case_id, row.kind) != (answer.case_id, answer.kind):
        shown = f"but {row.kind} {row.case_id} is shown there"
        raise ConflictError(f"{where}: is of {answer.kind} {answer.case_id}, {shown}.")
    if row.call is not None:
        raise ConflictError(f"{where}: was given before; an answer is final.")
    return Showing(row.id, answer.position, row.case_id, row.kind, None)
