"""Bring a study's database to the newest revision: a copy first, then all steps in one transaction."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Engine, inspect, text

from ...errors import StudyError
from . import audit
from .clock import Clock
from .database import shown, sqlite_path

VERSION_TABLE = "phonybrains_version"
MIGRATIONS = Path(__file__).parent / "migrations"


def known_revisions() -> list[str]:
    """All revisions this phonybrains knows, oldest first: what their files' names begin with, so without Alembic."""
    return sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def revision_of(engine: Engine) -> str | None:
    """The revision of a database; none where it holds nothing. Raises StudyError if it is not a study's."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        if VERSION_TABLE in names:
            return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one()
    if names:
        other = f"holds other tables ({', '.join(names[:3])})"
        raise StudyError(f"{shown(engine.url)}: {other}. Give an empty database, or a study's own.")
    return None


def migrate(engine: Engine, url: URL, clock: Clock) -> str | None:
    """Upgrade to the newest revision; the revision it was at before, if that was an older one.

    Raises StudyError, with nothing changed, for a revision from the future, a clock behind the log, a failed backup.
    """
    known, found = known_revisions(), revision_of(engine)
    if found is not None and found not in known:
        newer = f"was written by a newer phonybrains (revision {found}; this one knows {known[-1]})"
        raise StudyError(f"{shown(url)}: {newer}. Install that version; nothing was changed.")
    if found is not None:
        with engine.connect() as connection:
            clock.check_start(audit.newest(connection).at)
    if found == known[-1]:
        return None
    path = sqlite_path(url)
    if path is not None and found is not None:
        back_up(path, path.with_name(f"{path.name}.{clock.now()[:19].replace(':', '-')}.{found}.backup"))
    upgrade(engine, "head")
    return found


def upgrade(engine: Engine, revision: str) -> None:
    """Run the migrations up to a revision, all of them or none."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name != "sqlite":  # two that start at once: the second waits, and finds nothing to do
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('phonybrains migration'))"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def back_up(path: Path, copy: Path) -> None:
    """Copy an SQLite database as it stands, whole. Raises StudyError, and leaves nothing, if that fails."""
    failed = f"{copy}: the backup failed (%s). Make room for it; the database was left as it was."
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StudyError(failed % error.strerror) from None
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        copy.unlink()
        raise StudyError(failed % error) from None
