"""What a database says when it fails, told as what it means: no room, not now, or something else."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .errors import BusyError, DiskFullError, LostError

FULL = "the database has no room: the disk, or this user's share of it, is full."
POSTGRESQL_FULL = ("53100", "53400")  # disk_full, configuration_limit_exceeded (temporary files)
SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)  # the second is how a quota or a size limit shows
POSTGRESQL_GONE = ("42P01", "3F000", "3D000", "42501")  # no such table, schema, database; no right to it
SQLITE_GONE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY_DBMOVED)


def as_study_error(error: Exception) -> Exception:
    """DiskFullError, LostError or BusyError where the database says so; anything else as it came."""
    if isinstance(error, PoolTimeoutError):
        return BusyError("the database is busy.")
    if not isinstance(error, DBAPIError):
        return error
    cause = error.orig
    if getattr(cause, "sqlite_errorcode", None) in SQLITE_FULL or getattr(cause, "sqlstate", None) in POSTGRESQL_FULL:
        return DiskFullError(FULL)
    gone = getattr(cause, "sqlite_errorcode", None) in SQLITE_GONE or str(cause).startswith("no such table")
    if gone or getattr(cause, "sqlstate", None) in POSTGRESQL_GONE:
        return LostError(f"the database is not what it was ({str(cause).strip().splitlines()[0]}).")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return BusyError(f"the database cannot be used now ({str(cause).strip().splitlines()[0]}).")
    return error
