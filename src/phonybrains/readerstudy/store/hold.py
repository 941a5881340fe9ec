"""A study held by one process, on files that nobody may take away meanwhile."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ...errors import StudyError
from .errors import BusyError, LostError

IN_USE = "{} is in use by another phonybrains{}. Stop that one first."


class Hold:
    """Locks of one process, and the files that must stay where and what they were. Empty, it holds nothing."""

    def __init__(self) -> None:
        self._open: list[int] = []
        self._seen: dict[Path, tuple[int, int]] = {}
        self._still: dict[Path, tuple[int, int]] = {}
        self._mutex = threading.Lock()
        self._lost = ""
        self.server: ServerLock | None = None

    def lock(self, path: Path, shown: Path, note: str = "") -> None:
        """Lock a file, made for its owner alone if there is none, or a folder. Raises StudyError if another holds it.

        A folder is locked as well as the files in it: removing a file does not remove the lock.
        """
        try:
            flags = os.O_RDONLY if path.is_dir() else os.O_CREAT | os.O_RDWR
            self._open.append(os.open(path, flags, 0o600))
            if not path.is_dir():
                os.fchmod(self._open[-1], 0o600)
        except OSError as error:
            raise StudyError(f"{path}: cannot be written ({error.strerror}). Give another --database.") from None
        try:
            fcntl.flock(self._open[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(IN_USE.format(shown, note)) from None
        self.watch(path)

    def watch(self, path: Path) -> None:
        """Remember which file this is."""
        self._seen[path] = _identity(path)

    def keep_still(self, path: Path, change: Callable[[], object]) -> None:
        """Let `change` write into a file that nobody else may write into, and remember when and how long it then is."""
        with self._mutex:
            change()
            self._still[path] = _content(path)

    def check(self, *, server: bool = False) -> None:
        """Raises LostError, from then on always, once one of the files is gone or another; `server`: BusyError too."""
        if self._lost:
            raise LostError(self._lost)
        with self._mutex:
            gone = [path for path, identity in self._seen.items() if _identity(path) != identity]
            gone += [path for path, content in self._still.items() if _content(path) != content]
        if gone:
            self.lose(f"{gone[0]} was removed, replaced or written over")
        if server and self.server is not None:
            self.server.check()

    def lose(self, reason: str) -> None:
        """Take no answers any more. Raises LostError."""
        what_to_do = "Stop phonybrains, put things back as they were, and start it again."
        self._lost = f"{reason} while the study was open: no answer is taken any more. {what_to_do}"
        print(f"phonybrains: {self._lost}", file=sys.stderr, flush=True)
        raise LostError(self._lost)

    def close_server(self) -> None:
        """Let go of the lock in PostgreSQL."""
        if self.server is not None:
            self.server.close()

    def close(self) -> None:
        """Let go of all locks; of SQLite's file after its connections are closed, as that ends their locks too."""
        while self._open:
            os.close(self._open.pop())


class ServerLock:
    """A lock of PostgreSQL for one study, held by a connection of its own; lost with it, it is taken again."""

    def __init__(self, engine: Engine, study: str) -> None:
        self._engine, self._study = engine.execution_options(isolation_level="AUTOCOMMIT"), study
        self._connection: Connection | None = None
        self.check()

    def check(self) -> None:
        """Take the lock unless it is held. Raises BusyError while another holds it."""
        try:
            if self._connection is not None:
                self._connection.exec_driver_sql("SELECT 1")
                return
        except DBAPIError:
            self.close()
        connection = self._engine.connect()
        query = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not connection.execute(query, {"name": f"phonybrains {self._study}"}).scalar_one():
            connection.close()
            raise BusyError(IN_USE.format("this study", ""))
        self._connection = connection

    def close(self) -> None:
        """End the connection, and the lock with it."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._connection = None


def _content(path: Path) -> tuple[int, int]:
    return _told(path, "st_size", "st_mtime_ns")


def _identity(path: Path) -> tuple[int, int]:
    return _told(path, "st_dev", "st_ino")


def _told(path: Path, one: str, other: str) -> tuple[int, int]:
    """Two facts of a file's status; -1 where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return (-1, -1)
    return getattr(found, one), getattr(found, other)
