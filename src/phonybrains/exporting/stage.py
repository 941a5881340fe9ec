"""`phonybrains export`: an image set in, a folder in a format that others read out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ..config import load_config
from ..files import write_whole
from ..imageset import ImageSet
from ..progress import progress_bars
from ..record import RECORD_NAME, Record, as_input, check_files, is_published, publish, sha256_file
from ..signing import check_credentials
from .config import ExportConfig
from .croissant import croissant
from .datasheet import datasheet
from .exported import ExportedSet
from .parts import ExportFormat, ExportPart
from .table import columns_of, table_of

FORMATS = {
    "dicom": "dicom:DicomFiles",
    "nifti": "nifti:NiftiFiles",
    "png": "png:PngFiles",
    "bids": "bids:BidsFiles",
    "croissant": "png:PngFiles",
}
"""Module and class of each format, loaded when it is asked for; Croissant describes a folder of pictures."""


def export(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    window: tuple[float, float] | None = None,
    field_of_view_mm: float | None = None,
    slice_thickness_mm: float | None = None,
    contrast: str | None = None,
    masks: bool = True,
    real: bool = False,
    c2pa: tuple[str | Path, str | Path] | None = None,
    show: bool = True,
) -> Path:
    """Write an image set in another format: dicom, nifti, png, bids or croissant (docs/export.md).

    window: centre and width in HU that black to white stand for, of CT without unit; field_of_view_mm,
    slice_thickness_mm: of what an image shows, where its row does not say it; contrast: what BIDS calls MR; masks:
    export them too; real: also scans of people, under pseudonyms; c2pa: certificate and key, PEM, that synthetic
    pictures are signed with, for png and croissant.

    Writes  out: the images, a table of what became of each, datasheet.md, croissant.json, record.json
    Warns   on standard error and in the record, of what the set does not know: sizes, planes, units
    Raises  ImageSetError, naming the row, for what cannot be exported, ConfigError, before anything is written;
            OutputError if `out` is something else or the disk is full

    The same call goes on where a stopped one was, and writes the same bytes.
    """
    source, out = Path(source), Path(out)
    given = {"window": window, "field_of_view_mm": field_of_view_mm, "slice_thickness_mm": slice_thickness_mm}
    signer = (Path(c2pa[0]), Path(c2pa[1])) if c2pa else None
    if signer:
        check_credentials(*signer)
    signed = {"signed_by": sha256_file(signer[0]) if signer else None}
    config = load_config(ExportConfig, None, to=to, contrast=contrast, masks=masks, real=real, **given, **signed)
    exported, record = open_set(source, config, signer)
    if is_published(out, record, check_files):
        return out
    doubts = list(exported.doubts())
    for doubt in doubts:
        print(f"WARNING: {doubt}", file=sys.stderr)
    with publish(out, record, resume=True) as draft, progress_bars(show) as bar:
        writer = format_of(exported)
        parts = writer.parts()
        files = _write(exported, writer, parts, draft, bar)
        record.results.update(images=len(exported.images), series=len(exported.series), doubts=doubts, files=files)
        if any(part.is_mask for part in parts):
            record.results.update(masks={"outline": exported.outlines(parts)})
    return out


def open_set(source: Path, config: ExportConfig, signer: tuple[Path, Path] | None = None) -> tuple[ExportedSet, Record]:
    """An image set as it is exported, and the record of that. Raises ImageSetError for what cannot be exported."""
    images = ImageSet.open(source)
    known = sha256_file(source / RECORD_NAME) if images.record else ""
    facts = config.model_dump(mode="json", exclude_none=True) | {"record_sha256": known}
    record = Record("export", facts, None, [as_input(source)], images.record.get("sources") or ())
    exported = ExportedSet(images, config, record.identity, known, signer)
    exported.check()
    return exported, record


def _write(
    exported: ExportedSet, files: ExportFormat, parts: Sequence[ExportPart], draft: Path, bar: Progress
) -> Mapping[str, str]:
    """Write into a draft what is missing there, and give the hash of every file."""
    line = bar.add_task("exporting", total=len(parts), unit="files")
    hashes: dict[str, str] = {}
    for part in parts:
        path = draft / part.file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(part, path)
        hashes[part.file] = hashlib.sha256(path.read_bytes()).hexdigest()
        bar.advance(line)
    files.finish(draft, parts)
    _describe(exported, draft, files.table, parts, hashes)
    pixels = set(hashes)
    others = (path for path in sorted(draft.rglob("*")) if path.is_file())
    names = ((path.relative_to(draft).as_posix(), path) for path in others)
    return hashes | {name: sha256_file(path) for name, path in names if name not in pixels}


def _describe(
    exported: ExportedSet, draft: Path, table: str, parts: Sequence[ExportPart], hashes: Mapping[str, str]
) -> None:
    """Write the table, the datasheet and the Croissant metadata."""
    text = table_of(exported, parts, hashes)
    write_whole(draft / table, text)
    write_whole(draft / "datasheet.md", datasheet(exported).encode())
    names, columns = [part.file for part in parts], columns_of(exported, parts)
    told: dict[str, Any] = croissant(exported, table, hashlib.sha256(text).hexdigest(), columns, names)
    write_whole(draft / "croissant.json", (json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode())


def format_of(exported: ExportedSet) -> ExportFormat:
    """What writes the format that is asked for."""
    module, name = FORMATS[exported.config.to].split(":")
    made: Callable[[ExportedSet], ExportFormat] = getattr(import_module(f".{module}", __package__), name)
    return made(exported)
