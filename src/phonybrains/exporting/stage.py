"""`phonybrains export`: an image set in, a folder in a format that others read out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from rich.progress import Progress

from ..config import load_config
from ..imageset import ImageSet
from ..progress import progress_bars
from ..record import RECORD_NAME, Record, as_input, check_files, hashes_of, is_published, publish
from .config import ExportConfig
from .exported import ExportedSet


class Files(Protocol):
    """How a format writes a set: where each image goes, the writing of one, and what comes at the end."""

    def file(self, index: int) -> str:
        """Where an image of the set lies in the export."""
        ...

    def write(self, index: int, path: Path) -> None:
        """Write one image, whole or not at all."""
        ...

    def finish(self, folder: Path) -> None:
        """Write what is about all of them."""
        ...


FORMATS = {"dicom": "dicom:DicomFiles"}
"""Module and class of each format; loaded when it is asked for."""


def export(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    window: tuple[float, float] | None = None,
    field_of_view_mm: float | None = None,
    masks: bool = True,
    real: bool = False,
    show: bool = True,
) -> Path:
    """Write an image set in another format: dicom, nifti, png, bids or croissant (docs/export.md).

    window: centre and width in HU that black to white stand for, of CT without unit; field_of_view_mm: width of what an
    image shows, where its row does not say it; masks: export them too; real: also scans of people, under pseudonyms.

    Writes  out: the images, files.csv with what became of each, a datasheet, Croissant metadata, record.json
    Warns   on standard error and in the record, of what the set does not know: sizes, planes, units
    Raises  ImageSetError, naming the row, for what cannot be exported, ConfigError, before anything is written;
            OutputError if `out` is something else or the disk is full

    The same call goes on where a stopped one was, and writes the same bytes.
    """
    source, out = Path(source), Path(out)
    config = load_config(
        ExportConfig, None, to=to, window=window, field_of_view_mm=field_of_view_mm, masks=masks, real=real
    )
    images = ImageSet.open(source)
    record = _record(source, images, config)
    exported = ExportedSet(images, config, record.identity)
    exported.check()
    if is_published(out, record, check_files):
        return out
    record.results["doubts"] = list(exported.doubts())
    for doubt in record.results["doubts"]:
        print(f"WARNING: {doubt}", file=sys.stderr)
    with publish(out, record, resume=True) as draft, progress_bars(show) as bar:
        write_images(exported, draft, bar)
        record.results.update(images=len(images), series=len(exported.series), files=hashes_of(draft))
    return out


def write_images(exported: ExportedSet, draft: Path, bar: Progress) -> None:
    """Write into a draft what is missing there."""
    files = files_of(exported)
    line = bar.add_task("exporting", total=len(exported.images), unit="images")
    for index in range(len(exported.images)):
        path = draft / files.file(index)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(index, path)
        bar.advance(line)


def files_of(exported: ExportedSet) -> Files:
    """What writes the format that is asked for."""
    module, name = FORMATS[exported.config.to].split(":")
    made: Callable[[ExportedSet], Files] = getattr(import_module(f".{module}", __package__), name)
    return made(exported)


def _record(source: Path, images: ImageSet, config: ExportConfig) -> Record:
    """The record of an export; that of the set belongs to what determines it, as ids and dates come from there."""
    path = source / RECORD_NAME
    known = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    facts: Mapping[str, object] = config.model_dump(mode="json", exclude_none=True) | {"record_sha256": known}
    sources = images.record.get("sources") or ()
    return Record("export", facts, None, [as_input(source)], sources)
