"""Two processes that make the same folder at once: one says so, the other finishes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from bench.disturbed import state_of
from phonybrains.errors import OutputError
from phonybrains.files import is_being_written, only_writer
from phonybrains.record import Record, draft_folder, publish
from tests.support.in_turn import called
from tests.support.tiny_training import quick_settings

WAIT_S = 300
AT_WORK = "another phonybrains is at work here. Wait for it, or choose another --out."


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Begin a command line in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "phonybrains", *words], cwd=folder, text=True, stdout=-1, stderr=subprocess.STDOUT
    )


def paused_at_work(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command that is halted in the midst of its work: its draft is there, and being written."""
    process, end = command(folder, *words), time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        if any(is_being_written(draft) for draft in folder.glob(".out.*.partial")):
            process.send_signal(signal.SIGSTOP)
            return process
        time.sleep(0.002)
    process.kill()
    pytest.fail(f"no draft was seen: {process.communicate()[0]}")


COMMANDS = {
    "phantom": "phantom -n 60 --out out",
    "import": "import {corpus} --out out --key-file key",
    "generate": "generate {model} -n 24 --steps 2 --out out",
    "train": "train {corpus} --preset tiny --config {quick} --out out",
}
"""Commands that take a while."""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_says_so_and_the_first_finishes(
    tmp_path: Path,
    phantom_corpus: Path,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    name: str,
):
    """With the same or other settings the second ends with 1 and a line, touches nothing, and the first goes on."""
    quick = quick_settings(tmp_path_factory.mktemp("settings"))
    words = COMMANDS[name].format(corpus=phantom_corpus, model=tiny_model, quick=quick).split()
    first = paused_at_work(tmp_path, *words)
    try:
        before = {path for path in tmp_path.rglob("*") if path.name != "key"}
        for settings in ([], ["--seed", "1"]):
            assert called(*words, *settings, folder=tmp_path) == 1
            assert capsys.readouterr().err.splitlines()[-1] == f"phonybrains: out: {AT_WORK}"
            assert {path for path in tmp_path.rglob("*") if path.name != "key"} == before
    finally:
        first.send_signal(signal.SIGCONT)
    said = first.communicate(timeout=WAIT_S)[0]
    assert first.returncode == 0, said
    assert (tmp_path / "out" / "record.json").is_file()
    assert not list(tmp_path.glob(".*"))


def test_the_first_is_not_disturbed(tmp_path: Path):
    """What two that began at once leave is what one leaves alone."""
    words = ("phantom", "-n", "12", "--size", "32", "--out", "out")
    for folder in ("both", "alone"):
        (tmp_path / folder).mkdir()
    processes = [command(tmp_path / "both", *words) for _ in range(2)] + [command(tmp_path / "alone", *words)]
    ends = [(process.communicate(timeout=WAIT_S)[0], process.returncode) for process in processes]
    assert 0 in [code for _, code in ends[:2]]
    assert all(code == 0 or AT_WORK in said or "is already finished" in said for said, code in ends), ends
    assert state_of(tmp_path / "both") == state_of(tmp_path / "alone")


def publish_at_once(out: Path, number: int, begin: Barrier) -> None:
    """The body of a process that publishes with settings of its own, when all are ready."""
    begin.wait()
    try:
        with publish(out, Record("test", {"number": number}), resume=True) as draft:
            (draft / "number").write_text(str(number))
            time.sleep(0.05)
    except OutputError as error:
        os._exit(1 if "another" in str(error) or "already exists" in str(error) else 2)
    os._exit(0)


@pytest.mark.parametrize("round", range(8))
def test_of_several_that_begin_at_once_one_finishes(tmp_path: Path, round: int):
    """However they meet, one of three with three settings publishes, whole, and the others say why they do not."""
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(3)
    processes = [context.Process(target=publish_at_once, args=(tmp_path / "out", n, begin)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_S)
    codes = [process.exitcode for process in processes]
    assert sorted(map(str, codes)) == ["0", "1", "1"]
    assert (tmp_path / "out" / "number").read_text() == str(codes.index(0))
    assert os.listdir(tmp_path) == ["out"]


def test_two_names_of_one_place_have_one_writer(tmp_path: Path):
    """A link and the folder it leads to are the same place."""
    (tmp_path / "link").symlink_to(tmp_path / "place")
    assert draft_folder(tmp_path / "link", Record("test")) == draft_folder(tmp_path / "place", Record("test"))
    with publish(tmp_path / "link", Record("test")):
        pass
    with pytest.raises(OutputError, match="already finished"), publish(tmp_path / "place", Record("test")):
        pass


def test_a_folder_beside_with_a_longer_name_is_another(tmp_path: Path):
    """`model.v2` being made does not keep `model` from being made."""
    with publish(tmp_path / "model.v2", Record("test")), publish(tmp_path / "model", Record("test")):
        pass
    assert sorted(os.listdir(tmp_path)) == ["model", "model.v2"]


def test_a_file_system_without_locks_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where folders cannot be locked, as on some networks, a command works as before."""

    def refuse(handle: int, kind: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", refuse)
    with only_writer(tmp_path / "draft"):
        assert not is_being_written(tmp_path / "draft")
    with publish(tmp_path / "out", Record("test")):
        pass
    assert (tmp_path / "out" / "record.json").is_file()


def test_drafts_of_stopped_runs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A draft with other settings that nobody works on is named with its size, and stays."""
    old = draft_folder(tmp_path / "out", Record("test", {"steps": 1}))
    old.mkdir()
    (old / "weights").write_bytes(b"0" * 2_500_000)
    with publish(tmp_path / "out", Record("test", {"steps": 2})):
        pass
    said = f"{old}: left by a stopped run with other settings (2.5 MB). Remove it, if that run is not to go on.\n"
    assert capsys.readouterr().err == said
    assert (old / "weights").is_file()
