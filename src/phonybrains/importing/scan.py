"""Find the files of a source and tell by their first bytes, then by their extension, which reader they are for."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ImageSetError, PhonyBrainsError, SourceError
from ..imageset import FIXED_COLUMNS, METADATA_NAME, read_metadata
from ..record import RECORD_NAME, as_input, fingerprint, read_record, sha256_file
from ..spreadsheet import read_columns
from .archives import PACKED, ZIP, Tell, kind_of_archive, unpack_all
from .magic import GZIP, family, unpacked
from .modality import sidecar_of
from .naming import vocabulary
from .parallel import map_in_order, threads
from .raster.headers import JPEG_2000, JPEG_XL, PNM_MAGIC, TIFF
from .slices import Notice, shown
from .volumes.metaimage import read_header

KINDS = ("raster", "dicom", "volume", "mat")
EXTENSIONS = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"), "raster"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".j2c", ".jxl", ".pgm", ".ppm", ".pnm", ".pbm"), "raster"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "dicom"),
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".mgh", ".mgz", ".nrrd", ".nhdr", ".mha", ".mhd"), "volume"),
    ".mat": "mat",
}
BESIDE = vocabulary(
    ".md .rst .txt .csv .tsv .json .xml .html .pdf .toml .yaml .yml .py .sh .m .r .log .bval .bvec .xlsx .docx .pptx "
    ".odt .ods"
)
"""Extensions of files that lie beside images and are none."""
UNREAD = vocabulary(".vtk .vti .fits .fit .par .rec .mnc .svg .xpm .pfm .gipl .pic .img .raw .zraw .head .brik")
"""Extensions of images that no reader takes, even where they begin with text."""
RASTER_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"GIF8", *TIFF, *JPEG_2000, *JPEG_XL)
TAIL_BYTES = 4096
FORMATS = "PNG, JPEG, JPEG 2000, JPEG XL, TIFF, BMP, WebP, PGM, DICOM, NIfTI, Analyze, MGH, NRRD, MetaImage, MATLAB"
MAT_MAGIC = (b"MATLAB 7.3 MAT-file", b"MATLAB 5.0 MAT-file")
DICOM_VR = (b"CS", b"UI", b"UL", b"SH", b"LO", b"DA", b"TM", b"OB")


@dataclass(frozen=True)
class Scan:
    """What a source holds: files by kind, in natural order; notices on what was left out; SHA-256 of the content.

    root: the folder that is read, which is a temporary copy where archives were unpacked;
    name: the base name of the folder, with a number where another source has the same.
    """

    root: Path
    name: str
    files: dict[str, list[Path]]
    notices: list[Notice]
    sha256: str
    record: dict = field(default_factory=dict, repr=False)


def scan_all(sources: Sequence[Path], place: Callable[[], Path], tell: Tell = lambda name: None) -> list[Scan]:
    """Scan each source; archives are unpacked below `place()`. Raises SourceError if a source does not exist."""
    with threads() as pool:
        scans = [scan(source, pool, lambda n=number: place() / str(n), tell) for number, source in enumerate(sources)]
    names: dict[str, int] = {}
    for number, item in enumerate(scans):
        names[item.name] = names.get(item.name, 0) + 1
        if names[item.name] > 1:
            scans[number] = replace(item, name=f"{item.name} ({names[item.name]})")
    return scans


def scan(source: Path, pool: ThreadPoolExecutor, place: Callable[[], Path], tell: Tell = lambda name: None) -> Scan:
    """Walk a folder (or take a single file) and sort its files. Raises SourceError if there is no such file or folder.

    Hidden files are passed over, links to folders followed once. Everything that is read later counts in the SHA-256.
    A source with archives is scanned as it looks below `place()`, where they are unpacked.
    """
    try:
        source.stat()
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error.strerror}). Check the path.") from None
    root = (source if source.is_dir() else source.parent).resolve()
    own = source.is_dir() and is_image_set(root)
    for folder in () if own else (root, *root.parents):
        if is_image_set(folder):
            raise SourceError(
                f"{source} lies inside the image set {folder}, which alone knows what its images are. Give that folder."
            )
    notices: list[Notice] = []
    found = list(_walk(root, notices)) if source.is_dir() else [root / source.name]
    if not own and (archives := _archives(found, pool)):
        alone = not source.is_dir() and archives[found[0]] != "packed"
        copy = place() / root.name
        notices += unpack_all(root, found, archives, copy, "" if alone else f"{root.name}/", tell)
        root = copy / source.name if alone else copy
        found = list(_walk(root, notices)) if root.is_dir() else []
        own = is_image_set(root)
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    hashed: list[str] = []
    known = listed(root) if own else None
    examined = list(zip(found, map_in_order(pool, _examine, found), strict=True))
    halves, sidecars = read_along([path for path, (kind, _, _) in examined if kind == "volume"])
    for path, (kind, reason, sha256) in examined:
        if known is not None and kind in KINDS and path.relative_to(root).as_posix() not in known:
            notices.append(Notice(f"{root.name}/{path.relative_to(root)}", "note", "no image of the set: left out"))
            continue
        relative = shown(path.relative_to(root).as_posix())
        if sha256 or path in halves or path in sidecars:
            hashed.append(f"{relative} {sha256 or sha256_file(path)}\n")
        if path in halves:
            continue
        if kind in files:
            files[kind].append(path)
        elif reason:
            notices.append(Notice(f"{root.name}/{relative}", kind, reason))
    record = read_record(root) if own or (source.is_dir() and _is_fetched(root)) else _of_sets_inside(found, files)
    digest = fingerprint(root) if own else hashlib.sha256("".join(hashed).encode()).hexdigest()
    return Scan(root, root.name, files, notices, digest, record)


def _archives(found: Sequence[Path], pool: ThreadPoolExecutor) -> dict[Path, str]:
    """The archives among files, and their kinds; not the packed values that a header names."""
    named, _ = read_along([path for path in found if path.suffix.lower() in (".mhd", ".nhdr")])
    kinds = zip(found, map_in_order(pool, kind_of_archive, found), strict=True)
    return {path: kind for path, kind in kinds if kind and path not in named}


def is_image_set(folder: Path) -> bool:
    """Whether a folder is an image set made by phonybrains: a record, and a metadata.csv with its fixed columns."""
    if not (folder / RECORD_NAME).is_file():
        return False
    return set(FIXED_COLUMNS) <= set(read_columns(folder / METADATA_NAME, "file_name"))


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


def read_along(volumes: Sequence[Path]) -> tuple[set[Path], set[Path]]:
    """Files that are read with volumes: those that hold the values of a header, and BIDS sidecars."""
    halves: set[Path] = set()
    for path in volumes:
        with suppress(SourceError, OSError, ValueError):
            if path.suffix.lower() == ".hdr":
                halves |= {path.with_suffix(end) for end in (".img", ".IMG", ".mat")}
            elif path.suffix.lower() == ".mhd":
                halves |= {path.parent / name for name in read_header(path)[2]}
            elif path.suffix.lower() == ".nhdr":
                from .volumes.nrrd import data_file

                halves |= {path.parent / data_file(path)}
    return halves, {sidecar_of(path) for path in volumes}


def _examine(path: Path) -> tuple[str, str, str]:
    """(kind, "", SHA-256) of a file that a reader takes; (`skipped` or `note`, reason, "") of any other."""
    try:
        if not path.is_file():
            return "skipped", "a link that leads nowhere" if path.is_symlink() else "not a file", ""
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail = file.read(TAIL_BYTES)
        kind = kind_of(head, path.name, tail)
        if kind in KINDS:
            return kind, "", sha256_file(path)
        if path.suffix.lower() == ".csv":  # a table beside the images changes what they become
            return "", "", sha256_file(path)
    except OSError as error:
        return "skipped", f"cannot be read ({error.strerror})", ""
    return ("note" if kind == "beside" else "skipped"), _reason(head, path.name, kind), ""


def _reason(head: bytes, name: str, kind: str) -> str:
    if kind == "beside":
        return "not an image"
    if not head:
        return "the file is empty"
    if head.startswith((*ZIP, *PACKED)) or name.lower().endswith((".7z", ".rar", ".tar")):
        return "an archive that is damaged, lies in another, or is of a kind that is not read: unpack it first"
    if name.lower().endswith((".img", ".raw", ".zraw")):
        return "values without a header that names them (.hdr, .mhd or .nhdr)"
    return f"not an image in a known format ({FORMATS})"


def kind_of(head: bytes, name: str, tail: bytes = b"") -> str:
    """`raster`, `dicom`, `volume`, `mat`, `beside` (belongs to no reader, and need not) or "" (not known).

    head: the first 512 bytes; tail: the last ones. Content decides; the extension where the content does not tell.
    """
    if head.startswith(b"BM") and _is_text(head):  # words, not a bitmap
        return "beside"
    low = name.lower()
    extension = ".nii.gz" if low.endswith(".nii.gz") else Path(low).suffix
    if head[128:132] == b"DICM":  # before all others: its first 128 bytes are free, and some begin as a TIFF does
        return "dicom"
    if (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head.startswith(RASTER_MAGIC) or PNM_MAGIC.match(head):
        return "raster"
    if (low == "dicomdir" and head) or _is_bare_dicom(head):
        return "dicom"
    if head.startswith(MAT_MAGIC):
        return "mat"
    if family(unpacked(head) if head.startswith(GZIP) else head):
        return "volume"
    if not head:
        return "beside" if extension in BESIDE else ""
    known = EXTENSIONS.get(extension, "")
    text = extension not in UNREAD and _is_text(head) and _is_text(tail)
    return known or ("beside" if extension in BESIDE or text else "")


def _is_bare_dicom(head: bytes) -> bool:
    """A data set without preamble: starts with group 0002 or 0008, explicit VR, or implicit with a short length."""
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    return head[4:6] in DICOM_VR or 0 < int.from_bytes(head[4:8], "little") <= 256


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
