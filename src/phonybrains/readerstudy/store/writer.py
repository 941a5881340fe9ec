"""One thread writes: answers that wait at the same time share one transaction, and one wait for the disk.

A job is a function of the open transaction. Its result reaches the caller only after the commit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError, IntegrityError

from . import tables
from .audit import LogEntry, entry_after
from .failures import as_study_error

T = TypeVar("T")
BATCH = 64


@dataclass
class Writing:
    """An open transaction: its connection, its time, the end of the audit log in it, and the log's key."""

    connection: Connection
    now: str
    last: LogEntry
    key: bytes

    def insert(self, table: Table, **values: Any) -> None:
        """Add a row."""
        self.connection.execute(table.insert(), values)

    def note(self, event: str, reader: str | None = None, **details: Any) -> None:
        """Append to the audit log."""
        self.last = entry_after(self.last, self.now, event, reader, details, self.key)
        self.insert(tables.audit, **asdict(self.last))


Job = Callable[[Writing], Any]


class Writer:
    """Runs jobs one after another, as many as wait in one transaction."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Writing]]) -> None:
        self._begin = begin
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="study-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Writing], T]) -> Future[T]:
        """Queue a job. The future has its result once it is on the disk, or the error and nothing was changed."""
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    self._jobs.put(None)
                    break
                batch.append(following)
            self._commit([(job, future) for job, future in batch if future.set_running_or_notify_cancel()])

    def _commit(self, batch: list[tuple[Job, Future[Any]]]) -> None:
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            with self._begin() as writing:
                outcomes = [_attempt(job, writing) for job, _ in batch]
        except Exception as error:
            outcomes = [(None, as_study_error(error))] * len(batch)
        for (_, future), (result, failure) in zip(batch, outcomes, strict=True):
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)


def _attempt(job: Job, writing: Writing) -> tuple[Any, Exception | None]:
    """Run one job so that its failure undoes itself alone; what concerns the whole database is raised."""
    last, savepoint = writing.last, writing.connection.begin_nested()
    try:
        result = job(writing)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            raise  # SQLite may have undone the whole transaction already, savepoints and all
        savepoint.rollback()
        writing.last = last
        return None, error
    savepoint.commit()
    return result, None
