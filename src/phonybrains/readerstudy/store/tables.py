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

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1; PostgreSQL locks this row for every change
    Column("protocol_hash", Digest, nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("closed_at", Time),
)
reader = Table(
    "reader",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Name, nullable=False, unique=True),
    Column("added_at", Time, nullable=False),
    Column("finished_at", Time),
    Column("revoked_at", Time),
    Column("source", String(16), nullable=False, server_default="invited"),
)
invitation = Table(
    "invitation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_sha256", Digest, nullable=False, unique=True),
    Column("reader_id", ForeignKey("reader.id"), index=True),  # none: the investigator's
    Column("made_at", Time, nullable=False),
    Column("expires_at", Time, nullable=False),
    Column("revoked_at", Time),
)
web_session = Table(
    "web_session",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_sha256", Digest, nullable=False, unique=True),
    Column("reader_id", ForeignKey("reader.id"), index=True),  # none: the investigator's
    Column("begun_at", Time, nullable=False),
    Column("expires_at", Time, nullable=False),
    Column("ended_at", Time),
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
