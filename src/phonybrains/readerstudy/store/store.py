"""The answers of a study: one object over its database, which alone changes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO, TypeVar

from sqlalchemy import Connection, Engine, select, update

from ...errors import StudyError
from ..study import Answer, Study
from . import access, answering, audit, readers
from . import tables as t
from .clock import Clock
from .departures import Departure, departures
from .failures import as_study_error
from .readers import Reader, Source
from .writer import Writer, Writing

T = TypeVar("T")


class Store:
    """Readers, answers and the audit log of one study. Get one from `open_store`; it is a context manager.

    All changes are made by one thread, and a call that makes one returns when it is on the disk.
    """

    def __init__(self, study: Study, engine: Engine, clock: Clock, lock: TextIO | None = None, writable: bool = True):
        self.study, self.clock, self.notices = study, clock, list[str]()
        self._engine, self._lock = engine, lock
        self._changes = engine.execution_options(writes=True)
        self.writer = Writer(self._begin) if writable else None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what waits to be written, and let go of the database."""
        if self.writer is not None:
            self.writer.close()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    # how everything below reads and writes

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query on one snapshot of the database."""
        try:
            with self._engine.connect() as connection, connection.begin():
                return query(connection)
        except Exception as error:
            raise as_study_error(error) from error

    def write(self, job: Callable[[Writing], T]) -> T:
        """Run a change; it is on the disk when this returns."""
        if self.writer is None:
            raise StudyError("these answers were opened for reading only.")
        return self.writer.submit(job).result()

    @contextmanager
    def _begin(self) -> Iterator[Writing]:
        with self._changes.begin() as connection:
            if connection.dialect.name != "sqlite":  # one at a time, over all servers
                connection.execute(select(t.study.c.id).with_for_update())
            last = audit.newest(connection)
            stamp = self.clock.stamp(last.at)
            writing = Writing(connection, stamp.text, last)
            if stamp.back:
                writing.note("clock went back", seconds=round(stamp.back, 1))
            yield writing
        self.clock.used(stamp)

    # readers

    def add_reader(self, name: str, source: Source = "invited") -> str:
        """Add a reader with their order of presentations. Returns the token of their invitation."""
        return self.write(partial(self.enter_reader, name=name, source=source))

    def enter_reader(self, writing: Writing, name: str, source: Source) -> str:
        """`add_reader` as a part of a larger change."""
        from ..order import presentations

        name = readers.checked_name(name)
        planned, days = name in self.study.config.readers, self.study.config.days_valid
        number = readers.add(writing, name, source, presentations(self.study, name), planned=planned)
        return access.invite(writing, number, name, days)

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

    def record(self, answer: Answer) -> None:
        """Record a final answer. Raises StudyError if it is of no open presentation."""
        self.record_all([answer])

    def record_all(self, answers: Sequence[Answer]) -> None:
        """Record final answers, all or none."""
        self.write(partial(readers.record, answers=answers))

    def import_readers(self, answers: Sequence[Answer], source: Source = "imported") -> None:
        """Add readers who answered elsewhere with their answers, all or none; their positions are those given."""
        cases = self.study.cases
        for answer in answers:
            if answer.case_id not in cases:
                raise StudyError(f"answer of {answer.reader}, position {answer.position}: there is no case "
                                 f"'{answer.case_id}' in this study.")  # fmt: skip
        planned: Collection[str] = self.study.config.readers
        self.write(partial(readers.import_readers, answers=answers, source=source, planned=planned))

    def answers(self, kinds: Sequence[str] | None = None) -> list[Answer]:
        """The final answers, by reader and position; `kinds` keeps training, test, repeat or check only."""
        return self.read(partial(answering.final_answers, kinds=kinds))

    # the study as a whole

    @property
    def paused(self) -> bool:
        return bool(self.read(lambda connection: connection.execute(select(t.study.c.paused)).scalar_one()))

    @property
    def closed_at(self) -> str | None:
        return self.read(lambda connection: connection.execute(select(t.study.c.closed_at)).scalar_one())

    def pause(self, paused: bool = True) -> None:
        """Let all readers wait, or go on. Doing it again changes nothing."""
        self.write(partial(self.set_paused, paused=paused))

    def set_paused(self, writing: Writing, paused: bool) -> None:
        """`pause` as a part of a larger change."""
        other = update(t.study).where(t.study.c.paused.is_(not paused), t.study.c.closed_at.is_(None))
        if writing.connection.execute(other.values(paused=paused)).rowcount:
            writing.note("paused" if paused else "resumed")

    def close_study(self) -> None:
        """End the study for good: no answer is taken any more. Doing it again changes nothing."""
        self.write(self.set_closed)

    def set_closed(self, writing: Writing) -> None:
        """`close_study` as a part of a larger change."""
        still_open = update(t.study).where(t.study.c.closed_at.is_(None)).values(closed_at=writing.now)
        if writing.connection.execute(still_open).rowcount:
            listed = readers.list_readers(writing.connection)
            writing.note("closed", unfinished=[r.name for r in listed if r.state in ("invited", "reading")])

    def note(self, event: str, **details: Any) -> None:
        """Append to the audit log what happened without any other change."""
        self.write(lambda writing: writing.note(event, **details))

    # the audit log

    def audit(self) -> list[audit.Entry]:
        """The audit log, oldest entry first."""
        return self.read(audit.entries)

    def verify_audit(self) -> None:
        """Check the log's chain, and each answer against it. Raises StudyError naming the first that does not fit."""
        log, answers = self.read(lambda connection: (audit.entries(connection), answering.final_answers(connection)))
        audit.verify_chain(log)
        told = {}
        for entry in log:
            if entry.event == "answer":
                details = json.loads(entry.details)
                told[entry.reader, details.pop("position")] = details
        for answer in answers:
            if told.pop((answer.reader, answer.position), None) != answering.as_details(answer):
                raise StudyError(f"answer of {answer.reader}, position {answer.position}: is not the one in the audit "
                                 "log; it was changed outside phonybrains.")  # fmt: skip
        for reader, position in told:
            raise StudyError(f"answer of {reader}, position {position}: is in the audit log but not among the answers; "
                             "it was removed outside phonybrains.")  # fmt: skip

    def departures(self) -> list[Departure]:
        """What went otherwise than planned."""
        return departures(self.audit())
