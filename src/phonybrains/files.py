"""Files that a stop, a full disk or a power cut leaves whole: on the disk before they have their name, by one writer.

A rename alone does not do: the new name may be on the disk before the content is (ext4(5), "auto_da_alloc").
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError

SYNC_AT_ONCE = 32
"""Files synced side by side: the journal of a file system is then written once for many of them."""
NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What file systems of networks answer that lock no folders: there nobody tells two writers apart."""


def at_home(path: str) -> str:
    """A path with the home folder in place of a ~ that it begins with, as a shell has it."""
    return os.path.expanduser(path) if path == "~" or path.startswith("~/") else path


def write_whole(path: Path, content: bytes | memoryview, *, sync: bool = True, mode: int = 0o666) -> None:
    """Write a file whole or not at all, and on the disk before it has its name.

    mode: who may read it, less what the umask forbids. Without `sync` a power cut can lose it: for files of a draft
    that can be made anew, as `record.publish` syncs what it publishes.
    """
    with whole(path, sync=sync, mode=mode) as partial:
        partial.write_bytes(content)


@contextmanager
def whole(path: Path, *, sync: bool = True, mode: int = 0o666, new: bool = False) -> Iterator[Path]:
    """An empty file to write into, beside the one whose name it then gets; see `write_whole`.

    new: raise FileExistsError where there is one of that name, and leave it as it is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # another process may be writing the same
    try:
        partial.touch(mode)
        yield partial
        if sync:
            sync_path(partial)
        if new:
            os.link(partial, path)
        else:
            partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    if sync:
        sync_path(path.parent)


def link_or_copy(source: Path, path: Path) -> None:
    """Have a file under one more name: as a link to the same bytes, else, on another disk or one without, as a copy.

    What has that name already stays as it is.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        os.link(source, path)
    if not path.exists():
        with whole(path, sync=False) as partial:
            shutil.copyfile(source, partial)


def sync_folder(folder: Path) -> None:
    """Have all that is below a folder on the disk, and its names; what `write_whole` was stopped at is removed."""
    for path in folder.rglob(".*.partial"):
        if path.is_file():
            path.unlink()
    below = list(folder.rglob("*"))
    folders = [path for path in below if path.is_dir() and not path.is_symlink()]
    with ThreadPoolExecutor(SYNC_AT_ONCE) as pool:
        for _ in pool.map(sync_path, [path for path in below if path.is_file() and not path.is_symlink()]):
            pass
    for path in (*folders, folder):
        sync_path(path)


def sync_path(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():  # no names to sync on some networks
            raise
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync leaves the content in the drive's own memory
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        os.fsync(handle)


@contextmanager
def only_writer(folder: Path, shown: Path | None = None) -> Iterator[None]:
    """Let no other process write into a folder, which is made if need be.

    The lock is the system's own, on the folder itself: it is gone when the process is, however that ended.
    Raises OutputError, which names `shown` or the folder, if another process is at work there.
    """
    handle = _locked(folder, at_work(shown or folder))
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait until no other process is at work in a folder, which is made if need be, then be the one that is."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # where no folder can be locked, nobody waits
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_being_written(folder: Path) -> bool:
    """Whether another process is at work in a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(handle, fcntl.LOCK_SH)  # shared: two who look do not take each other for writers
    finally:
        os.close(handle)


def at_work(folder: Path) -> OutputError:
    """What to tell the second of two writers."""
    return OutputError(f"{folder}: another phonybrains is at work here. Wait for it, or choose another --out.")


def _locked(folder: Path, refusal: OutputError) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            if not _lock(handle, fcntl.LOCK_EX):
                raise refusal
            if folder.is_dir() and os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the other was done in between, and has given the folder its name


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True
