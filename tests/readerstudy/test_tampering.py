"""Tampering with a study: whatever is changed behind its back is named, and never analysed.

Whoever attacks here has the database, with all its guards taken away, and may have the files of the study, but not the
key of its log; where an attacker has the key and the heads as well, a reader's receipt shows it.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from phonybrains.errors import StudyError
from phonybrains.readerstudy.analyse import analyse_study
from phonybrains.readerstudy.check import verify_study
from phonybrains.readerstudy.store import Store, access, audit, open_store
from phonybrains.readerstudy.study import Study, protocol_hash
from tests.readerstudy.test_store import answers_of
from tests.support.study_tampering import ATTACKS, attack, query


def fill(store: Store) -> None:
    """Two readers with sessions who finish, one who is withdrawn, a pause, and the end."""
    for name in ("reader 1", "reader 2", "reader 3"):
        token = store.add_reader(name)
        store.write(lambda writing, token=token: access.redeem(writing, token, investigator=False))
    for name in ("reader 1", "reader 2"):
        given = answers_of(store.study, name)
        for answer in given[:3]:
            store.record(answer)
        store.record(*given[3:])
        store.finish(name)
    link = store.investigator_link()
    store.write(lambda writing: access.redeem(writing, link, investigator=True))
    store.pause()
    store.pause(False)
    store.revoke("reader 3")
    store.close_study()
    store.note("server stopped")


@pytest.fixture(scope="module")
def original(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(small_study, tmp_path_factory.mktemp("tampering") / "study"))
    with open_store(Study.open(folder)) as store:
        fill(store)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the study and its answers, to be attacked."""
    return shutil.copytree(original, tmp_path / "study")


def expect(folder: Path, capsys: pytest.CaptureFixture[str], first: str, head: str | None = None) -> None:
    """`verify` exits 1 and names it first, and `analyse` refuses with the same words."""
    capsys.readouterr()
    assert verify_study(folder, head=head) == 1
    named = [line for line in capsys.readouterr().out.splitlines() if line.startswith("DOES NOT FIT")]
    assert re.search(first, named[0]), named
    if head is None:
        with pytest.raises(StudyError, match=first):
            analyse_study(folder, folder / "report", show=False)
        assert not (folder / "report").exists()


@pytest.mark.parametrize("statement", ATTACKS)
def test_any_change_of_the_database_is_named_and_not_analysed(
    folder: Path, statement: str, capsys: pytest.CaptureFixture[str]
):
    """Each column of each table but drafts, each way to add, remove or move rows: named first, not analysed."""
    attack(folder, statement)
    expect(folder, capsys, ATTACKS[statement])


def test_an_untouched_study_verifies(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Nothing is named where nothing was done, and every table is told by the log, row by row."""
    assert verify_study(folder) == 0
    assert "Every event fits" in capsys.readouterr().out
    with open_store(Study.open(folder), read_only=True) as store:
        told = store.verify().replay.rows
    for table, rows in told.items():
        assert query(folder, f"SELECT count(*) FROM {table}") == [(len(rows),)], table
        columns = {row[1] for row in query(folder, f"PRAGMA table_info({table})")} - {"id"}
        assert all(columns - {"id", "seen_at"} <= row.values.keys() for row in rows.values()), table


def exchanged(table: str, key: str, one: object, two: object) -> list[str]:
    """What puts two rows of a table in each other's place."""
    moves = ((-1, one), (one, two), (two, -1))
    return [f"UPDATE {table} SET {key} = '{new}' WHERE {key} = '{old}'" for new, old in moves]


def test_rows_exchanged_are_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Two readers' whole answers, or two events, in each other's place are found, though each is one that was given."""
    one, two = query(folder, "SELECT id FROM presentation WHERE position = 4 AND reader_id < 3 ORDER BY reader_id")
    attack(folder, *exchanged("answer", "presentation_id", one[0], two[0]))
    expect(folder, capsys, "answer, reader 1.*position 4.*answered_at")
    attack(folder, *exchanged("audit", "id", 20, 21))
    expect(folder, capsys, "event 20 .*HMAC does not fit")


def rechain(folder: Path, key: bytes) -> None:
    """Forge an answer: change its event and row, and give all events new hashes, as someone with that key would."""
    with open_store(Study.open(folder), read_only=True) as store:
        log, last = store.audit(), audit.BEFORE_ALL
    forged = next(entry for entry in log if (entry.event, entry.reader) == ("answer", "reader 1"))
    rows = []
    for entry in log:
        details = json.loads(entry.details) | ({"call": "real"} if entry is forged else {})
        last = audit.entry_after(last, entry.at, entry.event, entry.reader, details, key)
        rows.append((last.details, last.previous, last.hash, last.id))
    first = "(SELECT id FROM presentation WHERE reader_id = 1 AND position = 1)"
    attack(folder, f"UPDATE answer SET call = 'real' WHERE presentation_id = {first}")
    with sqlite3.connect(folder / "study.db") as connection:
        connection.executemany("UPDATE audit SET details = ?, previous = ?, hash = ? WHERE id = ?", rows)
    connection.close()


@pytest.mark.parametrize("key", [b"", b"x" * 32])
def test_a_log_chained_anew_without_the_key_is_named(folder: Path, capsys: pytest.CaptureFixture[str], key: bytes):
    """Hashes worked out anew, without a key as older versions did, or with another: the first event does not fit."""
    rechain(folder, key)
    expect(folder, capsys, "event 1 .*HMAC does not fit")


def test_a_log_forged_with_the_key_shows_by_the_heads_and_by_receipts(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Who has the key can forge a log, but not the heads kept; who changes these as well, not what a reader holds."""
    with open_store(Study.open(folder), read_only=True) as store:
        receipts = [entry.head for entry in store.audit() if entry.event == "finished"]
    assert [verify_study(folder, head=receipt) for receipt in receipts] == [0, 0]
    rechain(folder, bytes.fromhex((folder / "log.key").read_text()))
    expect(folder, capsys, r"answer, reader 1.*another one than log-\w+\.head knows")
    heads = next(folder.glob("log-*.head"))
    heads.write_text(heads.read_text().split("\n")[0] + "\n")
    assert verify_study(folder) == 0  # an attacker with everything: only receipts are left
    expect(folder, capsys, "finished, reader 1.*another one than the receipt knows", head=receipts[0])
    expect(folder, capsys, "finished, reader 1.*the receipt", head=receipts[0][:30].upper())


def test_what_is_no_receipt_is_refused(folder: Path):
    """A receipt that is none, or too short to mean anything, is an error and not a pass."""
    for head in ("", "12", "12:abc", "x:" + "0" * 64, "1:" + "g" * 64):
        with pytest.raises(StudyError, match="not a head"):
            verify_study(folder, head=head)


def test_a_receipt_from_beyond_the_end_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    """A receipt with a higher number than the log has events shows that the end is missing."""
    expect(folder, capsys, "is missing: the receipt knows 9999 events", head="9999:" + "0" * 64)


def test_an_older_copy_is_named_and_not_written_to(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The whole database put back to an earlier, valid state: named, not analysed, and not gone on with."""
    with open_store(Study.open(folder)) as store:
        store.note("server started")
        shutil.copy(folder / "study.db", tmp_path / "old.db")
        store.note("server stopped")
    (folder / "study.db").write_bytes((tmp_path / "old.db").read_bytes())
    expect(folder, capsys, r"is missing: log-\w+\.head knows")
    with pytest.raises(StudyError, match="cut off or replaced by an older copy"):
        open_store(Study.open(folder))


@pytest.mark.parametrize("of_another_run", [False, True], ids=["lost", "another run's"])
def test_a_lost_database_is_not_begun_anew(folder: Path, tmp_path: Path, of_another_run: bool):
    """Without the database, or with that of another log under the same key, nothing is begun anew, nor read."""
    other = tmp_path / "other.db"
    if of_another_run:
        with open_store(Study.open(folder), f"sqlite:///{other}") as store:
            store.add_reader("reader 1")
        shutil.copy(other, folder / "study.db")
    else:
        (folder / "study.db").unlink()
    for read_only in (False, True):
        with pytest.raises(StudyError, match=r"its log of \d+ events is gone"):
            open_store(Study.open(folder), read_only=read_only)


def change_protocol(folder: Path, field: str) -> None:
    protocol = json.loads((folder / "protocol.json").read_text())
    protocol[field] = "2020-01-01T00:00:00+00:00"
    protocol["hash"] = protocol_hash(protocol)
    (folder / "protocol.json").write_text(json.dumps(protocol))


def edit_cases(folder: Path) -> None:
    text = (folder / "cases.csv").read_text()
    (folder / "cases.csv").write_text(text.replace(",phony,", ",real,", 1))


FILES = {
    "key removed": (lambda f: (f / "log.key").unlink(), r"log\.key is missing.*Restore"),
    "another key": (lambda f: (f / "log.key").write_text("ab" * 32), r"log\.key: is another key"),
    "no key": (lambda f: (f / "log.key").write_text("hello"), r"log\.key: is not the key"),
    "key open to others": (lambda f: (f / "log.key").chmod(0o644), r"log\.key is open to other users \(mode 0644\)"),
    "key a folder": (lambda f: ((f / "log.key").unlink(), (f / "log.key").mkdir()), r"log\.key: cannot be read"),
    "heads removed": (lambda f: next(f.glob("log-*.head")).unlink(), r"log-\w+\.head is missing"),
    "heads overwritten": (lambda f: next(f.glob("log-*.head")).write_text("x\n"), r"\.head, line 1: was changed"),
    "protocol's date": (lambda f: change_protocol(f, "created"), r"event 1: tells another protocol\.json"),
    "protocol frozen anew": (lambda f: change_protocol(f, "name"), "holds the answers of another study"),
    "cases": (edit_cases, r"cases\.csv was changed after"),
    "image": (lambda f: next(f.glob("images/*")).write_bytes(b"\0" * 8192), "was changed after"),
}


@pytest.mark.parametrize("name", FILES)
def test_changed_files_are_named_and_not_analysed(folder: Path, name: str):
    """The key, the heads, the protocol, even its date that no hash covers, the cases and the images."""
    change, first = FILES[name]
    change(folder)
    with pytest.raises(StudyError, match=first):
        analyse_study(folder, folder.parent / "report", show=False)
    with pytest.raises(StudyError, match=first), open_store(Study.open(folder), read_only=True) as store:
        store.verify_audit()


def test_a_crash_between_commit_and_head_is_no_tampering(folder: Path):
    """A head that was not written, or only in part, after the last commits is caught up with, and verifies."""
    path = next(folder.glob("log-*.head"))
    lines = path.read_text().splitlines(keepends=True)
    for crashed in (lines[:-3], [*lines[:-2], lines[-2][:20]], [*lines[:-1], "1"]):
        path.write_text("".join(crashed))
        assert verify_study(folder) == 0
        with open_store(Study.open(folder)) as store:
            store.note("server started")
            newest = store.audit()[-1].head
        assert path.read_text().splitlines()[-1] == newest
        assert verify_study(folder) == 0


def test_the_key_is_nowhere_but_in_its_file(folder: Path):
    """The key is in no other file of the study: not in the database, the heads or the protocol."""
    text = (folder / "log.key").read_text().strip()
    others = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "log.key"]
    assert not any(text.encode() in content.lower() or bytes.fromhex(text) in content for content in others)


def test_files_are_for_their_owner_alone(folder: Path):
    """The database, what lies beside it, the key, the heads, and the study are not open to other users."""
    (folder / "study.db").chmod(0o644)
    with open_store(Study.open(folder)) as store:
        store.note("server started")
        names = "study.db", "study.db-wal", "study.db-shm", "study.db.lock", "log.key", next(folder.glob("*.head")).name
        assert {name: (folder / name).stat().st_mode & 0o777 for name in names} == dict.fromkeys(names, 0o600)
    assert (folder / "cases.csv").stat().st_mode & 0o777 == 0o600
