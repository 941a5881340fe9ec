"""Who may come in: invitations and browser sessions, of which the database holds hashes only.

A token is 256 random bits. A row without a reader is the investigator's.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from . import tables as t
from .clock import later
from .errors import EndedError, NoSessionError, UnknownError
from .writer import Writing

READER_SESSION_DAYS, INVESTIGATOR_SESSION_DAYS = 14, 1


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose browser it is, and how things stand; no reader: the investigator."""

    reader_id: int | None
    reader: str | None
    finished: bool
    paused: bool
    closed: bool


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def invite(writing: Writing, reader_id: int | None, reader: str | None, days: int) -> str:
    """Make an invitation; the older ones of the same reader, or of the investigator, end. Returns its token."""
    _revoke_invitations(writing, reader_id)
    token = secrets.token_urlsafe(32)
    values = {
        "token_sha256": digest(token),
        "reader_id": reader_id,
        "made_at": writing.now,
        "expires_at": later(writing.now, days=days),
    }
    writing.connection.execute(t.invitation.insert(), values)
    writing.note("link made", reader, days=days, token=values["token_sha256"])
    return token


def check_invitation(connection: Connection, token: str, now: str, *, investigator: bool) -> str | None:
    """The reader an invitation is for (none: the investigator).

    Raises UnknownError if there is no such invitation, EndedError if it is of no use any more.
    """
    return _invitation(connection, token, now, investigator)[1]


def redeem(writing: Writing, token: str, *, investigator: bool) -> str:
    """Begin a session, and end the reader's older ones; the invitation stays. Returns the session's token."""
    reader_id, reader = _invitation(writing.connection, token, writing.now, investigator)
    ended = [] if investigator else end_sessions(writing, reader_id)
    session = secrets.token_urlsafe(32)
    days = INVESTIGATOR_SESSION_DAYS if investigator else READER_SESSION_DAYS
    values = {
        "token_sha256": digest(session),
        "reader_id": reader_id,
        "begun_at": writing.now,
        "expires_at": later(writing.now, days=days),
    }
    writing.connection.execute(t.web_session.insert(), values)
    told = {"token": values["token_sha256"], "expires_at": values["expires_at"], "ended": ended}
    writing.note("session begun", reader, investigator=investigator, **told)
    return session


def end_sessions(writing: Writing, reader_id: int | None) -> list[str]:
    """End a reader's sessions. Returns their hashes, for the event that ends them: the log has to tell it."""
    ended = update(t.web_session).where(t.web_session.c.reader_id == reader_id, t.web_session.c.ended_at.is_(None))
    return list(writing.connection.scalars(ended.values(ended_at=writing.now).returning(t.web_session.c.token_sha256)))


_session = (
    select(
        t.web_session.c.reader_id,
        t.web_session.c.expires_at,
        t.web_session.c.ended_at,
        t.reader.c.name,
        t.reader.c.finished_at,
        t.reader.c.revoked_at,
        t.study.c.paused,
        t.study.c.closed_at,
    )
    .select_from(t.web_session.join(t.study, t.study.c.id == 1).outerjoin(t.reader))
    .where(t.web_session.c.token_sha256 == bindparam("token"))
)


def visitor(connection: Connection, session: str | None, now: str, *, investigator: bool) -> Visitor:
    """Whose session this is. Raises NoSessionError where it is none, EndedError for a revoked reader."""
    row = connection.execute(_session, {"token": digest(session or "")}).first()
    if row is None or (row.reader_id is None) != investigator:
        raise NoSessionError("This page needs your personal link: open it again.")
    if row.revoked_at is not None:
        raise EndedError("Your invitation was withdrawn. Please ask the person who invited you.")
    if row.ended_at is not None:
        raise NoSessionError("This study is open on another device now. To go on here, open your link again.")
    if row.expires_at <= now:
        raise NoSessionError("This browser was signed in too long ago: open your personal link again.")
    return Visitor(row.reader_id, row.name, row.finished_at is not None, bool(row.paused), row.closed_at is not None)


def _invitation(connection: Connection, token: str, now: str, investigator: bool) -> tuple[int | None, str | None]:
    columns = (
        t.invitation.c.reader_id,
        t.invitation.c.expires_at,
        t.invitation.c.revoked_at,
        t.reader.c.name,
        t.reader.c.finished_at,
        t.study.c.closed_at,
    )
    source = t.invitation.join(t.study, t.study.c.id == 1).outerjoin(t.reader)
    row = connection.execute(
        select(*columns).select_from(source).where(t.invitation.c.token_sha256 == digest(token))
    ).first()
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


def _revoke_invitations(writing: Writing, reader_id: int | None) -> None:
    column = t.invitation.c.reader_id
    mine = column.is_(None) if reader_id is None else column == reader_id
    open_ones = update(t.invitation).where(mine, t.invitation.c.revoked_at.is_(None))
    writing.connection.execute(open_ones.values(revoked_at=writing.now))


def shut_out(writing: Writing, reader_id: int) -> list[str]:
    """End a reader's invitations and sessions. Returns the hashes of the latter."""
    _revoke_invitations(writing, reader_id)
    return end_sessions(writing, reader_id)
