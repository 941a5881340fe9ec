"""What a study's tables have to hold, and what happened in it, told by its log alone.

Every change of the tables is an event that says all of it, so that the tables can be made anew from the log. What older
versions did not write into it was carried over, row by row, when the log got its key.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from ..study import Answer, Mark
from .audit import KEYED, SHOWN, Fault, LogEntry, entries
from .clock import later
from .departures import Departure, Look, departures
from .readers import Reader, state_of

KEYS = {
    "study": "id",
    "reader": "id",
    "presentation": "id",
    "answer": "presentation_id",
    "invitation": "token_sha256",
    "web_session": "token_sha256",
}
"""The tables a log tells of, and what a row goes by."""


@dataclass(slots=True)
class LoggedRow:
    """A row as the log tells it: its values, the event it is of, and the later ones that changed a column."""

    event: int
    values: dict[str, Any]
    changes: dict[str, int] = field(default_factory=dict)

    def change(self, event: int, **values: Any) -> None:
        """Set columns that have no value yet."""
        for name, value in values.items():
            if self.values.get(name) is None or isinstance(value, bool):
                self.values[name], self.changes[name] = value, event


class Replay:
    """A log played through once. Raises nothing: what cannot be is among its `faults`."""

    def __init__(self, log: Sequence[LogEntry]) -> None:
        self.log = log
        self.rows: dict[str, dict[Any, LoggedRow]] = {table: {} for table in KEYS}
        self.faults: list[Fault] = []
        self.looks: list[Look] = []
        self.unkeyed, self.simulated = 0, False
        self.keyed: dict[str, Any] = {}
        self._readers: dict[str | None, LoggedRow] = {}
        self._study = LoggedRow(0, {})
        self._said: dict[tuple[str, int], LoggedRow] = {}
        for entry in log:
            try:
                self._apply(entry, json.loads(entry.details))
            except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
                self.faults.append(Fault(entry.id, f"{entry}: cannot be read ({type(error).__name__}: {error})."))
        self._place_answers()

    def _apply(self, entry: LogEntry, told: dict[str, Any]) -> None:
        for token in told.get("ended", ()):
            self.rows["web_session"][token].change(entry.id, ended_at=entry.at)
        match entry.event:
            case "reader added":
                self._add_reader(entry, told)
            case "answer":
                self._said[str(entry.reader), told["position"]] = LoggedRow(entry.id, told)
            case "link made" if "token" in told:
                self._revoke_links(entry)
                times = {"made_at": entry.at, "expires_at": later(entry.at, days=told["days"]), "revoked_at": None}
                self._put(entry, "invitation", self._access(entry, told) | times)
            case "session begun" if "token" in told:
                times = {"begun_at": entry.at, "expires_at": told["expires_at"], "ended_at": None}
                self._put(entry, "web_session", self._access(entry, told) | times | {"device": told["device"]})
            case "finished":
                self._readers[entry.reader].change(entry.id, finished_at=entry.at)
            case "reader revoked":
                self._readers[entry.reader].change(entry.id, revoked_at=entry.at)
                self._revoke_links(entry)
            case "paused" | "resumed":
                self._study.change(entry.id, paused=entry.event == "paused")
            case "closed":
                self._study.change(entry.id, closed_at=entry.at)
            case "simulated":
                self.simulated = True
            case "looked at" | "exported" if told.get("file") in (None, "answers.csv", "audit.csv"):
                if self.unfinished:
                    self.looks.append(Look(entry.at, len(self._said), told.get("file", "")))
            case _ if entry.event in (KEYED, "carried over"):
                self._carry(entry, told)

    def _add_reader(self, entry: LogEntry, told: dict[str, Any]) -> None:
        times = {"added_at": entry.at, "finished_at": None, "revoked_at": None}
        row = LoggedRow(entry.id, {"id": told.get("number"), "name": entry.reader, "source": told["source"]} | times)
        self._readers[entry.reader] = row
        if "number" in told:
            self.rows["reader"][told["number"]] = row
            for shown in told["presentations"]:
                values = dict(zip(SHOWN, shown, strict=True)) | {"reader_id": told["number"]}
                self._put(entry, "presentation", values)

    def _carry(self, entry: LogEntry, told: dict[str, Any]) -> None:
        """Take rows as they were when the log got its key; what older events say of them must agree."""
        if entry.event == KEYED:
            self.keyed, self.unkeyed = told, entry.id - 1
        for table, rows in told["rows"].items():
            for values in rows:
                before = self._study if table == "study" else self._readers.get(values.get("name"), LoggedRow(0, {}))
                for name, value in before.values.items():
                    if table in ("study", "reader") and name != "id" and values[name] != value:
                        event = before.changes.get(name, before.event)
                        told_before = f"event {event}: tells {name} {value!r} of {table} '{values['name']}', but"
                        when = f"in the database when the log got its key (event {entry.id})."
                        self.faults.append(Fault(event, f"{told_before} {values[name]!r} was found {when}"))
                row = self._put(entry, table, values)
                if table == "study":
                    self._study = row
                elif table == "reader":
                    self._readers[values["name"]] = row

    def _put(self, entry: LogEntry, table: str, values: dict[str, Any]) -> LoggedRow:
        row = self.rows[table][values[KEYS[table]]] = LoggedRow(entry.id, values)
        return row

    def _access(self, entry: LogEntry, told: dict[str, Any]) -> dict[str, Any]:
        return {"token_sha256": told["token"], "reader_id": self._number(entry)}

    def _number(self, entry: LogEntry) -> int | None:
        return None if entry.reader is None else self._readers[entry.reader].values["id"]

    def _revoke_links(self, entry: LogEntry) -> None:
        for row in self.rows["invitation"].values():
            if row.values["reader_id"] == self._number(entry):
                row.change(entry.id, revoked_at=entry.at)

    def _place_answers(self) -> None:
        shown = {(row.values["reader_id"], row.values["position"]): row for row in self.rows["presentation"].values()}
        for (reader, position), said in self._said.items():
            known = self._readers.get(reader)
            showing = known and shown.get((known.values["id"], position))
            values = {name: value for name, value in said.values.items() if name not in ("position", "case_id")}
            if not showing or showing.values["case_id"] != said.values.get("case_id"):
                place = f"{reader}, position {position}, to an image that was not shown there"
                self.faults.append(Fault(said.event, f"event {said.event}: is the answer of {place}."))
            else:
                key = showing.values["id"]
                self.rows["answer"][key] = LoggedRow(said.event, values | {"presentation_id": key})

    # what the analysis reads

    @property
    def unfinished(self) -> list[str]:
        """The invited readers who may still answer."""
        rows = [] if self._study.values.get("closed_at") else self.rows["reader"].values()
        own = (row.values for row in rows)
        return [v["name"] for v in own if v["source"] == "invited" and not (v["finished_at"] or v["revoked_at"])]

    def answers(self, kinds: Iterable[str] | None = None) -> list[Answer]:
        """The final answers, by reader and position; `kinds` keeps some of training, test, repeat and check."""
        wanted, found = None if kinds is None else set(kinds), {}
        for key, row in self.rows["answer"].items():
            shown = self.rows["presentation"][key].values
            if wanted is None or shown["kind"] in wanted:
                said: dict[str, Any] = {name: value for name, value in row.values.items() if name != "presentation_id"}
                said["marks"] = tuple(Mark(x, y) for x, y in json.loads(said["marks"]))
                place = {name: shown[name] for name in ("position", "kind", "case_id")}
                reader = self.rows["reader"][shown["reader_id"]].values
                found[reader["id"], shown["position"]] = Answer(reader["name"], **place, **said)
        return [answer for _, answer in sorted(found.items())]

    def readers(self) -> list[Reader]:
        """The readers, in the order in which they were added."""
        shown = {key: row.values["reader_id"] for key, row in self.rows["presentation"].items()}
        totals, times = Counter(shown.values()), defaultdict[int, list[str]](list)
        for key, row in self.rows["answer"].items():
            times[shown[key]].append(row.values["answered_at"])
        begun = {row.values["reader_id"] for row in self.rows["web_session"].values()}
        found = []
        for number, row in sorted(self.rows["reader"].items()):
            v, own = row.values, times[number]
            state = state_of(v["revoked_at"], v["finished_at"], bool(own) or number in begun)
            ends = v["added_at"], v["finished_at"], v["revoked_at"], max(own, default=None)
            found.append(Reader(number, v["name"], v["source"], state, len(own), totals[number], *ends))
        return found

    def departures(self) -> list[Departure]:
        """What went otherwise than planned, oldest first."""
        return departures(self.log, self.looks, self.unkeyed)


def final_answers(connection: Connection, kinds: Sequence[str] | None = None) -> list[Answer]:
    """All answers as the log tells them, by reader and position."""
    return Replay(entries(connection)).answers(kinds)
