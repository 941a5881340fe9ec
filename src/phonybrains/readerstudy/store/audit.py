"""The audit log: append-only events, each with an HMAC over itself and the one before it.

The key lies outside the database (`keys.py`). Events of older versions are chained by SHA-256 alone; the first event
that is keyed, `log keyed`, covers them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, select

from . import tables as t

START = "0" * 64
KEYED = "log keyed"
SHOWN = "id", "position", "case_id", "kind"
"""What an event that adds a reader tells of each presentation."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of the audit log; `details` is canonical JSON."""

    id: int
    at: str
    event: str
    reader: str | None
    details: str
    previous: str
    hash: str

    @property
    def head(self) -> str:
        """What stands for the log up to here: how many events, and the last one's HMAC."""
        return f"{self.id}:{self.hash}"

    def __str__(self) -> str:
        return f"event {self.id} ({', '.join(filter(None, (self.event, self.reader, self.at)))})"


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not fit, and the number of the event it is about (`NO_EVENT`: none)."""

    event: int
    text: str


NO_EVENT = 2**62
BEFORE_ALL = LogEntry(0, "", "", None, "{}", "", START)
_select = select(*(t.audit.c[name] for name in LogEntry.__slots__))
_newest = _select.order_by(t.audit.c.id.desc()).limit(1)


def canonical(value: Any) -> str:
    """JSON in which equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)


def entry_after(
    last: LogEntry, at: str, event: str, reader: str | None, details: dict[str, Any], key: bytes = b""
) -> LogEntry:
    """The entry that follows `last` in the chain; without a key, as older versions wrote it."""
    row = last.id + 1, at, event, reader, canonical(details), last.hash
    return LogEntry(*row, _digest(key, row))


def newest(connection: Connection) -> LogEntry:
    """The last entry, or the one before all where the log is empty."""
    row = connection.execute(_newest).first()
    return LogEntry(*row) if row else BEFORE_ALL


def entries(connection: Connection, start: int = 0) -> list[LogEntry]:
    """All entries from number `start` on, oldest first."""
    return [LogEntry(*row) for row in connection.execute(_select.where(t.audit.c.id >= start).order_by(t.audit.c.id))]


def first(connection: Connection, event: str, reader: str | None = None) -> LogEntry | None:
    """The oldest entry of an event, of a reader where one is given."""
    query = _select.where(t.audit.c.event == event).order_by(t.audit.c.id).limit(1)
    row = connection.execute(query if reader is None else query.where(t.audit.c.reader == reader)).first()
    return LogEntry(*row) if row else None


def chain_fault(log: Iterable[LogEntry], key: bytes, last: LogEntry = BEFORE_ALL) -> Fault | None:
    """The first entry that does not follow from `last` and those before it; none if all do."""
    own_key = b"" if last is BEFORE_ALL else key
    for entry in log:
        if entry.id != last.id + 1:
            return Fault(last.id + 1, f"event {last.id + 1} is missing: it was removed outside phonybrains.")
        own_key = key if entry.event == KEYED else own_key
        digest = _digest(own_key, astuple(entry)[:-1])
        if entry.previous != last.hash or not hmac.compare_digest(str(entry.hash), digest):
            wrong = f"{entry}: its {'HMAC' if own_key else 'hash'} does not fit"
            return Fault(entry.id, f"{wrong}: it was changed, put in or moved outside phonybrains.")
        last = entry
    return None


def _digest(key: bytes, row: Sequence[object]) -> str:
    text = canonical(list(row)).encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest() if key else hashlib.sha256(text).hexdigest()
