"""What a database says when it fails, told as what it means: no room, not now, or something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .errors import BusyError, DiskFullError, LostError

FULL = "the database has no room: the disk, or this user's share of it, is full."
FULL_CODES = {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE),  # the second is how a quota or a size limit shows
    *("53100", "53400"),  # PostgreSQL: disk_full, configuration_limit_exceeded (temporary files)
}
GONE_CODES = {
    *(sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY_DBMOVED),
    *("42P01", "3F000", "3D000", "42501"),  # PostgreSQL: no such table, schema, database; no right to it
}


@contextmanager
def as_study_errors() -> Iterator[None]:
    """Raise what `as_study_error` makes of an error in the block."""
    try:
        yield
    except Exception as error:
        raise as_study_error(error) from error


def as_study_error(error: Exception) -> Exception:
    """DiskFullError, LostError or BusyError where the database says so; anything else as it came."""
    if isinstance(error, PoolTimeoutError):
        return BusyError("the database is busy.")
    if not isinstance(error, DBAPIError):
        return error
    said = str(error.orig).strip()
    code = getattr(error.orig, "sqlite_errorcode", getattr(error.orig, "sqlstate", None))
    if code in FULL_CODES:
        return DiskFullError(FULL)
    if code in GONE_CODES or said.startswith("no such table"):
        return LostError(f"the database is not what it was ({said.splitlines()[0]}).")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return BusyError(f"the database cannot be used now ({said.splitlines()[0]}).")
    return error
