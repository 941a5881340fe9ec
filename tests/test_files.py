"""Files written whole, and folders with one writer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phonybrains.errors import OutputError
from phonybrains.files import is_being_written, only_writer, sync_folder, write_whole
from phonybrains.record import Record, draft_folder, is_published, publish

RECORD = Record("test", {"size": 1}, 0)
HOLD = """
import sys
from pathlib import Path
from phonybrains.files import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that keeps a folder to itself until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_file_is_replaced_whole_and_leaves_nothing_beside(tmp_path: Path):
    """write_whole replaces the content of a file, and no temporary file stays, also where it fails."""
    write_whole(tmp_path / "a", b"first")
    write_whole(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a", "text")  # type: ignore[arg-type]
    assert (tmp_path / "a").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_has_one_writer_until_its_process_ends(tmp_path: Path):
    """While another process holds a folder it cannot be taken; once that is killed it can."""
    other = hold(tmp_path / "draft")
    try:
        assert is_being_written(tmp_path / "draft")
        with pytest.raises(OutputError, match="another phonybrains is at work"), only_writer(tmp_path / "draft"):
            pass
    finally:
        other.kill()
        other.communicate()
    assert not is_being_written(tmp_path / "draft")
    with only_writer(tmp_path / "draft"):
        pass


@pytest.mark.parametrize("settings", [{"size": 1}, {"size": 2}])
def test_what_another_process_is_making_is_left_alone(tmp_path: Path, settings: dict[str, int]):
    """A folder that another process is making, with these or other settings, is not begun, and its draft stays."""
    draft = draft_folder(tmp_path / "out", Record("test", settings, 0))
    other = hold(draft)
    try:
        (draft / "work").write_text("of the other")
        with pytest.raises(OutputError, match="another phonybrains is at work"), publish(tmp_path / "out", RECORD):
            pass
        assert (draft / "work").read_text() == "of the other"
    finally:
        other.communicate("")


def test_all_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each file and folder of a draft is synced, after its last change, before the rename, and the parent after it.

    So are the folders above that were made for it: `--out a/b/c` is found after a power cut.
    """
    told: list[str] = []
    sync, rename = os.fsync, Path.rename

    def fsync(handle: int) -> None:
        told.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        told.append(f"rename to {target}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    out = tmp_path / "a" / "b" / "out"
    with publish(out, RECORD) as draft:
        (draft / "images").mkdir()
        (draft / "images" / "a.png").write_bytes(b"a")
    place = told.index(f"rename to {out}")
    synced = {Path(path) for path in told[:place]}
    assert {draft, draft / "images", draft / "images" / "a.png", draft / "record.json"} <= synced
    assert told[place + 1 :] == [str(folder) for folder in (out.parent, tmp_path / "a", tmp_path)]


def test_syncing_passes_links_by(tmp_path: Path):
    """A link that leads nowhere does not stop a folder from being synced."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    sync_folder(tmp_path)
    assert (tmp_path / "link").is_symlink()


def test_the_current_folder_and_links_can_be_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`.` in an empty folder, a link to one and a link that leads nowhere yet are places to publish into.

    The current folder is filled and not replaced: a shell may stand in it.
    """
    here = tmp_path / "here"
    here.mkdir()
    before = here.stat().st_ino
    monkeypatch.chdir(here)
    with publish(Path("."), RECORD) as draft:
        assert draft.parent == tmp_path
        (draft / "images").mkdir()
    assert here.stat().st_ino == before
    assert sorted(os.listdir(here)) == ["images", "record.json"]
    assert os.listdir(tmp_path) == ["here"]
    for name, exists in (("full", True), ("dangling", False)):
        if exists:
            (tmp_path / f"{name} place").mkdir()
        (tmp_path / name).symlink_to(tmp_path / f"{name} place")
        with publish(tmp_path / name, RECORD):
            pass
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / f"{name} place" / "record.json").is_file()


@pytest.mark.parametrize("resume", [False, True])
def test_a_stopped_move_into_the_current_folder_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
):
    """Stopped in the midst of filling the current folder, the same command finds all on the disk and moves the rest."""
    here, rename, moves = tmp_path / "here", Path.rename, [0]
    here.mkdir()
    monkeypatch.chdir(here)

    def stopped(self: Path, target: Path) -> Path:
        moves[0] += target.parent == here
        if moves[0] == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    def make() -> None:
        with publish(Path("."), RECORD, resume=resume) as draft:
            for name in ("a", "b", "c"):
                (draft / name).write_text(name)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            make()
    assert len(os.listdir(here)) == 1
    assert is_published(Path("."), RECORD)
    assert sorted(os.listdir(here)) == ["a", "b", "c", "record.json"]
    assert os.listdir(tmp_path) == ["here"]


def test_what_a_killed_write_has_left_is_not_published(tmp_path: Path):
    """Halves of files that a killed process left in a draft, or of its report beside it, are gone in the end."""
    draft = draft_folder(tmp_path / "out", RECORD)
    draft.mkdir()
    (draft / ".a.png.4711.partial").write_bytes(b"half")
    (tmp_path / ".out.import.csv.4711.partial").write_bytes(b"half")
    (tmp_path / ".out.v2.import.csv.4711.partial").write_bytes(b"of another")
    with publish(tmp_path / "out", RECORD, resume=True):
        pass
    assert os.listdir(tmp_path / "out") == ["record.json"]
    assert sorted(os.listdir(tmp_path)) == [".out.v2.import.csv.4711.partial", "out"]
