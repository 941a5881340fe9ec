"""Find the files of a source, tell which reader each is for, and unpack its archives."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ..errors import SourceError
from ..record import RECORD_NAME, fingerprint, read_record, sha256_file
from .archives import PACKED, ZIP, Tell, kind_of_archive, unpack_all
from .parallel import map_in_order, threads
from .reader import NO_MASKS, Masks
from .readers import FORMATS, READERS, kind_of
from .sets import is_exported, is_fetched, is_image_set, listed, not_fetched, record_of_sets
from .slices import Notice, name_below, shown

TAIL_BYTES = 4096
KINDS = tuple(reader.kind for reader in READERS)


@dataclass(frozen=True)
class Scan:
    """What a source holds: files by kind, in natural order; notices on what was left out; SHA-256 of the content.

    root: the folder that is read, which is a temporary copy where archives were unpacked; given: what it is a copy of;
    name: the base name of the folder, with a number where another source has the same; number: its place, from 1;
    masks: what outlines its images (pairing.py), and the SHA-256 of that, "" without.
    """

    root: Path
    name: str
    files: dict[str, list[Path]]
    notices: list[Notice]
    sha256: str
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    number: int = 1
    masks: Masks = field(default_factory=lambda: NO_MASKS)
    masks_sha256: str = ""
    given: Path = Path()

    def origin(self, path: Path) -> Path:
        """Where a file of it lies for its owner, links followed; in an archive it is as if that were a folder."""
        return (self.given / path.relative_to(self.root)).resolve()

    @property
    def label(self) -> str:
        """What a set calls it: number, kinds of file and digest, for names of folders can be those of people."""
        kinds = "+".join(kind for kind, files in self.files.items() if files) or "empty"
        return f"{self.number} {kinds} {self.sha256[:12]}"

    @property
    def settings_name(self) -> str:
        """What the option `sources` calls it."""
        return normalize("NFC", shown(self.root.name))


def scan_all(sources: Sequence[Path], place: Callable[[], Path], tell: Tell = lambda name: None) -> list[Scan]:
    """Scan each source; archives are unpacked below `place()`.

    Raises SourceError if a source does not exist, or is read with another already.
    """
    _check_apart(sources)
    with threads() as pool:
        scans = [scan(source, pool, lambda n=number: place() / str(n), tell) for number, source in enumerate(sources)]
    seen: Counter[str] = Counter()
    for number, item in enumerate(scans, start=1):
        seen[item.name] += 1
        again = f" ({seen[item.name]})" if seen[item.name] > 1 else ""
        scans[number - 1] = replace(item, name=f"{item.name}{again}", number=number)
    return scans


def _check_apart(sources: Sequence[Path]) -> None:
    """Raise SourceError for a source that is given twice, or is a part of another."""
    seen: dict[Path, Path] = {}
    for source in sources:
        if (place := source.resolve()) in seen:
            raise SourceError(f"{source} is given twice. Give it once.")
        seen[place] = source
    for place, source in seen.items():
        if whole := next((seen[parent] for parent in place.parents if parent in seen), None):
            raise SourceError(f"{source} lies inside {whole}, which is read as a whole. Give one of them.")


def scan(source: Path, pool: ThreadPoolExecutor, place: Callable[[], Path], tell: Tell = lambda name: None) -> Scan:
    """Walk a folder (or take a single file) and sort its files. Raises SourceError if there is no such file or folder.

    Hidden files are passed over, links to folders followed once. Everything that is read later counts in the SHA-256.
    A source with archives is scanned as it looks below `place()`, where they are unpacked.
    """
    root, own = _root_of(source)
    given = root
    notices: list[Notice] = []
    found = list(_walk(root, notices)) if source.is_dir() else [root / source.name]
    if not own and (archives := _archives(found, pool)):
        alone = not source.is_dir() and archives[found[0]] != "packed"
        copy = place() / root.name
        notices += unpack_all(root, found, archives, copy, "" if alone else f"{root.name}/", tell)
        root, given = (copy / source.name, source.resolve()) if alone else (copy, root)
        found = list(_walk(root, notices)) if root.is_dir() else []
        own = is_image_set(root)
    files, hashes = _sorted(root, found, pool, listed(root) if own else None, notices)
    if own or (source.is_dir() and (is_fetched(root) or is_exported(root))):
        record = read_record(root)
        notices += not_fetched(record, root.name)
    else:
        record = record_of_sets(found, (path for paths in files.values() for path in paths))
    digest = fingerprint(root) if own else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Scan(root, root.name, files, notices, digest, record, given=given)


def _root_of(source: Path) -> tuple[Path, bool]:
    """The folder to read, and whether it is an image set. Raises SourceError for a part of one, and for nothing."""
    try:
        source.stat()
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error.strerror}). Check the path.") from None
    root = (source if source.is_dir() else source.parent).resolve()
    if source.is_dir() and is_image_set(root):
        return root, True
    if whole := next(filter(is_image_set, (root, *root.parents)), None):
        what = f"lies inside the image set {whole}, which alone knows what its images are"
        raise SourceError(f"{source} {what}. Give that folder.")
    return root, False


def _sorted(
    root: Path, found: Sequence[Path], pool: ThreadPoolExecutor, known: set[str] | None, notices: list[Notice]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Files by kind, and the lines that make the SHA-256 of a source; known: the images of a set, which alone count."""
    examined = dict(zip(found, map_in_order(pool, _examine, found), strict=True))
    of_kind = {kind: [path for path, file in examined.items() if file.kind == kind] for kind in KINDS}
    parts = {path for reader in READERS for path in reader.parts(of_kind[reader.kind])}
    along = parts.union(*(reader.sidecars(of_kind[reader.kind]) for reader in READERS))
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    hashes: list[str] = []
    for path, file in examined.items():
        if known is not None and file.kind in KINDS and path.relative_to(root).as_posix() not in known:
            notices.append(Notice(name_below(root, path), "note", "no image of the set: left out"))
            continue
        relative = shown(path.relative_to(root).as_posix())
        if file.sha256 or path in along:
            hashes.append(f"{relative} {file.sha256 or sha256_file(path)}\n")
        if path in parts:
            continue
        if file.kind in KINDS:
            files[file.kind].append(path)
        elif file.reason:
            notices.append(Notice(f"{root.name}/{relative}", file.kind, file.reason))
    return files, hashes


def _archives(found: Sequence[Path], pool: ThreadPoolExecutor) -> dict[Path, str]:
    """The archives among files, and their kinds; not the packed values that a header names."""
    named = {path for reader in READERS for path in reader.parts(found)}
    kinds = zip(found, map_in_order(pool, kind_of_archive, found), strict=True)
    return {path: kind for path, kind in kinds if kind and path not in named}


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts slice 2 before slice 10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if index % 2 else (1, 0, part) for index, part in enumerate(parts)]


def _walk(root: Path, notices: list[Notice]) -> Iterator[Path]:
    """All files below a folder in natural order; a folder reached again through a link is left out."""
    seen: set[tuple[int, int]] = set()

    def visit(folder: Path) -> Iterator[Path]:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as error:
            reason = f"the folder cannot be read ({error.strerror})"
            notices.append(Notice(name_below(root, folder), "skipped", reason))
            return
        for entry in entries:
            if not entry.name.startswith(".") and entry.name not in (RECORD_NAME, "__MACOSX"):
                path = folder / entry.name
                if os.path.isdir(path):
                    yield from visit(path)
                else:
                    yield path

    return visit(root)


@dataclass(frozen=True, slots=True)
class _Examined:
    """A file that a reader takes (kind of reader, SHA-256), or another (`skipped` or `note`, and why).

    A table beside images has only a SHA-256: it is no image, and changes what they become.
    """

    kind: str
    reason: str = ""
    sha256: str = ""


def _examine(path: Path) -> _Examined:
    try:
        if not path.is_file():
            return _Examined("skipped", "a link that leads nowhere" if path.is_symlink() else "not a file")
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
        kind = kind_of(head, path.name, tail)
        if kind in KINDS:
            return _Examined(kind, sha256=sha256_file(path))
        if path.suffix.lower() == ".csv":
            return _Examined("", sha256=sha256_file(path))
    except OSError as error:
        return _Examined("skipped", f"cannot be read ({error.strerror})")
    return _Examined("note", "not an image") if kind == "beside" else _Examined("skipped", _reason(head, path.name))


def _reason(head: bytes, name: str) -> str:
    if not head:
        return "the file is empty"
    if head.startswith((*ZIP, *PACKED)) or name.lower().endswith((".7z", ".rar", ".tar")):
        return "an archive that is damaged, lies in another, or is of a kind that is not read: unpack it first"
    if name.lower().endswith((".img", ".raw", ".zraw")):
        return "values without a header that names them (.hdr, .mhd or .nhdr)"
    return f"not an image in a known format ({FORMATS})"
