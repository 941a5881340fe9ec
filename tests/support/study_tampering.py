"""What someone who has a study's database, but not the key of its log, could do to it, and what names it first."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def attack(folder: Path, *statements: str) -> None:
    """Run SQL on the database after all its guards are taken away."""
    connection = sqlite3.connect(folder / "study.db")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        assert connection.execute(statement).rowcount != 0, statement
    connection.commit()
    connection.close()


def query(folder: Path, statement: str) -> list[tuple]:
    connection = sqlite3.connect(folder / "study.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


FIRST = "(SELECT id FROM presentation WHERE reader_id = 1 AND position = 2)"
ONE_ROW = f"WHERE presentation_id = {FIRST}"
ATTACKS = {
    "answer.call": (
        f"UPDATE answer SET call = 'real' {ONE_ROW}",
        "answer, reader 1.*'answer', position 2.*call is 'real'",
    ),
    "answer.confidence": (f"UPDATE answer SET confidence = 99 {ONE_ROW}", "position 2.*confidence is 99, in the log 2"),
    "answer.description": (f"UPDATE answer SET description = '' {ONE_ROW}", "position 2.*description is ''"),
    "answer.marks": (f"UPDATE answer SET marks = '[]' {ONE_ROW}", r"position 2.*marks is '\[\]'"),
    "answer.seconds": (f"UPDATE answer SET seconds = 9 {ONE_ROW}", "position 2.*seconds is 9.0, in the log 1.5"),
    "answer.seconds as text": (f"UPDATE answer SET seconds = 'x' {ONE_ROW}", "position 2.*seconds"),
    "answer.answered_at": (f"UPDATE answer SET answered_at = '2020' {ONE_ROW}", "position 2.*answered_at is '2020'"),
    "answer as bytes": (f"UPDATE answer SET call = x'70686f6e79' {ONE_ROW}", "position 2.*call is b'phony'"),
    "answer deleted": (f"DELETE FROM answer {ONE_ROW}", "position 2.*is gone"),
    "answer inserted": (
        "INSERT INTO answer SELECT id, 'real', 1, '', '[]', 1, '2026' FROM presentation WHERE reader_id = 3 LIMIT 1",
        "table 'answer'.*no event made this row",
    ),
    "answers moved to others": (
        "UPDATE answer SET presentation_id = (SELECT b.id FROM presentation a JOIN presentation b "
        "ON a.position = b.position AND b.reader_id = 3 WHERE a.id = presentation_id) "
        f"{ONE_ROW}",
        "answer, reader 1.*position 2.*is gone",
    ),
    "presentation.kind": (
        f"UPDATE presentation SET kind = 'check' WHERE id = {FIRST}",
        r"event \d+ \(reader added, reader 1.*'presentation', position 2.*kind is 'check'",
    ),
    "presentation.case_id": (
        f"UPDATE presentation SET case_id = 'c1' WHERE id = {FIRST}",
        "position 2.*case_id is 'c1'",
    ),
    "presentation.position": (
        f"UPDATE presentation SET position = 99 WHERE id = {FIRST}",
        "position 2.*position is 99",
    ),
    "presentation.reader_id": (
        f"UPDATE presentation SET position = 90, reader_id = 2 WHERE id = {FIRST}",
        "position 2.*position is 90",
    ),
    "presentation deleted": ("DELETE FROM presentation WHERE reader_id = 3 AND position = 5", "position 5.*is gone"),
    "presentation inserted": ("INSERT INTO presentation VALUES ('f', 3, 77, 'c', 'test')", "id f: no event made"),
    "reader.source": (
        "UPDATE reader SET source = 'imported' WHERE id = 2",
        "reader added, reader 2.*source is 'imported'",
    ),
    "reader.name": ("UPDATE reader SET name = 'Dr X' WHERE id = 2", "'reader', id 2: name is 'Dr X'"),
    "reader.added_at": ("UPDATE reader SET added_at = '2020' WHERE id = 2", "id 2: added_at is '2020'"),
    "reader.finished_at": (
        "UPDATE reader SET finished_at = NULL WHERE id = 2",
        r"\(finished, reader 2.*finished_at is None",
    ),
    "reader.revoked_at": (
        "UPDATE reader SET revoked_at = NULL WHERE id = 3",
        r"\(reader revoked, reader 3.*revoked_at",
    ),
    "reader revoked": (
        "UPDATE reader SET revoked_at = '2026' WHERE id = 1",
        "reader 1.*revoked_at is '2026', in the log None",
    ),
    "reader deleted": ("DELETE FROM reader WHERE id = 3", "'reader', id 3: is gone"),
    "reader inserted": (
        "INSERT INTO reader VALUES (9, 'x', '2026', NULL, NULL, 'invited')",
        "'reader', id 9: no event",
    ),
    "study.closed_at": ("UPDATE study SET closed_at = NULL", r"\(closed, .*'study', id 1: closed_at is None"),
    "study.closed_at moved": ("UPDATE study SET closed_at = '2020'", "closed_at is '2020'"),
    "study.paused": ("UPDATE study SET paused = 1", r"\(resumed.*paused is True, in the log False"),
    "study.name": ("UPDATE study SET name = 'another'", "name is 'another'"),
    "study.created_at": ("UPDATE study SET created_at = '2020'", "created_at is '2020'"),
    "study.protocol_hash": ("UPDATE study SET protocol_hash = 'x'", "protocol_hash is 'x'"),
    "study deleted": ("DELETE FROM study", "'study', id 1: is gone"),
    "invitation.expires_at": (
        "UPDATE invitation SET expires_at = '2099' WHERE reader_id = 1",
        "link made, reader 1.*expires_at",
    ),
    "invitation.revoked_at": (
        "UPDATE invitation SET revoked_at = NULL WHERE reader_id = 3",
        "reader revoked.*'invitation'",
    ),
    "invitation.reader_id": (
        "UPDATE invitation SET reader_id = NULL WHERE reader_id = 1",
        "'invitation'.*reader_id is None",
    ),
    "invitation inserted": (
        "INSERT INTO invitation VALUES (99, 'abc', 1, '2026', '2099', NULL)",
        "token_sha256 abc: no event",
    ),
    "web_session.expires_at": (
        "UPDATE web_session SET expires_at = '2099' WHERE reader_id = 2",
        "session begun, reader 2",
    ),
    "web_session.ended_at": (
        "UPDATE web_session SET ended_at = NULL WHERE reader_id = 3",
        "reader revoked.*ended_at is None",
    ),
    "web_session deleted": ("DELETE FROM web_session WHERE reader_id = 1", "session begun, reader 1.*is gone"),
    "event.details": (
        "UPDATE audit SET details = replace(details, 'phony', 'real') WHERE event = 'answer'",
        "HMAC does not fit",
    ),
    "event.at": ("UPDATE audit SET at = '2020' WHERE event = 'closed'", r"\(closed, 2020\): its HMAC"),
    "event.event": ("UPDATE audit SET event = 'nothing' WHERE event = 'paused'", r"\(nothing, .*HMAC"),
    "event.reader": ("UPDATE audit SET reader = 'reader 2' WHERE id = 3", r"event 3 \(.*reader 2.*HMAC"),
    "event.hash": ("UPDATE audit SET hash = upper(hash) WHERE id = 5", "event 5 .*HMAC"),
    "event as bytes": ("UPDATE audit SET details = x'00' WHERE id = 5", "event 5 .*HMAC"),
    "event deleted": ("DELETE FROM audit WHERE id = 20", "event 20 is missing"),
    "first event deleted": ("DELETE FROM audit WHERE id = 2", "event 2 is missing"),
    "tail deleted": ("DELETE FROM audit WHERE id > 70", r"event 71 is missing: log-\w+\.head knows \d+ events"),
    "last event deleted": ("DELETE FROM audit WHERE event = 'server stopped'", r"event \d+ is missing: log"),
    "event inserted": (
        "INSERT INTO audit SELECT max(id) + 1, '2026', 'answer', 'reader 1', '{}', 'x', 'y' FROM audit",
        r"\(answer, reader 1, 2026\): its HMAC",
    ),
}
