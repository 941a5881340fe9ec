"""The answers of a study: one object over its database, which alone changes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select, update

from ...errors import StudyError
from ..design.order import presentations
from ..study import Answer, Study
from . import access, audit, readers
from . import tables as t
from .answering import place_of
from .clock import Clock
from .departures import Departure
from .failures import as_study_errors
from .hold import Hold
from .keys import Log
from .readers import Reader, Source
from .replay import Replay, final_answers
from .verify import Verified, verify
from .writer import Writer, Writing

T = TypeVar("T")
CHECKPOINT = 500
"""After how many events SQLite moves its -wal into the database."""


class Store(AbstractContextManager["Store"]):
    """Readers, answers and the audit log of one study. Get one from `open_store`; it is a context manager.

    All changes are made by one thread, and a call that makes one returns when it is on the disk.
    """

    def __init__(self, study: Study, engine: Engine, clock: Clock, log: Log, hold: Hold | None = None):
        """`hold` keeps the study for this process alone; without one, it can be read, and looked at."""
        self.study, self.clock, self.notices = study, clock, list[str]()
        self._engine, self._log, self._hold = engine, log, hold or Hold()
        self._changes = engine.execution_options(writes=True)
        with engine.connect() as connection:
            self._last = audit.newest(connection)
        self._keeper: Connection | None = None
        if hold is not None and engine.dialect.name == "sqlite":
            self._keep_sqlite_files(str(engine.url.database))
        self.writer = Writer(self._begin) if hold is not None else None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what waits to be written, and let go of the database."""
        for open_one in filter(None, (self.writer, self._keeper)):
            open_one.close()
        self._hold.close_server()
        self._engine.dispose()
        self._hold.close()

    def _keep_sqlite_files(self, path: str) -> None:
        """Keep a connection, so that the files beside the database stay the same as long as this is open."""
        self._keeper = self._engine.connect()
        audit.newest(self._keeper)
        self._keeper.rollback()
        for suffix in ("-wal", "-shm"):
            self._hold.watch(Path(path + suffix))
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Let SQLite move what is in the -wal into the database, which is not written to in between."""
        assert self._keeper is not None
        sqlite: sqlite3.Connection = self._keeper.connection.driver_connection  # pyright: ignore[reportAssignmentType]

        def move() -> None:
            with suppress(sqlite3.Error):  # for lack of room, say: then it stays where it is
                sqlite.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

        self._hold.keep_still(Path(str(self._engine.url.database)), move)

    # how everything below reads and writes

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query on one snapshot of the database."""
        with as_study_errors():
            self._hold.check()
            with self._engine.connect() as connection, connection.begin():
                return query(connection)

    def write(self, job: Callable[[Writing], T]) -> T:
        """Run a change; it is on the disk when this returns."""
        if self.writer is None:
            raise StudyError("these answers were opened for reading only.")
        return self.writer.submit(job).result()

    @contextmanager
    def _begin(self) -> Iterator[Writing]:
        """A transaction; when this ends it is on the disk, its head is kept, and all files are where they were."""
        self._hold.check(server=True)
        with self._changes.begin() as connection:
            if connection.dialect.name != "sqlite":  # an analysis may add its look while a server runs
                connection.execute(select(t.study.c.id).with_for_update())
            last = audit.newest(connection)
            self._check_follows(connection, last)
            stamp = self.clock.stamp(last.at)
            writing = Writing(connection, stamp.text, last, self._log.key)
            if stamp.back:
                writing.note("clock went back", seconds=round(stamp.back, 1))
            yield writing
        self.clock.used(stamp)
        self._log.heads.append(writing.last)
        self._hold.check()
        if self._keeper is not None and writing.last.id // CHECKPOINT > self._last.id // CHECKPOINT:
            self._checkpoint()
        self._last = writing.last

    def _check_follows(self, connection: Connection, last: audit.LogEntry) -> None:
        """Raises LostError unless the log goes on from what was last written."""
        if last == self._last:
            return
        here, *more = audit.entries(connection, self._last.id) or [audit.BEFORE_ALL]
        if here != self._last or audit.chain_fault(more, self._log.key, here):
            self._hold.lose(f"the log did not go on from event {self._last.id}: the database was changed")

    # readers

    def add_reader(self, name: str, source: Source = "invited") -> str:
        """Add a reader with their order of presentations. Returns the token of their invitation."""
        return self.write(partial(self.enter_reader, name=name, source=source))

    def enter_reader(self, writing: Writing, name: str, source: Source = "invited") -> str:
        """`add_reader` as a part of a larger change."""
        name, config = readers.checked_name(name), self.study.config
        order = presentations(self.study, name)
        number = readers.add(writing, name, source, order, planned=name in config.readers)
        return access.invite(writing, number, name, config.days_valid)

    def new_link(self, name: str) -> str:
        """The token of a new invitation; the reader's older ones end."""
        return self.write(partial(readers.new_link, name=name, days=self.study.config.days_valid))

    def investigator_link(self) -> str:
        """The token of a new invitation to the investigator's page; older ones end."""
        days = self.study.config.days_valid
        return self.write(lambda writing: access.invite(writing, None, None, days))

    def readers(self) -> list[Reader]:
        """All readers and how far they are."""
        return self.read(readers.list_readers)

    def revoke(self, name: str) -> None:
        """Withdraw a reader: links and sessions end at once, answers stay."""
        self.write(partial(readers.revoke, name=name))

    def finish(self, name: str) -> None:
        """Lock the answers of a reader who has given all of them."""
        self.write(partial(readers.finish, name=name))

    # answers

    def record(self, *answers: Answer) -> None:
        """Record final answers, all or none. Raises StudyError if one is of no open presentation."""
        self.write(partial(readers.record, answers=answers))

    def import_readers(self, answers: Sequence[Answer], source: Source = "imported") -> None:
        """Add readers who answered elsewhere with their answers, all or none; their positions are those given."""
        for answer in answers:
            if answer.case_id not in self.study.cases:
                raise StudyError(f"{place_of(answer)}: there is no case '{answer.case_id}' in this study.")
        planned = self.study.config.readers
        self.write(partial(readers.import_readers, answers=answers, source=source, planned=planned))

    def answers(self, kinds: Sequence[str] | None = None) -> list[Answer]:
        """The final answers as the log tells them; `kinds` keeps training, test, repeat or check only."""
        return self.read(partial(final_answers, kinds=kinds))

    # the study as a whole

    @property
    def closed_at(self) -> str | None:
        return self.read(lambda connection: connection.execute(select(t.study.c.closed_at)).scalar_one())

    def pause(self, paused: bool = True) -> None:
        """Let all readers wait, or go on. Doing it again changes nothing."""

        def change(writing: Writing) -> None:
            other = update(t.study).where(t.study.c.paused.is_(not paused), t.study.c.closed_at.is_(None))
            if writing.connection.execute(other.values(paused=paused)).rowcount:
                writing.note("paused" if paused else "resumed")

        self.write(change)

    def close_study(self) -> None:
        """End the study for good: no answer is taken any more. Doing it again changes nothing."""

        def change(writing: Writing) -> None:
            still_open = update(t.study).where(t.study.c.closed_at.is_(None)).values(closed_at=writing.now)
            if writing.connection.execute(still_open).rowcount:
                listed = readers.list_readers(writing.connection)
                writing.note("closed", unfinished=[r.name for r in listed if r.state in ("invited", "reading")])

        self.write(change)

    def note(self, event: str, **details: Any) -> None:
        """Append to the audit log what happened without any other change."""
        self.write(lambda writing: writing.note(event, **details))

    # the audit log

    def audit(self) -> list[audit.LogEntry]:
        """The audit log, oldest entry first."""
        return self.read(audit.entries)

    def verify(self, receipt: str | None = None) -> Verified:
        """Check the log, and every row of the tables against it; `receipt` is a head that a reader was given."""
        return self.read(lambda connection: verify(connection, self.study, self._log, receipt))

    def verify_audit(self) -> None:
        """`verify`. Raises StudyError naming the first event that does not fit."""
        self.verify().check()

    def look(self, answers: int) -> None:
        """Leave in the log that the answers were analysed; a server may be running."""
        with as_study_errors(), self._begin() as writing:
            writing.note("looked at", answers=answers)

    def departures(self) -> list[Departure]:
        """What went otherwise than planned."""
        return Replay(self.audit()).departures()
