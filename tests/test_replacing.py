"""What may be replaced gives way whole and at once; everything else stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phonybrains import drafts, replacing
from phonybrains.errors import OutputError
from phonybrains.imageset import ImageSet, check_whole
from phonybrains.importing import ImportConfig, import_images
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import Record, fingerprint, is_published, publish
from phonybrains.replacing import check_vacant, overwriting, write_named

SMALL = ImportConfig(size=32)


def phantoms(out: Path, n: int, *, overwrite: bool = True) -> None:
    with overwriting(*([out] if overwrite else [])):
        make_phantoms(n, out, size=32)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_folder_gives_way_to_another_of_its_kind(tmp_path: Path) -> None:
    """Only where that is asked for; the refusal says so; nothing is left of the old one or of the draft."""
    out = tmp_path / "set"
    phantoms(out, 2)
    with pytest.raises(OutputError, match=r"n: 2 there, 3 here.*--overwrite has it replaced"):
        phantoms(out, 3, overwrite=False)
    phantoms(out, 3)
    assert len(ImageSet.open(out)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_same_settings_leave_it_as_it_is(tmp_path: Path) -> None:
    """What is finished and whole is not made again."""
    phantoms(tmp_path / "set", 2)
    before = (tmp_path / "set").stat().st_ino
    phantoms(tmp_path / "set", 2)
    assert (tmp_path / "set").stat().st_ino == before


def test_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    """One that lost an image is replaced, as a person would by removing it."""
    out = tmp_path / "set"
    phantoms(out, 2)
    (out / "images/000001.png").unlink()
    with pytest.raises(OutputError, match="no longer whole"):
        phantoms(out, 2, overwrite=False)
    phantoms(out, 2)
    check_whole(out)


def add_a_file(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def correct_the_table(out: Path) -> None:
    (out / "metadata.csv").write_text((out / "metadata.csv").read_text().replace("axial", "Axial"))


def save_as_another_code(out: Path) -> None:
    (out / "metadata.csv").write_bytes((out / "metadata.csv").read_text().encode("utf-16"))


def link_in(out: Path) -> None:
    (out / "images/more").symlink_to(out.parent)


def forget(out: Path) -> None:
    (out / "record.json").unlink()


def as_study(out: Path) -> None:
    shutil.rmtree(out)
    with publish(out, Record("design")) as draft:
        (draft / "protocol.json").write_text("{}")


def as_model(out: Path) -> None:
    shutil.rmtree(out)
    with publish(out, Record("train")) as draft:
        (draft / "model.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (add_a_file, "notes.txt is not as phonybrains left it"),
        (correct_the_table, "metadata.csv is not as"),
        (save_as_another_code, "is not as phonybrains left it"),
        (link_in, "images/more is not as"),
        (forget, "no finished output of phonybrains"),
        (as_study, "what 'design' made never is"),
        (as_model, "made by 'train', not by 'phantom'"),
    ],
)
def test_what_is_not_the_commands_own_stays(tmp_path: Path, change: Callable[[Path], None], why: str) -> None:
    """Another hand's file, correction or link, a folder of another stage, a study: refused, and as they were."""
    out = tmp_path / "set"
    phantoms(out, 2)
    change(out)
    before = files(out)
    with pytest.raises(OutputError, match=why):
        phantoms(out, 3)
    assert files(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_file_that_came_while_it_was_made_stays(tmp_path: Path) -> None:
    """What is in the folder is looked at again right before it goes."""
    out, record = tmp_path / "set", Record("phantom", {"n": 9})
    phantoms(out, 2)
    with overwriting(out), pytest.raises(OutputError, match=r"notes\.txt"), publish(out, record):
        add_a_file(out)
    assert (out / "notes.txt").read_text() == "mine"
    check_whole(out)


def test_a_study_and_what_others_sent_are_never_replaced(tmp_path: Path) -> None:
    """Not even by their own stage: answers, paid images and downloads cannot be made again."""
    for stage in replacing.NEVER:
        out = tmp_path / stage
        with publish(out, Record(stage)) as draft:
            (draft / "answers.db").write_text("A")
        with overwriting(out), pytest.raises(OutputError, match="never is"):
            is_published(out, Record(stage, {"other": 1}))


def test_a_model_without_a_list_is_told_by_its_times(tmp_path: Path) -> None:
    """A file that was moved into a folder whose record lists none is newer there than the record, however old it is."""
    out = tmp_path / "model"
    with publish(out, Record("train")) as draft:
        (draft / "model.json").write_text("{}")
    os.utime(out / "record.json", (1e9, 1e9))
    with overwriting(out), pytest.raises(OutputError, match=r"model\.json is not as"):
        is_published(out, Record("train", {"steps": 1}))


def test_inputs_are_never_inside(tmp_path: Path) -> None:
    """Neither the folder itself, by another name too, nor one in it; nor a copy of it that is read."""
    out = tmp_path / "set"
    phantoms(out, 2)
    (tmp_path / "link").symlink_to(out)
    for given in (out, tmp_path / "link", out / "images"):
        with pytest.raises(OutputError, match="which is read, lies there"), overwriting(out, inputs=[given]):
            pass
    import_images([out], tmp_path / "corpus", SMALL, progress=False)
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy")
    copy = tmp_path / "copy"
    read = Record("import", inputs=[{"sha256": fingerprint(copy)}])
    with overwriting(copy), pytest.raises(OutputError, match="not overwritten: it is read"):
        is_published(copy, read)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced; nothing that a link inside leads to is touched."""
    phantoms(tmp_path / "set", 2)
    (tmp_path / "link").symlink_to("set")
    phantoms(tmp_path / "link", 3)
    assert (tmp_path / "link").is_symlink()
    assert len(ImageSet.open(tmp_path / "set")) == 3


def test_a_failed_import_keeps_the_set_and_its_lists(tmp_path: Path) -> None:
    """Where the new sources hold no image, the old set is there with its report and its list of sources."""
    phantoms(tmp_path / "in", 2)
    out = tmp_path / "corpus"
    import_images([tmp_path / "in"], out, SMALL, progress=False)
    before = files(tmp_path)
    (tmp_path / "empty").mkdir()
    with overwriting(out), pytest.raises(Exception, match="no image can be used"):
        import_images([tmp_path / "empty"], out, SMALL, progress=False)
    assert files(tmp_path) == before


@contextmanager
def dying_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, turn: int) -> Iterator[None]:
    """Kill this process before the call of a function that comes in this turn."""
    calls, function = iter(range(100)), getattr(place, name)

    def counted(*given: Any, **how: Any) -> Any:
        if next(calls) == turn:
            os._exit(9)
        return function(*given, **how)

    monkeypatch.setattr(place, name, counted)
    yield
    monkeypatch.undo()


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize(
    ("place", "name", "turn"),
    [(drafts, "take_place", 0), *((Path, "rename", turn) for turn in range(-3, 0)), (shutil, "rmtree", 0)],
)
def test_a_kill_at_any_moment_leaves_one_of_the_two_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool, place: Any, name: str, turn: int
) -> None:
    """Old or new, never neither nor half, also where a disk cannot exchange names; the same command ends the rest."""
    out = tmp_path / "set"
    phantoms(out, 2)
    if not exchanges:
        monkeypatch.setattr(replacing, "_exchange", lambda *_: False)
    total = _renames(tmp_path / "other", monkeypatch) if place is Path else 0
    child = os.fork()
    if not child:
        with dying_at(monkeypatch, place, name, turn + total if turn < 0 else turn):
            phantoms(out, 3)
        os._exit(0)
    os.waitpid(child, 0)
    if out.exists():
        check_whole(out)
        assert len(ImageSet.open(out)) in (2, 3)
    else:
        assert not exchanges
        aside = tmp_path / ".set.phonybrains-replaced"
        assert len(ImageSet.open(aside)) == 2
    phantoms(out, 3)
    assert len(ImageSet.open(out)) == 3
    assert {path.name for path in tmp_path.iterdir()} <= {"set", "other"}


def _renames(out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many renames there are in all when a set is replaced."""
    phantoms(out, 2)
    calls, rename = list[int](), Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *given: (calls.append(1), rename(*given))[1])
        phantoms(out, 3)
    return len(calls)


def test_what_was_exchanged_is_no_draft(tmp_path: Path) -> None:
    """The old folder, left under the draft's name by a kill, is not taken for the begun new one."""
    out, new = tmp_path / "set", Record("phantom", {"n": 9})
    phantoms(out, 2)
    draft = tmp_path / f".set.phantom-{new.identity[:12]}.partial"
    shutil.copytree(out, draft)
    with overwriting(out), publish(out, new, resume=True) as place:
        assert list(place.iterdir()) == []


def test_a_named_file_stays(tmp_path: Path) -> None:
    """Another content is refused, the same content is no matter, and --overwrite writes it."""
    path = tmp_path / "sheet.png"
    write_named(path, b"a")
    write_named(path, b"a")
    with pytest.raises(OutputError, match=r"sheet\.png exists already.*--overwrite"):
        write_named(path, b"b")
    with pytest.raises(OutputError, match="exists already"):
        check_vacant(path)
    assert path.read_bytes() == b"a"
    with overwriting(path):
        write_named(path, b"b")
    assert path.read_bytes() == b"b"
