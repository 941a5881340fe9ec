"""The stage: whole or not at all, taken up where it was stopped, and nothing begun that cannot be done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from phonybrains.cli.parser import app
from phonybrains.errors import ConfigError, ImageSetError, OutputError
from phonybrains.exporting.dicom import DicomFiles
from phonybrains.exporting.parts import ExportPart
from phonybrains.exporting.stage import export
from phonybrains.record import read_record
from tests.support.exported_sets import make_set, noise


def contents(folder: Path) -> dict[str, bytes]:
    """All files of an export but its record, which has the hour."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "record.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stop_at(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> list[str]:
    """Let the writing of the file of this number fail; the list holds those that were begun."""
    written, write = list[str](), DicomFiles.write

    def counted(self: DicomFiles, part: ExportPart, path: Path) -> None:
        written.append(part.file)
        if len(written) == count:
            raise error
        write(self, part, path)

    monkeypatch.setattr(DicomFiles, "write", counted)
    return written


def test_a_stopped_export_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same command writes only what is missing, and the result is that of a run without a stop."""
    made = make_set(tmp_path / "set", noise(4))
    whole = contents(export(made, tmp_path / "whole", to="dicom", show=False))
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            export(made, tmp_path / "out", to="dicom", show=False)
    assert not (tmp_path / "out").exists()
    again = stop_at(monkeypatch, 99, KeyboardInterrupt())
    assert contents(export(made, tmp_path / "out", to="dicom", show=False)) == whole
    assert len(again) == 2
    export(made, tmp_path / "out", to="dicom", show=False)
    assert len(again) == 2, "a finished export is not written again"


def test_a_full_disk_is_said_and_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No folder appears; the files that were written wait for the same command."""
    stop_at(monkeypatch, 3, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(OutputError, match=r"out: the disk is full\. What is done is kept"):
        export(make_set(tmp_path / "set", noise(4)), tmp_path / "out", to="dicom", show=False)
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.glob(".out.*.partial/*/*.dcm"))) == 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    """Also an export of other settings, and one in which a file was changed; the record lists every file's hash."""
    made = make_set(tmp_path / "set", noise(1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="mine already exists and was not made by this command"):
        export(made, tmp_path / "mine", to="dicom", show=False)
    out = export(made, tmp_path / "out", to="png", show=False)
    with pytest.raises(OutputError, match="out already exists"):
        export(made, out, to="nifti", show=False)
    assert set(read_record(out)["results"]["files"]) == set(contents(out))
    (out / "images/000000.png").write_bytes(b"")
    with pytest.raises(OutputError, match="no longer whole"):
        export(made, out, to="png", show=False)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"to": "jpeg"}, ConfigError, "to: .*dicom.*nifti"),
        ({"to": "dicom", "window": (40, 0)}, ConfigError, "the width is more than 0 HU"),
        ({"to": "dicom", "field_of_view_mm": 0.0}, ConfigError, "field_of_view_mm"),
        ({"to": "bids", "contrast": "T9w"}, ConfigError, "contrast"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], error: Any, said: str):
    """Before anything is written."""
    with pytest.raises(error, match=said):
        export(make_set(tmp_path / "set", noise(1)), tmp_path / "out", show=False, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_set_is_told(tmp_path: Path):
    """And how to make one."""
    with pytest.raises(ImageSetError, match=r"is not an image set: it has no metadata\.csv"):
        export(tmp_path, tmp_path / "out", to="dicom")


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`phonybrains export` with its options, as it is typed."""
    made, out = make_set(tmp_path / "set", noise(2), "CT"), tmp_path / "out"
    app(["export", str(made), "--to", "dicom", "--out", str(out), "--window", "40", "80", "--field-of-view", "230"])
    assert f"{out}: 2 images in 1 series" in capsys.readouterr().out
    assert read_record(out)["config"]["window"] == [40, 80]
