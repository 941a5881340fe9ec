"""What went otherwise than planned, read from the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ...wording import count_of
from .audit import KEYED, LogEntry


@dataclass(frozen=True, slots=True)
class Departure:
    """One departure from the plan: when, of which reader (none: of the study), and what, as a sentence."""

    at: str
    reader: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the answers while readers were in the middle: when, at how many, and which export (none: analysed)."""

    at: str
    answers: int
    export: str

    @property
    def text(self) -> str:
        number = count_of(self.answers, "answer")
        how = f"exported ({self.export}, without the truth)" if self.export else "analysed"
        return f"Looked at on {self.at[:16].replace('T', ' ')} UTC, {number}: {how} while readers were in the middle."


def departures(log: Iterable[LogEntry], looks: Iterable[Look] = (), unkeyed: int = 0) -> list[Departure]:
    """Pauses with their lengths, readers added or withdrawn, an early close, looks, clock jumps; oldest first."""
    found = [Departure(look.at, None, look.text) for look in looks]
    paused_at: LogEntry | None = None
    for entry in log:
        if entry.event == "paused":
            paused_at = entry
        elif entry.event == "resumed" and paused_at is not None:
            found.append(Departure(paused_at.at, None, f"The study was paused for {_between(paused_at.at, entry.at)}."))
            paused_at = None
        elif entry.event == KEYED and unkeyed:
            text = f"Events 1 to {unkeyed} of the log were written before it had a key: who could change the "
            found.append(Departure(entry.at, None, f"{text}database could have changed them unseen."))
        elif text := _text(entry, json.loads(entry.details)):
            found.append(Departure(entry.at, entry.reader, text))
    if paused_at is not None:
        found.append(Departure(paused_at.at, None, "The study was paused, and not resumed."))
    return sorted(found, key=lambda departure: departure.at)


def _text(entry: LogEntry, details: dict) -> str:
    if entry.event == "reader added" and not details["planned"] and details["source"] != "simulated":
        return f"Reader '{entry.reader}' was added; the plan does not name them."
    if entry.event == "reader revoked":
        return f"Reader '{entry.reader}' was withdrawn by the investigator."
    if entry.event == "closed" and details["unfinished"]:
        return f"The study was closed before all had finished: {', '.join(details['unfinished'])}."
    if entry.event == "simulated":
        return "This is a rehearsal: its readers are simulated, and the study was marked so for good."
    if entry.event == "clock went back":
        return f"The server's clock was set back by {details['seconds']:.0f} s; times did not go back."
    return ""


def _between(start: str, end: str) -> str:
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
