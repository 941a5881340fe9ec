"""The same store on a real PostgreSQL, which the test starts; what only PostgreSQL can do wrong besides."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from phonybrains.errors import StudyError
from phonybrains.readerstudy.store import Store, open_store
from phonybrains.readerstudy.store.database import connect, parse_url
from phonybrains.readerstudy.store.errors import BusyError, LostError
from phonybrains.readerstudy.study import Study
from tests.readerstudy import test_store
from tests.readerstudy.test_migrations import write_first_version
from tests.readerstudy.test_store import answers_of
from tests.support.postgresql import postgresql
from tests.support.study_web import served

pytestmark = pytest.mark.needs("postgresql")
SAME = (
    *("a_failure_in_a_shared_transaction_stays_alone", "an_answer_is_final", "answers_of_another_study_are_refused"),
    *("departures_from_the_plan", "imported_readers_come_whole_or_not_at_all", "impossible_answers_are_refused"),
    *("readers_go_from_invited_to_finished", "the_database_itself_is_append_only", "what_is_recorded_is_read_back"),
)
globals().update({f"test_{name}": getattr(test_store, f"test_{name}") for name in SAME})
names = (f"study_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # not in pytest's folder, which other users cannot enter
    folder.chmod(0o755)
    try:
        with postgresql(folder / "server") as url:
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str) -> str:
    """The URL of a new, empty database."""
    name = next(names)
    with behind(f"{server}/postgres") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"{server}/{name}"


@pytest.fixture
def store(study: Study, database: str) -> Iterator[Store]:
    with open_store(study, database) as opened:
        opened.add_reader("reader 1")
        yield opened


@contextmanager
def behind(url: str) -> Iterator[Connection]:
    """A connection of somebody else's, each statement of which counts at once."""
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_second_server_is_refused(study: Study, database: str, tmp_path: Path):
    """One study has one server, also where the second has a copy of its folder on another machine; others can look."""
    copy = Study.open(shutil.copytree(study.folder, tmp_path / "study"))
    with open_store(study, database) as first:
        first.add_reader("reader 1")
        for other in (study, copy):
            with pytest.raises(StudyError, match="is in use by another phonybrains"):
                open_store(other, database)
        with open_store(study, database, read_only=True) as looking:
            looking.look(0)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(first.record, [answers_of(study, "reader 1")[0]]))
        assert [entry.event for entry in first.audit()][-2:] == ["looked at", "answer"]
        first.verify_audit()


OPEN = """
import sys, time
from phonybrains.errors import StudyError
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.store import open_store
try:
    with open_store(Study.open(sys.argv[1]), sys.argv[2]) as store:
        store.note('here')
        time.sleep(5)
except StudyError as error:
    sys.exit(str(error))
"""


def test_those_that_start_at_once_make_one_database(study: Study, database: str):
    """Three processes that open an empty database at once make its tables once: one works, the others are refused."""
    command = [sys.executable, "-c", OPEN, str(study.folder), database]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert all(error == "" or "in use by another phonybrains" in error for error in errors), errors
    with open_store(study, database) as store:
        assert [entry.event for entry in store.audit()] == ["log keyed"] + ["here"] * errors.count("")
        store.verify_audit()


GONE = ("DROP SCHEMA public CASCADE", "DROP TABLE audit", "ALTER TABLE audit RENAME TO x", "DELETE FROM audit")


@pytest.mark.parametrize("statement", [*GONE, f"{GONE[-1]} WHERE id > 2"])
def test_a_database_taken_away_takes_no_answers(store: Store, study: Study, database: str, statement: str):
    """Dropped, renamed or cut off under a running server: nothing is acknowledged any more."""
    first, second, *_ = answers_of(study, "reader 1")
    store.record(first)
    with behind(database) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text(statement))
    for _ in range(2):
        with pytest.raises(LostError):
            store.record(second)


def test_a_server_that_lost_its_lock_to_another_takes_no_answers(study: Study, database: str):
    """If the connection with the lock is ended and another takes the lock meanwhile, nothing is acknowledged."""
    with open_store(study, database) as store:
        store.add_reader("reader 1")
        with behind(database) as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
            taken = text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
            connection.execute(taken, {"name": f"phonybrains {study.hash}"})
            for _ in range(2):
                with pytest.raises(BusyError):
                    store.record(answers_of(study, "reader 1")[0])
        store.record(answers_of(study, "reader 1")[0])
        store.verify_audit()


def test_a_change_behind_the_stores_back_is_named(store: Store, study: Study, database: str):
    """An answer changed with the guards taken away is found."""
    store.record(*answers_of(study, "reader 1")[:3])
    with behind(database) as connection:
        connection.execute(text("ALTER TABLE answer DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE answer SET call = 'real' WHERE description = 'note 2'"))
    with pytest.raises(StudyError, match=r"answer, reader 1.*position 2 .*call is 'real'"):
        store.verify_audit()


def test_an_older_database_is_brought_up_to_date(study: Study, database: str):
    """All migrations run in one transaction, the answers stay, and the user is told to rely on their own backup."""
    engine = connect(parse_url(database))
    write_first_version(engine, study)
    engine.dispose()
    with open_store(study, database) as store:
        assert [a.description for a in store.answers()] == ["old"]
        assert store.notices == [
            "The database was of an older version (0001) and was brought up to date; your own backup is the way back."
        ]
        store.verify_audit()


def test_a_lost_server_is_busy_and_comes_back(store: Store, study: Study, server: str):
    """If PostgreSQL ends all connections, the next answer is taken on a new one, and none is lost."""
    first, second, *_ = answers_of(study, "reader 1")
    store.record(first)
    with behind(f"{server}/postgres") as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'study%'"
        connection.execute(text(others))
    try:
        store.record(second)
    except BusyError:
        store.record(second)
    assert len(store.answers()) == 2
    store.verify_audit()


def test_an_unreachable_server_is_named_without_its_password(study: Study):
    """No server behind the URL gives one line with the host; a password in it is not shown."""
    with pytest.raises(StudyError, match=r"me:\*\*\*@127\.0\.0\.1:1/x.*(refused|failed)") as error:
        open_store(study, "postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)


def test_a_whole_reading_over_the_web(study: Study, database: str):
    """A reader reads all images through the web server, answers twice, finishes and is locked out."""
    with served(study, database) as desk:
        reader = desk.reader()
        assert reader.draft(reader.current(), call="real", description="naïve “text” ☢").status_code == 204
        assert reader.state()["current"]["draft"]["description"] == "naïve “text” ☢"
        assert len(reader.read_all()) == 34
        assert reader.finish().status_code == 200
        assert desk.investigator().get("/investigator").text.count("34 of 34") >= 1
        desk.store.verify_audit()
