"""Find the files of a source and tell by their first bytes, then by their extension, which reader they are for."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ImageSetError, PhonyBrainsError, SourceError
from ..imageset import FIXED_COLUMNS, METADATA_NAME, read_metadata
from ..record import RECORD_NAME, as_input, fingerprint, read_record, sha256_file
from .parallel import map_in_order, threads
from .slices import Notice, shown

KINDS = ("raster", "dicom", "nifti", "mat")
EXTENSIONS = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"), "raster"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "dicom"),
    **dict.fromkeys((".nii", ".nii.gz", ".hdr"), "nifti"),
    ".mat": "mat",
}
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
BESIDE = (".md", ".rst", ".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".pdf", ".toml", ".yaml", ".yml", ".py",
          ".xlsx", ".docx", ".img")  # fmt: skip
"""Files that lie beside images and are none (.img is the second half of a NIfTI pair)."""
RASTER_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8")
MAT_MAGIC = (b"MATLAB 7.3 MAT-file", b"MATLAB 5.0 MAT-file")
DICOM_VR = (b"CS", b"UI", b"UL", b"SH", b"LO", b"DA", b"TM", b"OB")


@dataclass(frozen=True)
class Scan:
    """What a source holds: files by kind, in natural order; notices on what was left out; SHA-256 of the content.

    name: the base name of the folder, with a number where another source has the same.
    """

    root: Path
    name: str
    files: dict[str, list[Path]]
    notices: list[Notice]
    sha256: str
    record: dict = field(default_factory=dict, repr=False)


def scan_all(sources: Sequence[Path]) -> list[Scan]:
    """Scan each source. Raises SourceError if one does not exist."""
    with threads() as pool:
        scans = [scan(source, pool) for source in sources]
    names: dict[str, int] = {}
    for place, item in enumerate(scans):
        names[item.name] = names.get(item.name, 0) + 1
        if names[item.name] > 1:
            scans[place] = replace(item, name=f"{item.name} ({names[item.name]})")
    return scans


def scan(source: Path, pool: ThreadPoolExecutor) -> Scan:
    """Walk a folder (or take a single file) and sort its files. Raises SourceError if there is no such file or folder.

    Hidden files are passed over, links to folders followed once. Everything that is read later counts in the SHA-256.
    """
    try:
        source.stat()
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error.strerror}). Check the path.") from None
    root = (source if source.is_dir() else source.parent).resolve()
    own = source.is_dir() and is_image_set(root)
    for folder in () if own else (root, *root.parents):
        if is_image_set(folder):
            raise SourceError(f"{source} lies inside the image set {folder}, which alone knows what its images are. "
                              "Give that folder.")  # fmt: skip
    notices: list[Notice] = []
    found = list(_walk(root, notices)) if source.is_dir() else [root / source.name]
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    hashed: list[str] = []
    known = listed(root) if own else None
    for path, (kind, reason, sha256) in zip(found, map_in_order(pool, _examine, found), strict=True):
        if known is not None and kind in KINDS and path.relative_to(root).as_posix() not in known:
            notices.append(Notice(f"{root.name}/{path.relative_to(root)}", "note", "no image of the set: left out"))
            continue
        relative = shown(path.relative_to(root).as_posix())
        if sha256:
            hashed.append(f"{relative} {sha256}\n")
        if kind in files:
            files[kind].append(path)
        elif reason:
            notices.append(Notice(f"{root.name}/{relative}", kind, reason))
    record = read_record(root) if own or (source.is_dir() and _is_fetched(root)) else _of_sets_inside(found, files)
    digest = fingerprint(root) if own else hashlib.sha256("".join(hashed).encode()).hexdigest()
    return Scan(root, root.name, files, notices, digest, record)


def is_image_set(folder: Path) -> bool:
    """Whether a folder is an image set made by phonybrains: a record, and a metadata.csv with its fixed columns."""
    try:
        with (folder / METADATA_NAME).open(encoding="utf-8") as file:
            header = file.readline().strip().split(",")
        return (folder / RECORD_NAME).is_file() and header[: len(FIXED_COLUMNS)] == list(FIXED_COLUMNS)
    except (OSError, UnicodeDecodeError):
        return False


def listed(root: Path) -> set[str] | None:
    """The files that an image set's table names; None where it cannot be read."""
    try:
        return {row.file_name for row in read_metadata(root / METADATA_NAME)}
    except ImageSetError:
        return None


def _of_sets_inside(found: Sequence[Path], files: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """What the records of image sets in a folder say together, as inputs; files of none of them add an empty one."""
    sets = [path.parent for path in found if path.name == METADATA_NAME and is_image_set(path.parent)]
    if not sets:
        return {}
    inputs = [as_input(folder) for folder in sets]
    loose = any(not any(path.is_relative_to(s) for s in sets) for kind in KINDS for path in files[kind])
    sources = [source for item in inputs for source in item["record"].get("sources", ())]
    return {"inputs": inputs + [{"sha256": "", "record": {}}] * loose, "sources": sources}


def _is_fetched(folder: Path) -> bool:
    """Whether `phonybrains fetch` or `imagine` brought a folder, whose record names licence and attribution."""
    try:
        return read_record(folder).get("stage") in ("fetch", "imagine")
    except PhonyBrainsError:
        return False


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
            name = root.name / folder.relative_to(root)
            notices.append(Notice(name.as_posix(), "skipped", f"the folder cannot be read ({error.strerror})"))
            return
        for entry in entries:
            if not entry.name.startswith(".") and entry.name not in (RECORD_NAME, "__MACOSX"):
                path = folder / entry.name
                if _is_folder(entry):
                    yield from visit(path)
                else:
                    yield path

    return visit(root)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _examine(path: Path) -> tuple[str, str, str]:
    """(kind, "", SHA-256) of a file that a reader takes; (`skipped` or `note`, reason, "") of any other."""
    try:
        if not path.is_file():
            return "skipped", "a link that leads nowhere" if path.is_symlink() else "not a file", ""
        if path.suffix.lower() == ".csv":  # a table beside the images changes what they become
            return "", "", sha256_file(path)
        with path.open("rb") as file:
            head = file.read(512)
        kind = kind_of(head, path.name)
        if kind in KINDS:
            return kind, "", sha256_file(path)
    except OSError as error:
        return "skipped", f"cannot be read ({error.strerror})", ""
    return ("note" if kind == "beside" else "skipped"), _reason(head, path.name, kind), ""


def _reason(head: bytes, name: str, kind: str) -> str:
    if kind == "beside":
        return "not an image"
    if not head:
        return "the file is empty"
    if name.lower().endswith(ARCHIVES):
        return "an archive: unpack it first"
    return "not an image in a known format (PNG, JPEG, TIFF, BMP, WebP, DICOM, NIfTI, MATLAB)"


def kind_of(head: bytes, name: str) -> str:
    """`raster`, `dicom`, `nifti`, `mat`, `beside` (belongs to no reader, and need not) or "" (not known).

    head: the first 512 bytes. Content decides; the extension where the content does not tell.
    """
    low = name.lower()
    extension = ".nii.gz" if low.endswith(".nii.gz") else Path(low).suffix
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head.startswith(RASTER_MAGIC):
        return "raster"
    if head[128:132] == b"DICM" or (low == "dicomdir" and head) or _is_bare_dicom(head):
        return "dicom"
    if head.startswith(MAT_MAGIC):
        return "mat"
    if _is_nifti(_unpacked(head) if head[:2] == b"\x1f\x8b" else head):
        return "nifti"
    if not head:
        return "beside" if extension in BESIDE else ""
    known = EXTENSIONS.get(extension, "")
    return known or ("beside" if extension in BESIDE or _is_text(head) else "")


def _is_bare_dicom(head: bytes) -> bool:
    """A data set without preamble: starts with group 0002 or 0008, explicit VR, or implicit with a short length."""
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    return head[4:6] in DICOM_VR or 0 < int.from_bytes(head[4:8], "little") <= 256


def _is_nifti(head: bytes) -> bool:
    sizes = (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    return (348 in sizes and head[344:347] in (b"n+1", b"ni1")) or (540 in sizes and head[4:7] in (b"n+2", b"ni2"))


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head)
    except (zlib.error, gzip.BadGzipFile):
        return b""


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
