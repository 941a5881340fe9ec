"""How a log begins: with a key, a first event that says which study it is of, and a file for its heads."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sqlalchemy import URL, Connection, Engine, select

from ...errors import StudyError
from ...record import sha256_file
from ...wording import count_of
from ..study import PROTOCOL_NAME, Study
from . import audit
from . import tables as t
from .clock import Clock
from .database import shown, sqlite_path
from .keys import KEY_NAME, RESTORE, Heads, Log, fingerprint, head_faults, heads_of, load_key, make_key
from .writer import Writing


def find_log(study: Study, engine: Engine, url: URL) -> Log | None:
    """The key and the heads of a database's log; none if it has no key yet.

    Raises StudyError if it is of another study, or of another key than the study's.
    """
    with engine.connect() as connection:
        keyed = audit.first(connection, audit.KEYED)
        entered = connection.execute(select(t.study.c.protocol_hash, t.study.c.name)).first()
    told = _told(keyed) if keyed else {}
    protocol = told["protocol"] if told else entered and entered.protocol_hash
    if protocol not in (None, study.hash):
        other = f"another study ('{entered.name}')" if entered else "another study (none)"
        either = f"{other}, or of another version of this one"
        raise StudyError(f"{shown(url)}: holds the answers of {either}. Give another --database.")
    if not told:
        return None
    check_not_lost(study, url, but=told["log"])
    key = load_key(study.folder)
    if fingerprint(key) != told["key"]:
        other = f"is another key than the log of {shown(url)} was begun with"
        raise StudyError(f"{study.folder / KEY_NAME}: {other}. {RESTORE}")
    return Log(key, Heads.read(study.folder / f"log-{told['log']}.head"))


def check_not_lost(study: Study, url: URL, but: str = "") -> None:
    """Raises StudyError if the study kept the heads of another log for this database than the one it holds."""
    for heads in heads_of(study.folder, _location(study, url)):
        if heads.path.name != f"log-{but}.head":
            gone = f"its log of {count_of(heads.last, 'event')} is gone (see {heads.path})"
            restore = "Restore the database from your backup, or give another --database."
            raise StudyError(f"{shown(url)}: {gone}. {restore}")


def begin_log(study: Study, engine: Engine, url: URL, clock: Clock) -> Log:
    """Give the log of a new database, or of an older version, its key; what its events did not tell is carried over."""
    check_not_lost(study, url)
    key, name = make_key(study.folder), secrets.token_hex(8)
    log = Log(key, Heads.make(study.folder, name, _location(study, url)))
    with engine.execution_options(writes=True).begin() as connection:
        last = audit.newest(connection)
        writing = Writing(connection, clock.stamp(last.at).text, last, key)
        if connection.execute(select(t.study.c.id)).first() is None:
            row = {"protocol_hash": study.hash, "name": study.config.name, "created_at": writing.now}
            writing.insert(t.study, id=1, paused=False, **row)
        file = sha256_file(study.folder / PROTOCOL_NAME)
        told = {"log": name, "key": fingerprint(key), "protocol": study.hash, "file": file}
        writing.note(audit.KEYED, **told, rows=_rows_of(connection, None))
        for number, reader in connection.execute(select(t.reader.c.id, t.reader.c.name).order_by(t.reader.c.id)).all():
            writing.note("carried over", reader, rows=_rows_of(connection, number))
    log.heads.append(writing.last)
    return log


def check_whole(engine: Engine, url: URL, log: Log) -> None:
    """Raises StudyError if a log does not reach its heads, so that nothing is written after a gap."""
    with engine.connect() as connection:
        faults = head_faults(audit.entries(connection), sorted(log.heads.kept)[-1:], log.heads.path.name)
    if faults:
        raise StudyError(f"{shown(url)}: {faults[0].text} Restore the database from your backup.")


def _rows_of(connection: Connection, reader: int | None) -> dict[str, list[dict[str, Any]]]:
    """All rows of one reader, or those that are of none, but for answers, which have events of their own.

    When a session was last seen is no part of the log.
    """
    owners = {t.reader: "id", t.presentation: "reader_id", t.invitation: "reader_id", t.web_session: "reader_id"}
    queries = {table.name: select(table).where(table.c[column] == reader) for table, column in owners.items()}
    if reader is None:
        queries["study"] = select(t.study)
    return {
        name: [{k: v for k, v in row.items() if k != "seen_at"} for row in connection.execute(query).mappings()]
        for name, query in queries.items()
    }


def _told(keyed: audit.LogEntry) -> dict[str, Any]:
    try:
        told = json.loads(keyed.details)
        return {name: str(told[name]) for name in ("log", "key", "protocol")}
    except (KeyError, TypeError, ValueError, RecursionError):
        raise StudyError(f"audit log, {keyed}: it was changed outside phonybrains.") from None


def _location(study: Study, url: URL) -> str:
    """What a database is called in the heads: a path from the study's folder, if it lies in there."""
    path = sqlite_path(url)
    if path is None:
        return shown(url.set(username=None, password=None))
    place, folder = path.resolve(), study.folder.resolve()
    return str(place.relative_to(folder) if place.is_relative_to(folder) else place)
