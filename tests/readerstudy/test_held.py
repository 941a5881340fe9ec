"""A study that is held: nothing is acknowledged once its files go, looks are told, rehearsals stay rehearsals."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from phonybrains.cli.study import study_app
from phonybrains.errors import ConfigError, PhonyBrainsError, StudyError
from phonybrains.readerstudy.analyse import analyse_study
from phonybrains.readerstudy.import_answers import import_answers
from phonybrains.readerstudy.simulate import simulate_study
from phonybrains.readerstudy.store import audit, open_store
from phonybrains.readerstudy.store.errors import ConflictError, LostError
from phonybrains.readerstudy.store.keys import Heads
from phonybrains.readerstudy.study import Study
from tests.readerstudy.test_store import answers_of
from tests.support.study_tampering import attack
from tests.support.study_web import served

GONE = {
    "database deleted": lambda f: (f / "study.db").unlink(),
    "database replaced": lambda f: (shutil.copy(f / "study.db", f / "new"), (f / "new").replace(f / "study.db")),
    "database written over": lambda f: (f / "study.db").write_bytes((f / "study.db").read_bytes()),
    "database emptied": lambda f: (f / "study.db").write_bytes(b""),
    "wal deleted": lambda f: (f / "study.db-wal").unlink(),
    "lock deleted": lambda f: (f / "study.db.lock").unlink(),
    "lock replaced": lambda f: ((f / "study.db.lock").unlink(), (f / "study.db.lock").touch()),
    "key deleted": lambda f: (f / "log.key").unlink(),
    "heads deleted": lambda f: next(f.glob("*.head")).unlink(),
    "protocol replaced": lambda f: (shutil.copy(f / "protocol.json", f / "x"), (f / "x").replace(f / "protocol.json")),
    "folder moved": lambda f: f.rename(f.parent / "elsewhere"),
    "tail deleted": lambda f: attack(f, "DELETE FROM audit WHERE id > 3"),
    "tables dropped": lambda f: attack(f, "DROP TABLE audit"),
}


@pytest.mark.parametrize("name", GONE)
def test_a_server_whose_files_go_stops_acknowledging(study_folder: Path, name: str):
    """What is taken away under a running server: the next answer gets 500 and a sentence, and all after it."""
    with served(Study.open(study_folder), f"sqlite:///{study_folder / 'study.db'}") as site:
        reader = site.reader()
        state = reader.state()
        assert reader.answer(state["current"]["id"]).status_code == 200
        following = state["next"]
        GONE[name](study_folder)
        for _ in range(2):
            refused = reader.answer(following)
            assert refused.status_code == 500
            assert "takes no answers" in refused.json()["error"]
        assert reader.finish().status_code == 500


@pytest.mark.parametrize("gone", [("study.db",), ("study.db.lock",), ("study.db", "study.db.lock", "study.db-wal")])
def test_a_second_server_is_refused_even_without_its_lock(study_folder: Path, gone: tuple[str, ...]):
    """With the database, its lock, or both deleted under a running server, no second one starts on the study."""
    study = Study.open(study_folder)
    with open_store(study) as store:
        store.add_reader("reader 1")
        for name in gone:
            (study_folder / name).unlink()
        with pytest.raises(StudyError, match=r"in use by another phonybrains"):
            open_store(study)
        with pytest.raises(LostError):
            store.note("an answer")


def test_looks_in_the_middle_need_to_be_asked_for_and_are_told(tmp_path: Path, study_folder: Path):
    """While readers are in the middle an analysis is refused with their number; `interim` makes log and report tell."""
    study = Study.open(study_folder)
    with served(study, f"sqlite:///{study_folder / 'study.db'}") as site:  # the server goes on running
        reader = site.reader()
        site.store.record(*answers_of(study, "reader 1")[:20])
        site.store.add_reader("reader 2")
        with pytest.raises(StudyError, match=r"in the middle: 2 of 2 readers \('reader 1' 20 of 34, .*--interim"):
            analyse_study(study_folder, tmp_path / "report", show=False)
        assert "looked at" not in [entry.event for entry in site.store.audit()]
        site.investigator().get("/investigator/audit.csv")
        analyse_study(study_folder, tmp_path / "report", interim=True, show=False)
        assert reader.answer(reader.current()).status_code == 200
        texts = [departure.text for departure in site.store.departures() if departure.text.startswith("Looked at on")]
        site.store.verify_audit()
        site.store.revoke("reader 1")
        site.store.revoke("reader 2")
    assert len(texts) == 2
    assert re.search(r"UTC, 20 answers: exported \(audit.csv, without the truth\)", texts[0])
    assert re.search(r"UTC, 20 answers: analysed while readers were in the middle", texts[1])
    assert "20 answers: analysed" in re.sub(r"\s+", " ", (tmp_path / "report" / "report.html").read_text())
    with open_store(study, read_only=True) as store:
        assert store.verify().replay.unfinished == []  # so that the last analysis is no look in the middle
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o700
    private = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "report").glob("*.*")}
    assert private.pop("record.json")  # hashes and versions
    assert set(private.values()) == {0o600}


def test_simulated_answers_never_mix_with_others(study_folder: Path, tmp_path: Path):
    """Simulated readers go into a fresh database alone, which is marked for good: nobody else may follow."""
    with open_store(Study.open(study_folder)) as store:
        store.add_reader("reader 1")
    with pytest.raises(ConflictError, match=r"readers who are not simulated \(reader 1\)"):
        simulate_study(study_folder, readers=1, show=False)
    database = f"sqlite:///{tmp_path / 'rehearsal.db'}"
    simulate_study(study_folder, readers=1, database=database, show=False)
    table = tmp_path / "forms.csv"
    table.write_text(f"reader,case,call\nreader 9,{next(iter(Study.open(study_folder).cases))},real\n")
    with pytest.raises(ConflictError, match="simulated, and that is for good"):
        import_answers(study_folder, table, database=database, show=False)
    with open_store(Study.open(study_folder), database) as store:
        with pytest.raises(ConflictError, match="simulated, and that is for good"):
            store.add_reader("reader 1")
        assert [r.source for r in store.readers()] == ["simulated"]
        assert store.verify().replay.simulated
        assert any("rehearsal" in departure.text for departure in store.departures())


def test_a_password_on_the_command_line_is_refused(monkeypatch: pytest.MonkeyPatch, study_folder: Path):
    """A password in --database is refused and not shown; from the environment it is taken, and not shown either."""
    for url in ("postgresql://me:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x?user=me&password=secret"):
        for command in (["serve"], ["analyse", "--out", "x"], ["simulate"], ["verify"]):
            with pytest.raises(ConfigError, match="PGPASSWORD") as error:
                study_app([*command[:1], str(study_folder), *command[1:], "--database", url], exit_on_error=False)
            assert "secret" not in str(error.value)
        monkeypatch.setenv("PHONYBRAINS_DATABASE", url)
        with pytest.raises(StudyError, match=r"127\.0\.0\.1:1") as refused:
            study_app(["verify", str(study_folder)], exit_on_error=False)
        assert "secret" not in str(refused.value)
        monkeypatch.delenv("PHONYBRAINS_DATABASE")
    for url in ("postgresql://me:secret@host:port/x", "mysql://me:secret@host/x", "me:secret@host"):
        with pytest.raises(PhonyBrainsError) as other:
            open_store(Study.open(study_folder), url)
        assert "secret" not in str(other.value)


def test_heads_on_a_full_disk_leave_no_torn_line(tmp_path: Path):
    """A head that cannot be written whole is not written at all, and the next one is."""
    heads = Heads.make(tmp_path, "x", "study.db")
    entry = audit.entry_after(audit.BEFORE_ALL, "2026", "note", None, {}, b"k")
    heads.path.write_text(heads.path.read_text() + "7:" + "ab" * 10)
    heads.append(entry)
    assert heads.path.read_text().splitlines()[1:] == [entry.head]
    assert Heads.read(heads.path).kept == [(1, entry.hash)]
