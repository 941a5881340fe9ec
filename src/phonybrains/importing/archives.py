"""Unpack the archives of a source into a temporary copy of its tree, in which all other files are links.

ZIP, TAR and single files packed by gzip, bzip2 or xz are told by their content. What an archive says of itself is not
believed: bytes are counted while they are written, no name leads out of the folder, and no link is followed.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..errors import OutputError, SourceError
from ..files import only_writer
from .reader import vocabulary
from .slices import Notice
from .volumes.magic import family

PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
OTHER_ZIPS = vocabulary(".docx .xlsx .pptx .odt .ods .odp .epub .npz .jar .whl .apk .kmz .pt .pth .keras")
"""ZIP files by their making that hold no folder of images."""
MOST_PACKED = 100
ALWAYS_ALLOWED = 256 << 20
LEFT_FREE = 256 << 20
MOST_MEMBERS = 1_000_000
CHUNK = 1 << 20
FORMAT_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, *FORMAT_ERRORS)
NOT_WRITABLE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
Tell = Callable[[str], None]
Member = tuple[str, IO[bytes] | None, str]


@contextmanager
def workspace(out: Path) -> Iterator[Callable[[], Path]]:
    """A folder beside `out` for what is unpacked, made when first asked for and removed at the end, however that comes.

    Raises OutputError if it cannot be written, or another process is importing to `out`.
    """
    out = out.resolve()
    place = out.with_name(f".{out.name}.unpacked")
    with ExitStack() as stack:

        @cache
        def opened() -> Path:
            try:
                stack.enter_context(only_writer(place))
            except OSError as error:
                raise OutputError(f"{out}: nothing can be unpacked beside it ({error.strerror})") from None
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            for left in place.iterdir():  # of an import that was killed
                shutil.rmtree(left)
            return place

        yield opened


def kind_of_archive(path: Path) -> str:
    """`zip`, `tar`, `packed` (a single file), or "" for what is no archive, or a volume that is read packed."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if head.startswith(ZIP):
            return "" if path.suffix.lower() in OTHER_ZIPS else "zip"
        inner, opened = head, _opener(head)
        if opened:
            with opened(path) as file:
                inner = file.read(512)
    except DAMAGED:
        return ""
    if inner[257:262] == b"ustar" or path.name.lower().endswith((".tar", ".tgz", ".tar.gz")):
        return "tar"
    ready = head.startswith(b"\x1f\x8b") and family(inner) in ("nifti", "nifti2", "mgh")
    return "packed" if opened and not ready else ""


def unpack_all(
    root: Path, found: Sequence[Path], archives: dict[Path, str], place: Path, name: str, tell: Tell
) -> list[Notice]:
    """Make `place` a copy of the tree below `root`: links to its files, and a folder in place of each archive.

    Returns notices, with `name` before each path, on archives and members that were left out. Raises OutputError if the
    disk has no room for them.
    """
    notices: list[Notice] = []
    total = _Total(sum(path.stat().st_size for path in archives))
    for path in found:
        relative = path.relative_to(root)
        target = place / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if path not in archives:
            target.symlink_to(path)
            continue
        tell(relative.as_posix())
        notices += _unpack(path, archives[path], target, f"{name}{relative.as_posix()}", total)
    return notices


def _unpack(path: Path, kind: str, target: Path, name: str, total: _Total) -> list[Notice]:
    """Unpack one archive into the folder `target` (a single file: beside it, without its last extension).

    Returns notices, with `name` before the member's. A damaged, encrypted or exploding archive leaves nothing.
    """
    work = _Unpacking(path.stat().st_size, name=name, place=target.parent, total=total)
    try:
        if kind == "packed":
            work.write_packed(path, target.parent / _bare(target.name))
        else:
            _unpack_members(path, kind, target, work)
    except SourceError as error:
        shutil.rmtree(target, ignore_errors=True)
        return [Notice(name, "skipped", str(error))]
    return work.notices


class _Explodes(SourceError):
    """An archive unpacks to more than any of images would."""


@dataclass
class _Total:
    """Bytes of archives, and of what was unpacked from them: small ones must not do together what one must not."""

    size: int
    written: int = 0

    def expect(self, count: int) -> None:
        if self.written + count > max(ALWAYS_ALLOWED, MOST_PACKED * self.size):
            raise _Explodes(
                f"it unpacks to more than {MOST_PACKED} times its size: refused, as archives made to fill a disk do. "
                "If you trust it, unpack it first"
            )


@dataclass
class _Unpacking(_Total):
    """How much of one archive has been written, and what was left out of it."""

    name: str = ""
    place: Path = Path()
    total: _Total = field(default_factory=lambda: _Total(0))
    notices: list[Notice] = field(default_factory=list)

    def leave_out(self, member: str, reason: str) -> None:
        self.notices.append(Notice(f"{self.name}/{member}", "skipped", reason))

    def expect(self, count: int) -> None:
        """Refuse what would explode, or does not fit on the disk."""
        super().expect(count)
        self.total.expect(count)
        if count > shutil.disk_usage(self.place).free - LEFT_FREE:
            raise self.no_room()

    def no_room(self) -> OutputError:
        what = "no room to unpack it beside the image set. Free some, or choose another --out."
        return OutputError(f"{self.name}: {what}")

    def write(self, source: IO[bytes], target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := source.read(CHUNK):
                self.expect(len(chunk))
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise (self.no_room() if error.errno in (errno.ENOSPC, errno.EDQUOT) else error) from None
                self.written += len(chunk)
                self.total.written += len(chunk)

    def write_packed(self, path: Path, target: Path) -> None:
        with path.open("rb") as file:
            opened = _opener(file.read(8))
        try:
            if target.exists() or target.is_symlink():
                raise SourceError(f"{target.name} lies beside it already")
            with opened(path) as source:
                self.write(source, target)
        except DAMAGED as error:
            target.unlink(missing_ok=True)
            raise SourceError(f"a damaged archive ({type(error).__name__})") from None


def _unpack_members(path: Path, kind: str, target: Path, work: _Unpacking) -> None:
    target.mkdir(parents=True)
    try:
        members = _zip_members(path, work) if kind == "zip" else _tar_members(path)
        for number, (name, source, reason) in enumerate(members):
            if number >= MOST_MEMBERS:
                raise SourceError(f"it has more than {MOST_MEMBERS} members: refused. Unpack it first")
            place = target / _inside(name)
            if reason or source is None:
                work.leave_out(name, reason)
                continue
            try:
                work.write(source, place)
                if kind_of_archive(place) == "packed":
                    work.write_packed(place, place.parent / _bare(place.name))
                    place.unlink()
            except _Explodes:
                raise
            except SourceError as error:
                work.leave_out(name, str(error))
            except DAMAGED as error:
                if getattr(error, "errno", None) in NOT_WRITABLE:
                    work.leave_out(name, "a second member of that name, a folder in its place, or too long a name")
                elif kind == "zip":  # the next one has its own beginning
                    place.unlink(missing_ok=True)
                    work.leave_out(name, f"damaged ({type(error).__name__})")
                else:
                    raise
    except DAMAGED as error:
        raise SourceError(
            f"a damaged archive, or one of a kind that is not read ({type(error).__name__}): unpack it first"
        ) from None


def _zip_members(path: Path, work: _Unpacking) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            _inside(member.filename)
        work.expect(sum(member.file_size for member in members))
        if any(member.flag_bits & 1 for member in members):
            raise SourceError("its members are encrypted: unpack it first")
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, None, "a link: left out"
            else:
                with archive.open(member) as source:
                    yield member.filename, source, ""


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member), ""
            elif not member.isdir():
                yield member.name, None, "a link or device: left out"


def _inside(name: str) -> PurePosixPath:
    """A member's path. Raises SourceError if it leads out of the folder: nothing of such an archive is kept."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or re.match(r"[A-Za-z]:/", str(path)):
        raise SourceError(f"its member '{name}' would be written outside of the folder: refused")
    return path


def _opener(head: bytes) -> Any:
    return next((opener for magic, opener in PACKED.items() if head.startswith(magic)), None)


def _bare(name: str) -> str:
    """The name of what a packed file holds: without the last extension, where that is one of packing."""
    bare = re.sub(r"\.(gz|bz2|xz|lzma)$", "", name, flags=re.IGNORECASE)
    return bare if bare != name else f"{name}.unpacked"
