"""Time that never runs backwards in a study, whatever the machine's clock does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...errors import StudyError

NOTED = timedelta(seconds=1)
REFUSED = timedelta(minutes=1)


def as_text(time: datetime) -> str:
    """UTC, ISO 8601 with milliseconds: `2026-01-31T12:00:00.000+00:00`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def later(text: str, **duration: float) -> str:
    """The time so much after one."""
    return as_text(datetime.fromisoformat(text) + timedelta(**duration))


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time of a transaction, by how many seconds the clock had jumped back, and what it read."""

    text: str
    back: float
    read: datetime


class Clock:
    """Stamps that do not go below the last one; `read` is the machine's clock."""

    def __init__(self, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = read
        self._seen = read()

    def now(self) -> str:
        return as_text(self._read())

    def check_start(self, newest: str) -> None:
        """Raises StudyError if the newest entry of a log lies more than a minute ahead of the clock."""
        now = self._read()
        try:
            ahead = newest and datetime.fromisoformat(newest) - now > REFUSED
        except (TypeError, ValueError):
            no_time = f"the study's last entry is of '{newest!s:.40}', which is no time"
            restore = "Restore the database from your backup."
            raise StudyError(f"{no_time}: it was changed outside phonybrains. {restore}") from None
        if ahead:
            clocks = f"this machine's clock says {as_text(now)}, but the study's last entry is of {newest}"
            raise StudyError(f"{clocks}. Set the clock right, then start again; nothing was changed.")

    def stamp(self, last: str) -> Stamp:
        """The time of a transaction after the one at `last`."""
        now = self._read()
        back = (self._seen - now).total_seconds()
        return Stamp(max(as_text(now), last), back if back > NOTED.total_seconds() else 0.0, now)

    def used(self, stamp: Stamp) -> None:
        """Tell that a stamp's transaction is done: a jump back is told once, and not lost with a failure."""
        self._seen = stamp.read
