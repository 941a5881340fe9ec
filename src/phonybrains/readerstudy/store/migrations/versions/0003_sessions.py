"""When a session was last used and on what kind of device; longer names of readers."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    op.add_column("web_session", sa.Column("seen_at", sa.String(32), nullable=False, server_default=""))
    op.add_column("web_session", sa.Column("device", sa.String(40), nullable=False, server_default="unknown"))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("reader", "name", type_=sa.String(80))
        op.alter_column("audit", "reader", type_=sa.String(80))
