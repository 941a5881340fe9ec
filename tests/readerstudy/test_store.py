"""The database of a reader study: readers, answers, the audit log, locks, clocks and a full disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from phonybrains.errors import StudyError
from phonybrains.readerstudy.design.order import presentations
from phonybrains.readerstudy.store import Store, open_store
from phonybrains.readerstudy.store.clock import Clock
from phonybrains.readerstudy.store.database import connect_frozen, filesystem_of, parse_url, refuse_network_disk
from phonybrains.readerstudy.store.errors import ConflictError, DiskFullError, UnknownError
from phonybrains.readerstudy.study import Answer, Mark, Study

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'answers.db'}"


@pytest.fixture
def store(study: Study, database: str) -> Iterator[Store]:
    """A new database with a reader."""
    with open_store(study, database) as opened:
        opened.add_reader("reader 1")
        yield opened


def answers_of(study: Study, reader: str) -> list[Answer]:
    """What a reader says who calls everything phony, one image a second."""
    marks = (Mark(0.5, 0.25),)
    return [
        Answer(reader, p.position, p.kind, p.case_id, "phony", p.position % 101, f"note {p.position}", marks, 1.5)
        for p in presentations(study, reader)
    ]


def test_what_is_recorded_is_read_back(store: Store, study: Study):
    """An answer comes back as it was given, in every field, with the time at which it was taken."""
    given = answers_of(study, "reader 1")
    store.record(*given)
    found = store.answers()
    assert [replace(a, answered_at="") for a in found] == given
    assert all(datetime.fromisoformat(a.answered_at) for a in found)
    assert {a.kind for a in store.answers(["training", "check"])} == {"training", "check"}
    store.verify_audit()


def test_readers_go_from_invited_to_finished(store: Store, study: Study):
    """A reader is invited, reading once something is answered, finished when all is; an early finish is refused."""
    first, *others = answers_of(study, "reader 1")
    assert [(r.name, r.state, r.answered, r.total) for r in store.readers()] == [("reader 1", "invited", 0, 34)]
    store.record(first)
    assert store.readers()[0].state == "reading"
    with pytest.raises(ConflictError, match="33 images are still to be answered"):
        store.finish("reader 1")
    store.record(*others)
    store.finish("reader 1")
    store.finish("reader 1")
    assert store.readers()[0].state == "finished"
    assert [entry.event for entry in store.audit()].count("finished") == 1


def test_an_answer_is_final(store: Store, study: Study):
    """A second answer to one presentation, an answer to another case, and one of an unknown reader are refused."""
    first, second, *_ = answers_of(study, "reader 1")
    store.record(first)
    for error, message, wrong in (
        (ConflictError, "reader 1, position 1: was given before", replace(first, call="real")),
        (ConflictError, "position 2: is of", replace(second, case_id=first.case_id)),
        (UnknownError, "no such position", replace(second, position=999)),
        (UnknownError, "no reader 'nobody'", replace(second, reader="nobody")),
    ):
        with pytest.raises(error, match=message):
            store.record(wrong)
    assert [a.call for a in store.answers()] == ["phony"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call": "fake"}, "'fake' is none of"),
        ({"confidence": 101}, "confidence 101"),
        ({"description": "x" * 2001}, "longer than 2000"),
        ({"description": "a\0b"}, "not text"),
        ({"marks": (Mark(0.5, 1.5),)}, "outside the image"),
        ({"marks": (Mark(0.5, 0.5),) * 21}, "more than 20 marks"),
        ({"seconds": float("nan")}, "nan seconds"),
        ({"seconds": -1.0}, "-1.0 seconds"),
    ],
)
def test_impossible_answers_are_refused(store: Store, study: Study, change: dict, message: str):
    """An answer that cannot be one is refused with its reader and position, and those beside it are not recorded."""
    first, second, *_ = answers_of(study, "reader 1")
    with pytest.raises(StudyError, match=f"reader 1, position 2: .*{message}"):
        store.record(first, replace(second, **change))
    assert store.answers() == []


def test_imported_readers_come_whole_or_not_at_all(store: Store, study: Study):
    """Answers given elsewhere add their readers, locked, without invented times; a bad row leaves no trace."""
    given = [replace(a, answered_at="") for a in answers_of(study, "elsewhere")]
    before = len(store.audit())
    with pytest.raises(ConflictError, match="position 3: is there twice"):
        store.import_readers([*given, given[2]])
    with pytest.raises(StudyError, match="no case 'c999'"):
        store.import_readers([replace(given[0], case_id="c999")])
    assert len(store.readers()) == 1
    assert len(store.audit()) == before
    store.import_readers(given)
    assert [(r.source, r.state) for r in store.readers()[1:]] == [("imported", "finished")]
    assert store.answers() == given


def test_a_failure_in_a_shared_transaction_stays_alone(store: Store, study: Study):
    """Of many changes at the same time those that are refused undo themselves alone, and the log has the others."""
    given = answers_of(study, "reader 1")
    jobs = [a for answer in given for a in (answer, replace(answer, call="real"), replace(answer, position=500))]

    def was_taken(answer: Answer) -> bool:
        try:
            store.record(answer)
        except StudyError:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(was_taken, jobs)) == len(given) == len(store.answers())
    assert [entry.event for entry in store.audit()].count("answer") == len(given)
    store.verify_audit()


@pytest.mark.parametrize("statement", ["UPDATE answer SET call = 'real'", "DELETE FROM audit"])
def test_the_database_itself_is_append_only(store: Store, study: Study, statement: str):
    """Even SQL from within is refused to change an answer or the log."""
    store.record(answers_of(study, "reader 1")[0])
    with pytest.raises(Exception, match="append-only"):
        store.write(lambda writing: writing.connection.execute(text(statement)))
    store.verify_audit()


def test_departures_from_the_plan(store: Store):
    """An added reader, a withdrawn one, a pause and an early close are told; what was planned is not."""
    store.add_reader("late one")
    store.pause()
    store.pause()
    store.pause(False)
    store.revoke("late one")
    store.revoke("late one")
    store.close_study()
    assert [re.sub(r"\d+ s", "0 s", departure.text) for departure in store.departures()] == [
        "Reader 'late one' was added; the plan does not name them.",
        "The study was paused for 0 s.",
        "Reader 'late one' was withdrawn by the investigator.",
        "The study was closed before all had finished: reader 1.",
    ]


def test_two_servers_cannot_hold_one_file(store: Store, study: Study, database: str):
    """A second one is refused while one holds the file, may read it, and nothing breaks."""
    with pytest.raises(StudyError, match=r"answers\.db is in use by .* \(it holds answers\.db\.lock\)"):
        open_store(study, database)
    with open_store(study, database, read_only=True) as reading:
        assert [reader.name for reader in reading.readers()] == ["reader 1"]
    store.verify_audit()


def test_answers_of_another_study_are_refused(study: Study, store: Store, database: str):
    """A database made for one protocol is not opened with another."""
    store.close()
    other = replace(study, protocol=dict(study.protocol) | {"hash": "0" * 64})
    with pytest.raises(StudyError, match="another study"):
        open_store(other, database)


def test_reading_needs_answers(study: Study, database: str):
    """Reading a study that was never served says so, and makes no file."""
    with pytest.raises(StudyError, match="no answers yet"):
        open_store(study, database, read_only=True)
    assert not Path(database.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("answers.db", "not a database"),
        ("mysql://host/name", "sqlite:///FILE or"),
        ("sqlite://", "cannot|can be kept"),
        ("sqlite:///:memory:", "can be kept"),
        ("sqlite:///answers.db?timeout=soon", "can be kept"),
        ("sqlite:////", "can be kept"),
        ("sqlite:///a\0b.db", "can be kept"),
    ],
)
def test_other_databases_are_refused(url: str, message: str):
    """What is neither an SQLite file nor PostgreSQL is refused, with what to give."""
    with pytest.raises(StudyError, match=message):
        parse_url(url)


def test_a_missing_postgresql_driver_is_named(monkeypatch: pytest.MonkeyPatch):
    """Without psycopg the extra to install is named; with it, the driver is chosen."""
    assert parse_url("postgresql://me@host/name").drivername == "postgresql+psycopg"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"pip install 'phonybrains\[postgresql\]'"):
        parse_url("postgresql://me@host/name")


def test_network_disks_are_refused():
    """SQLite on a network disk is refused by the kind of the deepest mount, also where its path has a blank."""
    mounts = [
        "/dev/sda / ext4 rw 0 0",
        "host:/x /mnt/net nfs4 rw 0 0",
        "//h/y /mnt/our\\040disk cifs rw 0 0",
        "/dev/sdb /mnt/net/local ext4 rw 0 0",
        "me@h: /home/me/far fuse.sshfs rw 0 0",
        "host:/y /mnt/Büro nfs rw 0 0",
    ]
    kinds = {
        "/mnt/net/s/study.db": "nfs4",
        "/mnt/our disk/study.db": "cifs",
        "/mnt/Büro/study.db": "nfs",
        "/home/me/far/study.db": "fuse.sshfs",
    }
    local = {"/mnt/net/local/study.db": "ext4", "/home/me/study.db": "ext4"}
    assert {path: filesystem_of(Path(path), mounts) for path in kinds | local} == kinds | local
    for path in kinds:
        with pytest.raises(StudyError, match="network disk"):
            refuse_network_disk(Path(path), mounts)
    refuse_network_disk(Path("/mnt/net/local/study.db"), mounts)


def test_a_clock_behind_the_last_entry_stops_the_start(study: Study, database: str):
    """A start more than a minute before the newest entry is refused and changes nothing; half a minute is let pass."""
    open_store(study, database, clock=Clock(lambda: START)).close()
    path = Path(database.removeprefix("sqlite:///"))
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"clock says 2026-01-31T11:58:59.*Set the clock right"):
        open_store(study, database, clock=Clock(lambda: START - timedelta(seconds=61)))
    assert path.read_bytes() == before
    open_store(study, database, clock=Clock(lambda: START - timedelta(seconds=30))).close()


def test_a_clock_that_jumps_back_is_noted_and_times_do_not(study: Study, database: str):
    """While a study runs, a jump back by an hour is noted once, and no time in the log is before the one above it."""
    times = [START]
    with open_store(study, database, clock=Clock(lambda: times[-1])) as store:
        store.add_reader("reader 1")
        given = answers_of(study, "reader 1")
        for seconds in (10, -3590, -3580, -3570, 20):
            times.append(START + timedelta(seconds=seconds))
            store.record(given.pop(0))
        log = store.audit()
        assert [entry.at for entry in log] == sorted(entry.at for entry in log)
        assert [entry.details for entry in log if entry.event == "clock went back"] == ['{"seconds":3600.0}']
        told = "The server's clock was set back by 3600 s; times did not go back."
        assert [departure.text for departure in store.departures()] == [told]
        assert store.answers()[-1].answered_at == "2026-01-31T12:00:20.000+00:00"


def test_a_full_database_refuses_and_goes_on(store: Store, study: Study):
    """Where there is no room the answer is refused as such, what was acknowledged stays, and with room it goes on."""
    given = [replace(answer, description="x" * 2000) for answer in answers_of(study, "reader 1")]
    store.record(given[0])

    def limit(pages: int) -> None:
        for connection in [store._engine.connect() for _ in range(3)]:  # those of the pool
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            connection.close()

    limit(store.read(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one()) + 3)
    left = given[1:]

    def fill() -> None:
        while left:
            store.record(left[0])
            del left[0]

    with pytest.raises(DiskFullError, match="no room"):
        fill()
    assert len(store.answers()) == len(given) - len(left) < len(given)
    limit(100_000)
    store.record(*left)
    assert len(store.answers()) == len(given)
    store.verify_audit()


def test_a_folder_that_cannot_be_written_can_be_analysed(study: Study, database: str):
    """Answers on a read-only disk can be read."""
    with open_store(study, database) as store:
        store.add_reader("reader 1")
    engine = connect_frozen(Path(database.removeprefix("sqlite:///")))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM reader")).scalars().all() == ["reader 1"]
        with pytest.raises(Exception, match="readonly"):
            connection.execute(text("DELETE FROM reader"))
    engine.dispose()
