"""Databases of other versions: older ones are copied and brought up to date, newer and foreign ones left alone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from phonybrains.errors import StudyError
from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.store import audit, open_store
from phonybrains.readerstudy.store.clock import Clock
from phonybrains.readerstudy.store.database import connect, parse_url
from phonybrains.readerstudy.store.migrate import MIGRATIONS, known_revisions, upgrade
from phonybrains.readerstudy.store.tables import metadata
from phonybrains.readerstudy.study import Study
from tests.support.study_tampering import attack, query

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT_NOON = Clock(lambda: NOON)
BACKUP = "answers.db.2026-01-31T12-00-00.0001.backup"


def write_first_version(engine: Engine, study: Study) -> None:
    """A database as the first version left it: one reader, invited, with one answer."""
    upgrade(engine, "0001")
    at = "2026-01-31T11:00:00.000+00:00"
    first = presentations(study, "reader 1")[0]
    said = {"call": "real", "confidence": 60, "description": "old", "marks": "[]", "seconds": 2.0, "answered_at": at}
    added = audit.entry_after(audit.BEFORE_ALL, at, "reader added", "reader 1", {"planned": True, "source": "invited"})
    details = {"position": 1, "case_id": first.case_id, **said}
    answered = audit.entry_after(added, at, "answer", "reader 1", details)
    rows = {
        "study": {"id": 1, "protocol_hash": study.hash, "name": "x", "created_at": at, "paused": False},
        "reader": {"id": 1, "name": "reader 1", "added_at": at},
        "presentation": {"id": "a" * 32, "reader_id": 1, "position": 1, "case_id": first.case_id, "kind": first.kind},
        "answer": {"presentation_id": "a" * 32, **said},
    }
    with engine.execution_options(writes=True).begin() as connection:
        for table, row in rows.items():
            names = ", ".join(row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES (:{names.replace(', ', ', :')})"), row)
        for entry in (added, answered):
            row = {name: getattr(entry, name) for name in audit.LogEntry.__slots__}
            connection.execute(metadata.tables["audit"].insert(), row)


@pytest.fixture
def old(study: Study, tmp_path: Path) -> Path:
    """The file of such a database."""
    engine = connect(parse_url(f"sqlite:///{tmp_path / 'answers.db'}"))
    write_first_version(engine, study)
    engine.dispose()
    return tmp_path / "answers.db"


def test_migrations_lead_to_the_tables_the_code_uses(tmp_path: Path):
    """After all migrations the database has exactly the tables that `tables.py` describes."""
    engine = connect(parse_url(f"sqlite:///{tmp_path / 'answers.db'}"))
    upgrade(engine, "head")
    with engine.connect() as connection:
        options = {"version_table": "phonybrains_version", "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_an_older_database_is_copied_and_brought_up_to_date(study: Study, old: Path):
    """The answers are there with what is new, the log goes on from the old one, and the copy is as it was before.

    Two events without a key: `verify` and the report say so, and what they tell is what the tables hold.
    """
    with open_store(study, f"sqlite:///{old}", clock=AT_NOON) as store:
        assert [(a.reader, a.call, a.description) for a in store.answers()] == [("reader 1", "real", "old")]
        assert [(r.name, r.source) for r in store.readers()] == [("reader 1", "invited")]
        events = ["reader added", "answer", "log keyed", "carried over", "migrated"]
        assert [entry.event for entry in store.audit()] == events
        found = store.verify()
        assert (found.faults, found.replay.unkeyed) == ((), 2)
        unkeyed = "Events 1 to 2 of the log were written before it had a key"
        assert store.departures()[0].text.startswith(unkeyed)
        brought = "The database was of an older version (0001) and was brought up to date; a copy of it lies beside it."
        assert store.notices == [brought]
    assert query(old.with_name(BACKUP), "SELECT version_num FROM phonybrains_version") == [("0001",)]
    assert query(old.with_name(BACKUP), "SELECT description FROM answer") == [("old",)]
    with open_store(study, f"sqlite:///{old}", clock=AT_NOON) as store:
        assert store.notices == []
    assert [path.name for path in old.parent.glob("*.backup")] == [BACKUP]


def test_reading_an_older_database_migrates_it_too(study: Study, old: Path):
    """The analysis of answers of an older version needs no server in between."""
    with open_store(study, f"sqlite:///{old}", read_only=True, clock=AT_NOON) as store:
        assert len(store.answers()) == 1
    assert old.with_name(BACKUP).exists()


def test_a_newer_database_is_left_alone(study: Study, old: Path):
    """A revision from the future is refused by name, and not a byte changes."""
    attack(old, "UPDATE phonybrains_version SET version_num = '9999'")
    query(old, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = old.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StudyError, match=r"newer phonybrains \(revision 9999; this one knows 0004\)"):
            open_store(study, f"sqlite:///{old}", read_only=read_only)
    assert old.read_bytes() == before
    assert list(old.parent.glob("*.backup")) == []


def test_a_migration_that_fails_leaves_the_old_database(study: Study, old: Path):
    """If the last step fails, the steps before it are undone as well, and the message names the file."""
    attack(old, "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT 1; END")
    with pytest.raises(StudyError, match=r"answers\.db: .*audit_no_delete"):
        open_store(study, f"sqlite:///{old}", clock=AT_NOON)
    assert query(old, "SELECT version_num FROM phonybrains_version") == [("0001",)]
    assert "source" not in [row[1] for row in query(old, "PRAGMA table_info(reader)")]
    assert old.with_name(BACKUP).exists()


def test_without_a_backup_nothing_is_migrated(study: Study, old: Path):
    """If the copy cannot be made, the database stays as it was."""
    old.with_name(BACKUP).mkdir()
    with pytest.raises(StudyError, match="the backup failed"):
        open_store(study, f"sqlite:///{old}", clock=AT_NOON)
    assert query(old, "SELECT version_num FROM phonybrains_version") == [("0001",)]


def test_a_clock_behind_an_older_database_stops_before_the_backup(study: Study, old: Path):
    """With the clock wrong, not even the copy is made."""
    with pytest.raises(StudyError, match="Set the clock right"):
        open_store(study, f"sqlite:///{old}", clock=Clock(lambda: NOON.replace(hour=10)))
    assert list(old.parent.glob("*.backup")) == []


def test_foreign_files_are_refused(study: Study, tmp_path: Path):
    """A database of something else, and a file that is none, are refused by name and stay as they are."""
    other = tmp_path / "other.db"
    attack(other, "CREATE TABLE recipes (name TEXT)")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at\n" * 20)
    for name, message in (("other.db", "holds other tables"), ("text.db", "file is not a database")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(StudyError, match=rf"{name}: .*{message}"):
            open_store(study, f"sqlite:///{tmp_path / name}")
        if name == "text.db":
            assert (tmp_path / name).read_bytes() == before
    assert query(other, "SELECT name FROM sqlite_master") == [("recipes",)]


def test_revisions_are_in_order():
    """The revisions lead from one to the next, and the names of the files say which they are."""
    steps = reversed(list(ScriptDirectory(MIGRATIONS).walk_revisions()))
    assert known_revisions() == [step.revision for step in steps] == ["0001", "0002", "0003", "0004"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("UPDATE reader SET finished_at = '2026'", "", "event 1: tells finished_at None of reader .*, but '2026'"),
        ("UPDATE answer SET call = 'phony'", "", r"event 2 \(answer, reader 1.*call is 'phony', in the log 'real'"),
        ("UPDATE audit SET reader = 'reader 2' WHERE id = 2", "", "event 2 .*its hash does not fit"),
        ("DELETE FROM audit WHERE id = 1", "", "event 1 is missing"),
        ("", "UPDATE presentation SET kind = 'check'", r"event 4 \(carried over, reader 1.*kind is 'check'"),
        ("", "UPDATE reader SET source = 'imported'", r"event 4 \(carried over, reader 1.*source is 'imported'"),
        ("", "DELETE FROM audit WHERE id < 3", "event 1 is missing"),
    ],
)
def test_changes_before_and_after_the_log_got_its_key_are_named(
    study: Study, old: Path, before: str, after: str, message: str
):
    """What the old events tell binds the old rows; what they do not tell is bound from the moment of the key on."""
    attack(old, *filter(None, [before]))
    open_store(study, f"sqlite:///{old}", clock=AT_NOON).close()
    attack(old, *filter(None, [after]))
    with open_store(study, f"sqlite:///{old}", read_only=True) as store, pytest.raises(StudyError, match=message):
        store.verify_audit()


def test_an_old_part_chained_anew_does_not_fit_the_key(study: Study, old: Path):
    """After the log has its key, its unkeyed events cannot be forged either: the first keyed one covers them."""
    open_store(study, f"sqlite:///{old}", clock=AT_NOON).close()
    with open_store(study, f"sqlite:///{old}", read_only=True) as store:
        first, second = store.audit()[:2]
    told = json.loads(second.details) | {"call": "phony"}
    forged = audit.entry_after(first, second.at, second.event, second.reader, told)
    attack(old, f"UPDATE audit SET details = '{forged.details}', hash = '{forged.hash}' WHERE id = 2")
    with open_store(study, f"sqlite:///{old}", read_only=True) as store:
        found = store.verify().faults
    assert re.match(r"event 3 \(log keyed.*HMAC does not fit", found[0].text)


@pytest.mark.parametrize("at", ["2020", "2020-01-01", "soon"])
def test_a_last_entry_without_a_time_is_an_error_in_one_line(study: Study, old: Path, at: str):
    """A time that was changed into none stops the start with a sentence."""
    attack(old, f"UPDATE audit SET at = '{at}' WHERE id = 2")
    with pytest.raises(StudyError, match=rf"last entry is of '{at}', which is no time"):
        open_store(study, f"sqlite:///{old}", clock=AT_NOON)
