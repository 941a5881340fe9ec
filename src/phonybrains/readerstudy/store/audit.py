"""The audit log: append-only, each row's hash covers the row before it, so that nothing can be changed unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from ...errors import StudyError
from . import tables as t

START = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the audit log; `details` is canonical JSON."""

    id: int
    at: str
    event: str
    reader: str | None
    details: str
    previous: str
    hash: str


BEFORE_ALL = Entry(0, "", "", None, "{}", "", START)
_columns = t.audit.c.id, t.audit.c.at, t.audit.c.event, t.audit.c.reader, t.audit.c.details, t.audit.c.previous
_select = select(*_columns, t.audit.c.hash)
_newest = _select.order_by(t.audit.c.id.desc()).limit(1)


def canonical(value: Any) -> str:
    """JSON in which equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def entry_after(last: Entry, at: str, event: str, reader: str | None, details: dict[str, Any]) -> Entry:
    """The entry that follows `last` in the chain."""
    row = last.id + 1, at, event, reader, canonical(details), last.hash
    return Entry(*row, _digest(*row))


def newest(connection: Connection) -> Entry:
    """The last entry, or the one before all where the log is empty."""
    row = connection.execute(_newest).first()
    return Entry(*row) if row else BEFORE_ALL


def entries(connection: Connection) -> list[Entry]:
    """All entries, oldest first."""
    return [Entry(*row) for row in connection.execute(_select.order_by(t.audit.c.id))]


def verify_chain(log: Iterable[Entry]) -> None:
    """Check each row against its hash and the row before it. Raises StudyError naming the first bad row."""
    last = BEFORE_ALL
    for entry in log:
        if entry.id != last.id + 1:
            raise StudyError(f"audit log, row {last.id + 1}: it is missing; the log was changed outside phonybrains.")
        own = entry.id, entry.at, entry.event, entry.reader, entry.details, entry.previous
        if entry.previous != last.hash or entry.hash != _digest(*own):
            raise StudyError(f"audit log, row {entry.id} ({entry.event}, {entry.at}): its hash does not fit; the log "
                             "was changed outside phonybrains.")  # fmt: skip
        last = entry


def _digest(*row: object) -> str:
    return hashlib.sha256(canonical(list(row)).encode()).hexdigest()
