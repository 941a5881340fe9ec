"""Open the database of a study: find it, hold it, bring it up to date, and see that it is of this study."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError

from ...errors import StudyError
from ..study import DATABASE_NAME, PROTOCOL_NAME, Study
from .beginning import begin_log, check_not_lost, check_whole, find_log
from .clock import Clock
from .database import connect, connect_frozen, parse_url, refuse_network_disk, shown, sqlite_path
from .failures import as_study_error
from .hold import Hold, ServerLock
from .keys import KEY_NAME
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
        raise StudyError(f"{shown(url)}: {reason}") from None


def _open(study: Study, url: URL, clock: Clock, read_only: bool) -> Store:
    path = sqlite_path(url)
    if path is not None and read_only and not (path.is_file() and path.stat().st_size):
        check_not_lost(study, url)
        raise StudyError(f"{path}: there are no answers yet. Start the study with 'phonybrains study serve'.")
    if path is not None and not read_only:
        refuse_network_disk(path)
    if read_only:
        engine = _connect_for_reading(url, path)
        if revision_of(engine) == known_revisions()[-1] and (log := find_log(study, engine, url)):
            return Store(study, engine, clock, log)
        engine.dispose()  # of an older version: reading needs the newest tables
    hold = Hold()
    try:
        return _open_held(study, url, clock, hold)
    except BaseException:
        hold.close_server()
        hold.close()
        raise


def _open_held(study: Study, url: URL, clock: Clock, hold: Hold) -> Store:
    path = sqlite_path(url)
    if path is not None:
        beside = path.with_name(f"{path.name}.lock")
        hold.lock(beside, path, f" (it holds {beside.name})")
        hold.lock(path, path)
    hold.lock(study.folder, study.folder)
    engine = connect(url)
    if path is None:
        hold.server = ServerLock(engine, study.hash)
    before = migrate(engine, url, clock)
    log = find_log(study, engine, url) or begin_log(study, engine, url, clock)
    check_whole(engine, url, log)
    for own in (study.folder / PROTOCOL_NAME, study.folder / KEY_NAME, log.heads.path):
        hold.watch(own)
    store = Store(study, engine, clock, log, hold)
    if before is not None:
        store.note("migrated", before=before)
        copy = "a copy of it lies beside it" if path is not None else "your own backup is the way back"
        store.notices.append(f"The database was of an older version ({before}) and was brought up to date; {copy}.")
    return store


def _connect_for_reading(url: URL, path: Path | None) -> Engine:
    if path is not None:
        try:
            with (path.parent / f".{path.name}.probe").open("x") as probe:
                Path(probe.name).unlink()
        except OSError:
            return connect_frozen(path)
    return connect(url)
