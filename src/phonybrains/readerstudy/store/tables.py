"""The tables of a study's database, as the newest migration leaves them.

Times are UTC in ISO 8601 with milliseconds, as text: they sort, and they hash alike in SQLite and PostgreSQL.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "ix": "%(table_name)s_%(column_0_name)s_ix",
    }
)
Time, Digest = String(32), String(64)
Name = String(40).with_variant(String(80), "postgresql")  # SQLite holds text of any length


def _table(name: str, *columns: Column) -> Table:
    """A table whose rows have a number."""
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns)


def _secrets(name: str, since: str, until: str, *more: Column) -> Table:
    """A table of tokens, as hashes."""
    return _table(
        name,
        Column("token_sha256", Digest, nullable=False, unique=True),
        Column("reader_id", ForeignKey("reader.id"), index=True),  # none: the investigator's
        Column(since, Time, nullable=False),
        Column("expires_at", Time, nullable=False),
        Column(until, Time),
        *more,
    )


study = _table(  # one row, number 1; PostgreSQL locks it for every change
    "study",
    Column("protocol_hash", Digest, nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("closed_at", Time),
)
reader = _table(
    "reader",
    Column("name", Name, nullable=False, unique=True),
    Column("added_at", Time, nullable=False),
    Column("finished_at", Time),
    Column("revoked_at", Time),
    Column("source", String(16), nullable=False, server_default="invited"),
)
invitation = _secrets("invitation", "made_at", "revoked_at")
web_session = _secrets(
    "web_session",
    "begun_at",
    "ended_at",
    Column("seen_at", Time, nullable=False, server_default=""),
    Column("device", String(40), nullable=False, server_default="unknown"),
)
presentation = Table(
    "presentation",
    metadata,
    Column("id", String(32), primary_key=True),  # random: two showings of one case have nothing in common
    Column("reader_id", ForeignKey("reader.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("case_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    UniqueConstraint("reader_id", "position"),
)


def _said(call_needed: bool) -> list[Column]:
    return [
        Column("presentation_id", ForeignKey("presentation.id"), primary_key=True),
        Column("call", String(8), nullable=not call_needed),
        Column("confidence", Integer),
        Column("description", Text, nullable=False),
        Column("marks", Text, nullable=False),  # JSON: [[x, y], …]
        Column("seconds", Float),
    ]


draft = Table(
    "draft",
    metadata,
    *_said(call_needed=False),
    Column("revision", Integer, nullable=False),
    Column("saved_at", Time, nullable=False),
)
answer = Table("answer", metadata, *_said(call_needed=True), Column("answered_at", Time, nullable=False))
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, … without a gap
    Column("at", Time, nullable=False),
    Column("event", String(32), nullable=False),
    Column("reader", Name),
    Column("details", Text, nullable=False),  # canonical JSON
    Column("previous", Digest, nullable=False),
    Column("hash", Digest, nullable=False),
)
