"""Readers, invitations, sessions, presentations, drafts, answers and the audit log."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None
Time, Digest = sa.String(32), sa.String(64)


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("protocol_hash", Digest, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("closed_at", Time),
    )
    op.create_table(
        "reader",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("added_at", Time, nullable=False),
        sa.Column("finished_at", Time),
        sa.Column("revoked_at", Time),
    )
    for name, since, until in (("invitation", "made_at", "revoked_at"), ("web_session", "begun_at", "ended_at")):
        op.create_table(
            name,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("token_sha256", Digest, nullable=False, unique=True),
            sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), index=True),
            sa.Column(since, Time, nullable=False),
            sa.Column("expires_at", Time, nullable=False),
            sa.Column(until, Time),
        )
    _create_answers()
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("reader", sa.String(40)),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", Digest, nullable=False),
        sa.Column("hash", Digest, nullable=False),
    )


def _create_answers() -> None:
    op.create_table(
        "presentation",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.UniqueConstraint("reader_id", "position"),
    )
    op.create_table(
        "draft",
        *_said(call_needed=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("saved_at", Time, nullable=False),
    )
    op.create_table("answer", *_said(call_needed=True), sa.Column("answered_at", Time, nullable=False))


def _said(call_needed: bool) -> list[sa.Column]:
    return [
        sa.Column("presentation_id", sa.String(32), sa.ForeignKey("presentation.id"), primary_key=True),
        sa.Column("call", sa.String(8), nullable=not call_needed),
        sa.Column("confidence", sa.Integer),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float),
    ]
