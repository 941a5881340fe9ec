"""What someone who has a study's database, but not the key of its log, could do to it, and what names it first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def attack(database: Path, *statements: str) -> None:
    """Run SQL on a database, or on a study's own in its folder, after all its guards are taken away."""
    with _connected(database) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()


def query(database: Path, statement: str) -> list[tuple]:
    with _connected(database) as connection:
        return connection.execute(statement).fetchall()


def _connected(database: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(database / "study.db" if database.is_dir() else database))


FIRST = "(SELECT id FROM presentation WHERE reader_id = 1 AND position = 2)"
SAID = f"UPDATE answer SET {{}} WHERE presentation_id = {FIRST}"
SHOWN = f"UPDATE presentation SET {{}} WHERE id = {FIRST}"
ATTACKS = {
    SAID.format("call = 'real'"): "answer, reader 1.*'answer', position 2.*call is 'real', in the log 'phony'",
    SAID.format("confidence = 99"): "position 2.*confidence is 99, in the log 2",
    SAID.format("confidence = NULL"): "position 2.*confidence is None, in the log 2",
    SAID.format("description = ''"): "position 2.*description is ''",
    SAID.format("marks = '[]'"): r"position 2.*marks is '\[\]'",
    SAID.format("seconds = 9"): "position 2.*seconds is 9.0, in the log 1.5",
    SAID.format("seconds = 'x'"): "position 2.*seconds",
    SAID.format("answered_at = '2020'"): "position 2.*answered_at is '2020'",
    SAID.format("call = x'70686f6e79'"): "position 2.*call is b'phony'",
    f"DELETE FROM answer WHERE presentation_id = {FIRST}": "table 'answer', position 2.*is gone",
    "INSERT INTO answer SELECT id, 'real', 1, '', '[]', 1, '2026' FROM presentation WHERE reader_id = 3 LIMIT 1": (
        "table 'answer'.*no event made this row"
    ),
    SAID.format(
        "presentation_id = (SELECT b.id FROM presentation a JOIN presentation b "
        "ON a.position = b.position AND b.reader_id = 3 WHERE a.id = presentation_id)"
    ): "answer, reader 1.*position 2.*is gone",
    SHOWN.format("kind = 'check'"): r"event \d+ \(reader added, reader 1.*'presentation', position 2.*kind is 'check'",
    SHOWN.format("case_id = 'c1'"): "position 2.*case_id is 'c1'",
    SHOWN.format("position = 99"): "position 2.*position is 99",
    SHOWN.format("position = 90, reader_id = 2"): "position 2.*position is 90",
    "DELETE FROM presentation WHERE reader_id = 3 AND position = 5": "position 5.*is gone",
    "INSERT INTO presentation VALUES ('f', 3, 77, 'c', 'test')": "id f: no event made",
    "UPDATE reader SET source = 'imported' WHERE id = 2": "reader added, reader 2.*source is 'imported'",
    "UPDATE reader SET name = 'Dr X' WHERE id = 2": "'reader', id 2: name is 'Dr X'",
    "UPDATE reader SET added_at = '2020' WHERE id = 2": "id 2: added_at is '2020'",
    "UPDATE reader SET finished_at = NULL WHERE id = 2": r"\(finished, reader 2.*finished_at is None",
    "UPDATE reader SET revoked_at = NULL WHERE id = 3": r"\(reader revoked, reader 3.*revoked_at",
    "UPDATE reader SET revoked_at = '2026' WHERE id = 1": "reader 1.*revoked_at is '2026', in the log None",
    "DELETE FROM reader WHERE id = 3": "'reader', id 3: is gone",
    "INSERT INTO reader VALUES (9, 'x', '2026', NULL, NULL, 'invited')": "'reader', id 9: no event",
    "UPDATE study SET closed_at = NULL": r"\(closed, .*'study', id 1: closed_at is None",
    "UPDATE study SET closed_at = '2020'": "closed_at is '2020'",
    "UPDATE study SET paused = 1": r"\(resumed.*paused is True, in the log False",
    "UPDATE study SET name = 'another'": "name is 'another'",
    "UPDATE study SET created_at = '2020'": "created_at is '2020'",
    "UPDATE study SET protocol_hash = 'x'": "protocol_hash is 'x'",
    "DELETE FROM study": "'study', id 1: is gone",
    "UPDATE invitation SET expires_at = '2099' WHERE reader_id = 1": "link made, reader 1.*expires_at",
    "UPDATE invitation SET revoked_at = NULL WHERE reader_id = 3": "reader revoked.*'invitation'",
    "UPDATE invitation SET reader_id = NULL WHERE reader_id = 1": "'invitation'.*reader_id is None",
    "INSERT INTO invitation VALUES (99, 'abc', 1, '2026', '2099', NULL)": "token_sha256 abc: no event",
    "UPDATE web_session SET expires_at = '2099' WHERE reader_id = 2": "session begun, reader 2",
    "UPDATE web_session SET ended_at = NULL WHERE reader_id = 3": "reader revoked.*ended_at is None",
    "DELETE FROM web_session WHERE reader_id = 1": "session begun, reader 1.*is gone",
    "UPDATE audit SET details = replace(details, 'phony', 'real') WHERE event = 'answer'": "HMAC does not fit",
    "UPDATE audit SET at = '2020' WHERE event = 'closed'": r"\(closed, 2020\): its HMAC",
    "UPDATE audit SET event = 'nothing' WHERE event = 'paused'": r"\(nothing, .*HMAC",
    "UPDATE audit SET reader = 'reader 2' WHERE id = 3": r"event 3 \(.*reader 2.*HMAC",
    "UPDATE audit SET hash = upper(hash) WHERE id = 5": "event 5 .*HMAC",
    "UPDATE audit SET details = x'00' WHERE id = 5": "event 5 .*HMAC",
    "UPDATE audit SET details = replace(details, 'days\":', 'days\":99999999999') WHERE event = 'link made'": "HMAC",
    "DELETE FROM audit WHERE id = 20": "event 20 is missing",
    "DELETE FROM audit WHERE id = 2": "event 2 is missing",
    "DELETE FROM audit WHERE id > 70": r"event 71 is missing: log-\w+\.head knows \d+ events",
    "DELETE FROM audit WHERE event = 'server stopped'": r"event \d+ is missing: log",
    "INSERT INTO audit SELECT max(id) + 1, '2026', 'answer', 'reader 1', '{}', 'x', 'y' FROM audit": (
        r"\(answer, reader 1, 2026\): its HMAC"
    ),
}
"""What is done to the database, and what `verify` says of it first."""
