"""Who may come in: invitations and browser sessions, of which the database holds hashes only.

A token is 256 random bits. A row without a reader is the investigator's. A session ends after a time without use and
after a time in all, those of OWASP ASVS 4.0, 3.3.2 (level 2).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, select, update

from . import tables as t
from .clock import later
from .errors import EndedError, NoSessionError, UnknownError
from .writer import Writing

SESSION_DAYS = 0.5
IDLE_MINUTES = 30
SEEN_EVERY = 60  # seconds
MOST_SESSIONS = {False: 1, True: 3}
"""Open at once: a reader's, and the investigator's."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose browser it is, and how things stand; the investigator has number 0, and no name."""

    reader_id: int
    reader: str
    finished: bool
    paused: bool
    closed: bool
    session_id: int
    seen_at: str


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def invite(writing: Writing, reader_id: int | None, reader: str | None, days: int) -> str:
    """Make an invitation; the older ones of the same reader, or of the investigator, end. Returns its token."""
    _revoke_invitations(writing, reader_id)
    token = secrets.token_urlsafe(32)
    own = {"token_sha256": digest(token), "reader_id": reader_id, "expires_at": later(writing.now, days=days)}
    writing.insert(t.invitation, **own, made_at=writing.now)
    writing.note("link made", reader, days=days, token=own["token_sha256"])
    return token


def _of_token(table: Table, names: Sequence[str]) -> Select:
    """The row of an invitation or a session by its token, with its reader, if it has one, and the study."""
    others = t.reader.c.name, t.reader.c.finished_at, t.study.c.paused, t.study.c.closed_at
    return (
        select(*(table.c[name] for name in names), t.reader.c.revoked_at.label("withdrawn_at"), *others)
        .select_from(table.join(t.study, t.study.c.id == 1).outerjoin(t.reader))
        .where(table.c.token_sha256 == bindparam("token"))
    )


_invitation = _of_token(t.invitation, ("reader_id", "expires_at", "revoked_at"))
_session = _of_token(t.web_session, ("id", "reader_id", "expires_at", "ended_at", "seen_at"))


def check_invitation(
    connection: Connection, token: str, now: str, *, investigator: bool
) -> tuple[int | None, str | None]:
    """Number and name of the reader an invitation is for (none: the investigator).

    Raises UnknownError if there is no such invitation, EndedError if it is of no use any more.
    """
    row = connection.execute(_invitation, {"token": digest(token)}).first()
    if row is None or (row.reader_id is None) != investigator:
        raise UnknownError("This link leads nowhere. Please check that it was copied as a whole.")
    if row.revoked_at is not None:
        raise EndedError("This link is not valid any more: it was withdrawn, or a newer one was made.")
    if row.finished_at is not None:
        raise EndedError("You have finished this study. Thank you.")
    if row.closed_at is not None and not investigator:
        raise EndedError("This study is closed.")
    if row.expires_at <= now:
        raise EndedError("This link has expired. Please ask the person who invited you for a new one.")
    return row.reader_id, row.name


def redeem(writing: Writing, token: str, *, investigator: bool, device: str = "unknown", before: str = "") -> str:
    """Begin a session, and end the oldest that are too many; the invitation stays. Returns the session's token.

    before: the token this browser had until now; it ends too.
    """
    reader_id, reader = check_invitation(writing.connection, token, writing.now, investigator=investigator)
    mine, number = t.web_session.c.reader_id == reader_id, t.web_session.c.id
    newest = select(number).where(mine, t.web_session.c.ended_at.is_(None)).order_by(number.desc())
    kept = writing.connection.scalars(newest.limit(MOST_SESSIONS[investigator] - 1)).all()
    ended = _end(writing, t.web_session.c.token_sha256 == digest(before)) + _end(writing, mine, number.not_in(kept))
    session = secrets.token_urlsafe(32)
    hashed, told = digest(session), {"expires_at": later(writing.now, days=SESSION_DAYS), "device": device}
    own = {"token_sha256": hashed, "reader_id": reader_id, "begun_at": writing.now, "seen_at": writing.now}
    writing.insert(t.web_session, **own, **told)
    writing.note("session begun", reader, investigator=investigator, token=hashed, ended=ended, **told)
    return session


def end_session(writing: Writing, session_id: int) -> None:
    """End one session, as its owner or the investigator asks. Doing it again changes nothing."""
    mine = t.web_session.c.id == session_id
    names = select(t.reader.c.name).select_from(t.web_session.outerjoin(t.reader)).where(mine)
    if ended := _end(writing, mine):
        writing.note("session ended", writing.connection.execute(names).scalar(), ended=ended)


def touch(writing: Writing, session_id: int) -> None:
    """A session was used."""
    mine = update(t.web_session).where(t.web_session.c.id == session_id)
    writing.connection.execute(mine.values(seen_at=writing.now))


def sessions(connection: Connection, now: str) -> Sequence[Row[Any, Any, Any, Any, Any]]:
    """The sessions that are open, the latest used first: of which reader (none: the investigator), since when, on what.

    Rows of id, reader, begun_at, seen_at, device.
    """
    own = t.web_session.c
    query = (
        select(own.id, t.reader.c.name.label("reader"), own.begun_at, own.seen_at, own.device)
        .select_from(t.web_session.outerjoin(t.reader))
        .where(own.ended_at.is_(None), own.expires_at > now, own.seen_at > later(now, minutes=-IDLE_MINUTES))
        .order_by(own.seen_at.desc(), own.id)
    )
    return connection.execute(query).all()


def visitor(connection: Connection, session: str, now: str, *, investigator: bool) -> Visitor:
    """Whose session this is. Raises NoSessionError where it is none, EndedError for a revoked reader."""
    row = connection.execute(_session, {"token": digest(session)}).first()
    if row is None or (row.reader_id is None) != investigator:
        raise NoSessionError("This page needs your personal link: open it again.")
    if row.withdrawn_at is not None:
        raise EndedError("Your invitation was withdrawn. Please ask the person who invited you.")
    if row.ended_at is not None:
        raise NoSessionError("You logged out here, or the study is open on another device. Open your link again.")
    if row.expires_at <= now:
        raise NoSessionError("This browser was signed in too long ago: open your personal link again.")
    if row.seen_at <= later(now, minutes=-IDLE_MINUTES):
        raise NoSessionError(f"Nothing was done here for {IDLE_MINUTES} minutes: open your personal link again.")
    how = {"finished": bool(row.finished_at), "paused": bool(row.paused), "closed": bool(row.closed_at)}
    return Visitor(row.reader_id or 0, row.name or "", session_id=row.id, seen_at=row.seen_at, **how)


def shut_out(writing: Writing, reader_id: int) -> list[str]:
    """End a reader's invitations and sessions. Returns the hashes of the latter."""
    _revoke_invitations(writing, reader_id)
    return _end(writing, t.web_session.c.reader_id == reader_id)


def _revoke_invitations(writing: Writing, reader_id: int | None) -> None:
    mine = t.invitation.c.reader_id == reader_id, t.invitation.c.revoked_at.is_(None)
    writing.connection.execute(update(t.invitation).where(*mine).values(revoked_at=writing.now))


def _end(writing: Writing, *which: ColumnElement[bool]) -> list[str]:
    """End those of some sessions that are open. Returns their hashes, for the event that ends them."""
    ended = update(t.web_session).where(*which, t.web_session.c.ended_at.is_(None)).values(ended_at=writing.now)
    return list(writing.connection.scalars(ended.returning(t.web_session.c.token_sha256)))
