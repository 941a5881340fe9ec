"""Open the database of a study: find it, hold it, bring it up to date, and see that it is of this study."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sqlalchemy import URL, Engine, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from ...errors import StudyError
from ..study import DATABASE_NAME, Study
from . import tables as t
from .clock import Clock
from .database import (
    connect,
    connect_frozen,
    lock_file,
    new_private_file,
    parse_url,
    refuse_network_disk,
    sqlite_path,
)
from .failures import as_study_error
from .migrate import known_revisions, migrate, revision_of
from .store import Store


def open_store(
    study: Study, database: str | None = None, *, read_only: bool = False, clock: Clock | None = None
) -> Store:
    """Open the answers of a study, by default `study.db` in its folder; make or migrate the database where needed.

    An SQLite file is held for this process alone, except with `read_only`.
    Raises StudyError: another process holds it; it is of another study, or of a newer phonybrains; it lies on a network
    disk; the clock is behind its last entry; with `read_only`, there is none.
    """
    url = parse_url(database) if database else URL.create("sqlite", database=str(study.folder / DATABASE_NAME))
    clock = clock or Clock()
    try:
        return _open(study, url, clock, read_only)
    except DBAPIError as error:
        reason = str(as_study_error(error)) if as_study_error(error) is not error else str(error.orig).strip()
        raise StudyError(f"{url.render_as_string()}: {reason}") from None


def _open(study: Study, url: URL, clock: Clock, read_only: bool) -> Store:
    path = sqlite_path(url)
    if path is not None and read_only and not (path.is_file() and path.stat().st_size):
        raise StudyError(f"{path}: there are no answers yet. Start the study with 'phonybrains study serve'.")
    if path is not None and not read_only:
        refuse_network_disk(path)
    if read_only:
        engine = _connect_for_reading(url, path)
        if revision_of(engine) == known_revisions()[-1]:
            return _checked(Store(study, engine, clock, writable=False), url)
        engine.dispose()  # of an older version: reading needs the newest tables
    lock = _hold(path) if path is not None else None
    try:
        engine = connect(url)
        before = migrate(engine, url, clock)
        _enter_study(study, engine, clock)
        store = Store(study, engine, clock, lock)
    except BaseException:
        if lock is not None:
            lock.close()
        raise
    if before is not None:
        store.note("migrated", before=before)
        copy = "a copy of it lies beside it" if path is not None else "your own backup is the way back"
        store.notices.append(f"The database was of an older version ({before}) and was brought up to date; {copy}.")
    return _checked(store, url)


def _connect_for_reading(url: URL, path: Path | None) -> Engine:
    if path is not None:
        try:
            with (path.parent / f".{path.name}.probe").open("x") as probe:
                Path(probe.name).unlink()
        except OSError:
            return connect_frozen(path)
    return connect(url)


def _hold(path: Path) -> TextIO:
    lock = lock_file(path)
    try:
        new_private_file(path)
    except BaseException:
        lock.close()
        raise
    return lock


def _enter_study(study: Study, engine: Engine, clock: Clock) -> None:
    """Write down which study a new database is of."""
    values = {
        "id": 1,
        "protocol_hash": study.hash,
        "name": study.config.name,
        "created_at": clock.now(),
        "paused": False,
    }
    with suppress(IntegrityError), engine.execution_options(writes=True).begin() as connection:  # another was quicker
        if connection.execute(select(t.study.c.id)).first() is None:
            connection.execute(t.study.insert(), values)


def _checked(store: Store, url: URL) -> Store:
    found = store.read(lambda connection: connection.execute(select(t.study.c.protocol_hash, t.study.c.name)).first())
    if found is None or found.protocol_hash != store.study.hash:
        store.close()
        name = f"'{found.name}'" if found else "none"
        raise StudyError(f"{url.render_as_string()}: holds the answers of another study ({name}), or of another "
                         "version of this one. Give another --database.")  # fmt: skip
    return store
