"""Does a study's database hold what its log tells, and is the log whole?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from ...errors import StudyError
from ...record import sha256_file
from ..study import PROTOCOL_NAME, Study
from . import tables as t
from .audit import NO_EVENT, Fault, LogEntry, chain_fault, entries
from .keys import HEAD, Log, head_faults
from .replay import KEYS, LoggedRow, Replay

OUTSIDE = "it was changed outside phonybrains."


@dataclass(frozen=True)
class Verified:
    """A log played through, and all that does not fit in the order of events: in the log first, then in the tables."""

    replay: Replay
    faults: tuple[Fault, ...]

    @property
    def head(self) -> str:
        return self.replay.log[-1].head if self.replay.log else "0:"

    def check(self) -> None:
        """Raises StudyError naming the first event that does not fit."""
        for first in self.faults[:1]:
            more = f" ({len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            raise StudyError(f"audit log, {first.text}{more}")


def verify(connection: Connection, study: Study, own: Log, receipt: str | None = None) -> Verified:
    """Check the log against its key, its heads and a reader's receipt, then every row of the tables against the log.

    receipt: `N:HMAC` as readers and the investigator see it, of the HMAC at least 16 digits.
    Raises StudyError for a receipt that is none.
    """
    log = entries(connection)
    broken = chain_fault(log, own.key)
    found = [*filter(None, [broken]), *head_faults(log, own.heads.kept, own.heads.path.name)]
    if receipt is not None:
        match = HEAD.fullmatch(receipt.strip().lower())
        if not match:
            raise StudyError(f"'{receipt[:80]}' is not a head: give N:HMAC as it stands on a reader's last page.")
        found += head_faults(log, [(int(match[1]), match[2])], "the receipt")
    replay, others = Replay(log), list[Fault]()
    if not broken:
        others = [*replay.faults, *_protocol_faults(replay, study), *_table_faults(connection, replay)]
    return Verified(replay, tuple(fault for some in (found, others) for fault in sorted(some, key=lambda f: f.event)))


def _protocol_faults(replay: Replay, study: Study) -> list[Fault]:
    number, keyed = replay.unkeyed + 1, replay.keyed
    text = f"event {number}: tells another {PROTOCOL_NAME} than {study.folder / PROTOCOL_NAME}: {OUTSIDE}"
    same = keyed["protocol"] == study.hash and keyed["file"] == sha256_file(study.folder / PROTOCOL_NAME)
    return [] if same else [Fault(number, text)]


def _table_faults(connection: Connection, replay: Replay) -> list[Fault]:
    found: list[Fault] = []
    for name, key in KEYS.items():
        table = t.metadata.tables[name]
        actual = {row[key]: dict(row) for row in connection.execute(select(table)).mappings()}
        told = replay.rows[name]
        for value, row in told.items():
            place = f"{key} {str(value)[:32]}"
            if name in ("presentation", "answer"):
                place = f"position {replay.rows['presentation'][value].values['position']} ({key} {value})"
            found += _row_faults(replay.log, f"table '{name}', {place}", row, actual.get(value))
        for value in actual.keys() - told.keys():
            found.append(Fault(NO_EVENT, f"table '{name}', {key} {str(value)[:32]}: no event made this row; {OUTSIDE}"))
    return found


def _row_faults(log: Sequence[LogEntry], place: str, row: LoggedRow, actual: Mapping[str, Any] | None) -> list[Fault]:
    wrong = [(row.event, "is gone")]
    if actual is not None:
        wrong = [
            (row.changes.get(column, row.event), f"{column} is {actual[column]!r}, in the log {value!r}")
            for column, value in row.values.items()
            if actual[column] != value or type(actual[column]) is bytes
        ]
    return [Fault(event, f"{log[event - 1]}: {place}: {what}; {OUTSIDE}") for event, what in wrong]
