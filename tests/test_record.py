"""Provenance and atomic publishing."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.errors import OutputError, PhonyBrainsError
from phonybrains.record import (
    RECORD_NAME,
    Record,
    as_input,
    draft_folder,
    fingerprint,
    is_published,
    is_sealed,
    publish,
    read_record,
    sha256_file,
    versions,
)

RECORD = Record("train", {"steps": 10, "rate": 1e-4}, seed=3, inputs=[{"name": "corpus", "sha256": "abc"}])


def files(folder: Path) -> list[str]:
    """Everything in a folder, hidden drafts included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def publish_text(
    out: Path, record: Record, text: str = "done", *, resume: bool = False, error: BaseException | None = None
) -> None:
    """A stage that writes one file and then ends well, or with the error."""
    with publish(out, record, resume=resume) as draft:
        (draft / "result.txt").write_text(text)
        if error is not None:
            raise error


# --- Publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_appears_whole_at_the_end(tmp_path: Path, resume: bool) -> None:
    """While a stage works nothing is at `out`; then its files and the record are, and nothing beside them."""
    out = tmp_path / "deep" / "model"
    with publish(out, RECORD, resume=resume) as draft:
        (draft / "result.txt").write_text("done")
        assert not out.exists()
        assert draft.parent == out.parent  # one file system, so that the rename cannot be a copy
    assert files(tmp_path) == ["deep", "deep/model", f"deep/model/{RECORD_NAME}", "deep/model/result.txt"]


@pytest.mark.parametrize("error", [RuntimeError("loss is not finite"), KeyboardInterrupt(), SystemExit(1)])
def test_nothing_is_left_of_a_stage_that_fails(tmp_path: Path, error: BaseException) -> None:
    """An error or Ctrl-C comes through unchanged, and neither `out` nor a draft is left."""
    with pytest.raises(type(error)) as caught:
        publish_text(tmp_path / "model", RECORD, error=error)
    assert caught.value is error
    assert files(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("power"), KeyboardInterrupt()])
def test_resume_goes_on_in_the_draft_of_a_stopped_run(tmp_path: Path, error: BaseException) -> None:
    """The same record finds what the stopped run had written, and the result holds both runs' work."""
    out = tmp_path / "model"
    with pytest.raises(type(error)):
        publish_text(out, RECORD, "first", resume=True, error=error)
    assert not out.exists()
    with publish(out, RECORD, resume=True) as draft:
        assert draft == draft_folder(out, RECORD)
        assert (draft / "result.txt").read_text() == "first"
        (draft / "more.txt").write_text("second")
    assert files(tmp_path) == ["model", "model/more.txt", f"model/{RECORD_NAME}", "model/result.txt"]


def test_resume_does_not_go_on_in_the_draft_of_other_settings(tmp_path: Path) -> None:
    """A run with another seed begins empty."""
    with pytest.raises(RuntimeError):
        publish_text(tmp_path / "model", RECORD, resume=True, error=RuntimeError())
    with publish(tmp_path / "model", Record("train", RECORD.config, 4, RECORD.inputs), resume=True) as draft:
        assert files(draft) == []


def test_without_resume_a_draft_left_by_a_killed_run_is_thrown_away(tmp_path: Path) -> None:
    """A process that was killed could not clean up; its files must not get into the next result."""
    draft_folder(tmp_path / "model", RECORD).mkdir()
    (draft_folder(tmp_path / "model", RECORD) / "stale.txt").write_text("stale")
    publish_text(tmp_path / "model", RECORD)
    assert files(tmp_path) == ["model", f"model/{RECORD_NAME}", "model/result.txt"]


def test_publishing_over_a_finished_result_is_refused_before_any_work(tmp_path: Path) -> None:
    """A stage that forgot to ask is_published learns it at once, and the result stays as it is."""
    out = tmp_path / "model"
    publish_text(out, RECORD)
    before = (out / RECORD_NAME).read_bytes()
    with pytest.raises(OutputError, match=r"model is already finished\. Choose another --out, or remove it first\."):
        publish_text(out, RECORD, error=AssertionError("the stage has begun"))
    assert (out / "result.txt").read_text() == "done"
    assert (out / RECORD_NAME).read_bytes() == before
    assert files(tmp_path) == ["model", f"model/{RECORD_NAME}", "model/result.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["in the stage", "in the record"])
def test_a_full_disk_is_told_with_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    """The person learns that the disk is full, whether the work is kept, and what to do; no half result is left."""
    out, full = tmp_path / "model", OSError(code, os.strerror(code))

    def fill(*args: Any) -> None:
        raise full

    if where == "in the record":
        monkeypatch.setattr(Record, "write", fill)
    for resume, said in ((False, "Nothing was left"), (True, "What is done is kept")):
        with pytest.raises(OutputError, match=f"model: the disk is full. {said}: free some space, give the") as caught:
            publish_text(out, RECORD, resume=resume, error=full)
        assert caught.value.__cause__ is full
        assert not out.exists()
        assert (draft_folder(out, RECORD) / "result.txt").exists() == resume


@pytest.mark.parametrize(
    ("code", "said"), [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file system")]
)
def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    """The error names the output, says why, and offers another --out."""

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=rf"model: the folder cannot be written \({said}\). Choose another --out\."):
        publish_text(tmp_path / "model", RECORD)


def test_an_input_that_may_not_be_read_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    """Permission denied on a source file names that file; another --out would not help."""
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "corpus" / "0001.png"))
    with pytest.raises(PermissionError) as caught:
        publish_text(tmp_path / "model", RECORD, error=denied)
    assert caught.value is denied
    assert files(tmp_path) == []


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step too is all or nothing."""

    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        publish_text(tmp_path / "model", RECORD)
    assert files(tmp_path) == []


# --- is_published ----------------------------------------------------------------------------------------------------


def test_is_published_is_true_only_for_the_same_record(tmp_path: Path) -> None:
    """Not there and empty are False, and do not stand in the way; a result of this record is True."""
    out = tmp_path / "model"
    assert not is_published(out, RECORD)
    out.mkdir()
    assert not is_published(out, RECORD)
    publish_text(out, RECORD)
    assert is_published(out, RECORD)
    assert (out / "result.txt").read_text() == "done"


def test_anything_else_at_out_is_refused(tmp_path: Path) -> None:
    """Another run's result, a folder of someone's files and a file are never taken for a result or overwritten."""
    other, foreign, file = tmp_path / "other", tmp_path / "foreign", tmp_path / "file"
    publish_text(other, Record("train", seed=99))
    foreign.mkdir()
    (foreign / "thesis.docx").write_text("precious")
    file.write_text("precious")
    for out in (other, foreign, file):
        before = files(tmp_path)
        for attempt in (is_published, publish_text):
            with pytest.raises(OutputError, match=rf"{out} already exists and was not made by this command"):
                attempt(out, RECORD)
        assert files(tmp_path) == before
    assert file.read_text() == "precious"


# --- The record ------------------------------------------------------------------------------------------------------


def test_identity_covers_what_determines_the_output() -> None:
    """Stage, configuration, seed and content of the inputs, and nothing that may differ between equal outputs."""
    changed = [
        Record("tune", RECORD.config, RECORD.seed, RECORD.inputs),
        Record("train", {**RECORD.config, "steps": 11}, RECORD.seed, RECORD.inputs),
        Record("train", RECORD.config, None, RECORD.inputs),
        Record("train", RECORD.config, RECORD.seed, [{"name": "corpus", "sha256": "abd"}]),
        Record("train", RECORD.config, RECORD.seed, []),
        Record("train", RECORD.config, RECORD.seed, [*RECORD.inputs, *RECORD.inputs]),
    ]
    assert len({record.identity for record in [RECORD, *changed]}) == 7
    renamed = [{"name": "a copy of corpus", "sha256": "abc", "record": {"created": "yesterday"}}]
    same = Record("train", {"rate": 1e-4, "steps": 10}, 3, renamed, [{"licence": "CC0-1.0"}], {"loss": 0.1})
    assert same.identity == RECORD.identity


def test_identity_is_the_same_in_every_process_and_version() -> None:
    """A draft is found again by it, so it may not change with the program: this is its value of version 0.1."""
    assert RECORD.identity == "60d395b7cfb655f6ecf29a73660db5efd08ab7035f4cbfef38d8a419a678a7f4"


def test_a_record_says_how_a_folder_came_to_be(tmp_path: Path) -> None:
    """Stage, identity, time, configuration, seed, inputs, sources, results and versions, as JSON, and a hash of all."""
    record = Record("train", {"steps": 10}, 3, RECORD.inputs, [{"name": "OASIS", "licence": "CC0-1.0"}])
    with publish(tmp_path / "model", record):
        record.results["loss"] = 0.25
    found = read_record(tmp_path / "model")
    text = (tmp_path / "model" / RECORD_NAME).read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"  # for people and for git
    age = datetime.now(UTC) - datetime.fromisoformat(found.pop("created"))
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert is_sealed(text.encode(), found)
    assert not is_sealed(text.replace("0.25", "0.26").encode(), found)
    assert len(found.pop("sha256")) == 64
    assert found == {
        "stage": "train",
        "identity": record.identity,
        "config": {"steps": 10},
        "seed": 3,
        "inputs": [{"name": "corpus", "sha256": "abc"}],
        "sources": [{"name": "OASIS", "licence": "CC0-1.0"}],
        "results": {"loss": 0.25},
        "versions": versions(),
    }
    assert {"python", "platform", "phonybrains", "torch", "diffusers", "numpy"} <= set(versions())
    assert all(versions().values())


def test_results_of_numpy_stay_numbers(tmp_path: Path) -> None:
    """A float32 loss must not come back as text; what is no number is written as text, not refused after hours."""
    numbers = {"loss": np.float32(0.25), "n": np.int64(7), "best": np.array(1.5)}
    Record("train", results=numbers | {"where": Path("a/b"), "all": np.ones(2)}).write(tmp_path)
    found = read_record(tmp_path)["results"]
    assert found == {"loss": 0.25, "n": 7, "best": 1.5, "where": "a/b", "all": "[1. 1.]"}


def test_records_nest_from_the_samples_to_the_scans(tmp_path: Path) -> None:
    """One file leads back through every stage; it holds base names and no path of this machine."""
    folder, earlier = tmp_path / "scans", None
    for stage in ("import", "train", "generate"):
        record = Record(stage, inputs=[as_input(folder)] if earlier else [])
        publish_text(tmp_path / stage, record, stage)
        folder, earlier = tmp_path / stage, record
    found = read_record(tmp_path / "generate")
    (train,) = found["inputs"]
    (scans,) = train["record"]["inputs"]
    assert (train["name"], train["record"]["stage"]) == ("train", "train")
    assert (scans["name"], scans["record"]["stage"]) == (f"import {scans['sha256'][:12]}", "import")
    assert scans["sha256"] == fingerprint(tmp_path / "import")
    assert str(tmp_path) not in (tmp_path / "generate" / RECORD_NAME).read_text()


def test_as_input_finds_the_name_of_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.` is recorded under the folder's own name, unless its images are scans, or of unknown origin."""
    (tmp_path / "corpus").mkdir()
    for stage, name in (("", "folder e3b0c44298fc"), ("import", "import e3b0c44298fc"), ("phantom", "corpus")):
        if stage:
            Record(stage).write(tmp_path / "corpus")
        assert as_input(tmp_path / "corpus")["name"] == name
    monkeypatch.chdir(tmp_path / "corpus")
    assert as_input(Path())["name"] == "corpus"


def test_read_record_of_a_folder_without_one_is_empty_and_of_a_damaged_one_an_error(tmp_path: Path) -> None:
    """A foreign folder has no provenance, which is no mistake; a record that cannot be read is."""
    assert read_record(tmp_path) == {}
    (tmp_path / RECORD_NAME).write_text('{"stage": ')
    with pytest.raises(PhonyBrainsError, match=rf"{RECORD_NAME}: not valid JSON \(.*\). Restore"):
        read_record(tmp_path)


# --- Fingerprints ----------------------------------------------------------------------------------------------------


def make_folder(folder: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_fingerprint_covers_names_and_content_and_nothing_else(tmp_path: Path) -> None:
    """Any changed byte, name or added file changes it; where the folder lies, in what order it was written and its
    record do not."""
    content = {"a.txt": "1", "sub/b.txt": "2"}
    original = fingerprint(make_folder(tmp_path / "original", content))
    copy = make_folder(tmp_path / "copy", {RECORD_NAME: "{}", **dict(reversed(content.items()))})
    assert fingerprint(copy) == original
    changed = [{"a.txt": "2", "sub/b.txt": "2"}, {"a.txt": "1", "b.txt": "2"}, {**content, "c.txt": ""}, {"a.txt": "1"}]
    found = {fingerprint(make_folder(tmp_path / str(i), other)) for i, other in enumerate(changed)}
    assert len(found | {original}) == 5


def test_fingerprint_does_not_depend_on_the_order_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two file systems list the same folder differently."""
    folder = make_folder(tmp_path / "model", {"a": "1", "b": "2", "c": "3"})
    listings = [[folder / name for name in order] for order in ("abc", "cab")]
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: listings.pop())
    assert fingerprint(folder) == fingerprint(folder)


@pytest.mark.parametrize("name", ["metadata.csv", "model.json"])
def test_fingerprint_of_a_set_or_a_model_is_that_of_what_lists_its_parts(tmp_path: Path, name: str) -> None:
    """That has every part's hash in it: images need not be read again, and a word in a card makes no other model."""
    folder = make_folder(tmp_path / "it", {name: "{}", "README.md": "card", "images/1.png": "pixels"})
    assert fingerprint(folder) == sha256_file(folder / name)


def test_fingerprint_of_a_single_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Two volumes given as files, not as folders, are two inputs; one that does not exist is none."""
    first, second = tmp_path / "first.nii", tmp_path / "second.nii"
    first.write_text("one")
    second.write_text("two")
    assert fingerprint(first) == sha256_file(first)
    assert as_input(first) == {"name": "first.nii", "sha256": sha256_file(first), "record": {}}
    assert fingerprint(first) != fingerprint(second)
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "third.nii")


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    """The test vector of FIPS 180-2."""
    (tmp_path / "abc").write_text("abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
