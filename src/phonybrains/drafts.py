"""Drafts: a folder is made beside its place, and appears there in one step, whole and on the disk, or not at all."""

from __future__ import annotations

import errno
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError
from .files import at_work, is_being_written, only_writer, sync_folder, sync_path
from .replacing import take_place

RECORD_NAME = "record.json"
"""The file that says that a folder is finished; it comes last."""


@contextmanager
def appear(out: Path, draft: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a draft folder; on success rename it to `out`, once all is on the disk; otherwise `keep` or remove it.

    Raises OutputError when the disk is full or not writable, and while another process is making `out`.
    """
    target = out.resolve()
    new = [path for path in target.parents if not path.exists()]
    try:
        with only_writer(draft, out):
            with _cleaned(draft, keep):
                _check_others(out, target, draft)
                if not keep:
                    empty(draft)
                yield draft
                sync_folder(draft)
                here = target.is_dir() and target.samefile(".")
                if not here:
                    take_place(draft, target)
            if here:
                move_in(draft, target)
            for path in (target.parent, *(path.parent for path in new)):
                sync_path(path)
    except OSError as error:
        _explain(error, out, draft, keep)
        raise


@contextmanager
def _cleaned(draft: Path, keep: bool) -> Iterator[None]:
    """Where something goes wrong, remove a draft that is not kept, or that nothing was written into."""
    try:
        yield
    except BaseException:
        if not keep:
            shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):
            draft.rmdir()
        raise


def _check_others(out: Path, target: Path, draft: Path) -> None:
    """Raise OutputError if another draft of `out` is being written; name those that stopped runs have left.

    Of two processes that begin at once, each with its own draft, the one whose draft comes first by name goes on.
    """
    patience = time.monotonic() + 1
    while busy := [path for path in _others(target, draft) if is_being_written(path)]:
        if min(busy) < draft or time.monotonic() > patience:
            raise at_work(out)
        time.sleep(0.05)
    for path in _beside(target, r"[^.]+\.csv\.\d+"):
        path.unlink()  # the half of a report that a stopped run was writing
    for path in _others(target, draft):
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        what = f"left by a stopped run with other settings ({size:.1f} MB)"
        print(f"{path}: {what}. Remove it, if that run is not to go on.", file=sys.stderr)


def _others(target: Path, draft: Path) -> list[Path]:
    """The drafts of a folder but this one."""
    return [path for path in _beside(target, "[^.]+") if path != draft and path.is_dir()]


def _beside(target: Path, what: str) -> list[Path]:
    """What is unfinished beside a folder, by a pattern between its name and `.partial`."""
    name = re.compile(rf"\.{re.escape(target.name)}\.{what}\.partial")
    return [path for path in target.parent.iterdir() if name.fullmatch(path.name)]


def move_in(draft: Path, target: Path) -> None:
    """Move the content of a draft into the current folder, its record last: a shell that stands there must not lose it.

    All of it is on the disk by now, so that what a stop leaves undone is done by `_moved_in`.
    """
    for path in sorted(draft.iterdir(), key=lambda path: path.name == RECORD_NAME):
        path.rename(target / path.name)
        sync_path(target)
    draft.rmdir()


def empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _explain(error: OSError, out: Path, draft: Path, keep: bool) -> None:
    """Raise OutputError for what a person can mend: a full disk, no permission, a folder that appeared meanwhile."""
    kept = "What is done is kept" if keep else "Nothing was left"
    path = Path(str(error.filename or draft))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise OutputError(f"{out}: the disk is full. {kept}: free some space, give the command again.") from error
    if draft not in (path, *path.parents) and path not in draft.parents:
        return  # it is about an input
    if error.errno in (errno.EACCES, errno.EROFS):
        raise OutputError(f"{out}: the folder cannot be written ({error.strerror}). Choose another --out.") from error
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
        raise OutputError(f"{out}: somebody else has written here meanwhile. {kept}: choose another --out.") from error
