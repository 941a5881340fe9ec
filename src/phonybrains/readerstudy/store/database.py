"""Where a study's answers lie: an SQLite file that one server at a time may hold, or a PostgreSQL database."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from ...errors import StudyError

NETWORK_DISKS = {"nfs", "nfs3", "nfs4", "cifs", "smbfs", "smb2", "smb3", "afs", "ceph", "glusterfs", "lustre", "9p"}
NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.davfs", "fuse.ceph")
BUSY_MS = 10_000
GIVE = "Give sqlite:///FILE or postgresql://USER@HOST/NAME."
SECRET = re.compile(r"(?:(?<=://)|^)[^/@]*@|(?<=password=)[^&]*", re.IGNORECASE)


def shown(url: URL | str) -> str:
    """A database for people: without a password, wherever it stands; a text that is no URL loses the user as well."""
    text = url if isinstance(url, str) else url.render_as_string()
    return re.sub(SECRET if isinstance(url, str) else r"(?i)(?<=password=)[^&]*", "***", text)


def password_in(text: str) -> bool:
    """Whether a database is given with its password."""
    return bool(re.search(r"://[^/@]*:[^@]+@|[?&](ssl)?password=", text, re.IGNORECASE))


def parse_url(text: str) -> URL:
    """`sqlite:///…` or `postgresql://…` with its driver. Raises StudyError for anything else."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StudyError(f"{shown(text)}: not a database. {GIVE}") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        if importlib.util.find_spec("psycopg") is None:
            raise StudyError("PostgreSQL needs a driver: pip install 'phonybrains[postgresql]'.")
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite" or not _is_file(url):
        raise StudyError(f"{shown(url)}: not a database answers can be kept in. {GIVE}")
    return url


def _is_file(url: URL) -> bool:
    """Whether an SQLite database is a file that can be, with options that can be."""
    name = url.database or ""
    try:
        url.get_dialect()().create_connect_args(url)
    except ValueError:
        return False
    return bool(Path(name).name) and name != ":memory:" and "\0" not in name


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite database; none for another."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def connect(url: URL) -> Engine:
    """An engine whose transactions are durable when they end; one that begins with `writes` locks before it reads."""
    if sqlite_path(url) is None:
        return create_engine(url, pool_pre_ping=True, pool_size=8, connect_args={"connect_timeout": 10})
    engine = create_engine(url, pool_size=8, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def connect_frozen(path: Path) -> Engine:
    """An engine over an SQLite file on a disk that cannot be written."""
    uri = f"file:{path.resolve().as_posix()}?immutable=1"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False))


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours
    durable = "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"  # `Store` alone moves what is in the -wal
    for pragma in (f"busy_timeout={BUSY_MS}", *durable, "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def refuse_network_disk(path: Path, mounts: Iterable[str] | None = None) -> None:
    """Raises StudyError if a file lies on a network disk, where SQLite's locks do not hold; Linux only."""
    kind = filesystem_of(path.resolve(), _mounts() if mounts is None else mounts)
    if kind in NETWORK_DISKS or kind.startswith(NETWORK_FUSE):
        give = "Give --database sqlite:///FILE on a local disk, or a PostgreSQL database."
        raise StudyError(f"{path} lies on a network disk ({kind}), where SQLite can lose answers. {give}")


def filesystem_of(path: Path, mounts: Iterable[str]) -> str:
    """The type of the filesystem a path lies on, from lines as in /proc/mounts; empty if none fits."""
    found, depth = "", -1
    for line in mounts:
        place, kind = line.split()[1:3]
        mount = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place))  # a blank is \040 there
        if mount in (path, *path.parents) and len(mount.parts) >= depth:
            found, depth = kind, len(mount.parts)
    return found


def _mounts() -> list[str]:
    table = Path("/proc/mounts")
    return table.read_text(encoding="utf-8", errors="replace").splitlines() if table.exists() else []
