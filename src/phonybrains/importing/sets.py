"""What is known already of the image sets, and of the downloads, among the sources of an import."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ImageSetError, PhonyBrainsError
from ..imageset import FIXED_COLUMNS, METADATA_NAME, read_metadata
from ..record import RECORD_NAME, as_input, read_record
from ..spreadsheet import read_columns, read_sheet
from ..wording import count_of
from .slices import Notice

EXPORTED = "images.csv"
"""The table of an export of volumes."""


def is_image_set(folder: Path) -> bool:
    """Whether a folder is an image set made by phonybrains: a record, and a metadata.csv with its fixed columns."""
    if not (folder / RECORD_NAME).is_file():
        return False
    return set(FIXED_COLUMNS) <= set(read_columns(folder / METADATA_NAME, "file_name"))


def listed(root: Path) -> set[str] | None:
    """The files that an image set's table names, images and masks; None where it cannot be read."""
    try:
        rows = read_metadata(root / METADATA_NAME)
        return {row.file_name for row in rows} | {row.mask_file_name for row in rows}
    except ImageSetError:
        return None


def record_of_sets(found: Sequence[Path], images: Iterable[Path]) -> dict[str, Any]:
    """What the records of image sets in a folder say together, as inputs; images of none of them add an empty one."""
    sets = [path.parent for path in found if path.name == METADATA_NAME and is_image_set(path.parent)]
    if not sets:
        return {}
    inputs = [as_input(folder) for folder in sets]
    loose = any(not any(path.is_relative_to(folder) for folder in sets) for path in images)
    sources = [source for item in inputs for source in item["record"].get("sources", ())]
    return {"inputs": inputs + [{"sha256": "", "record": {}}] * loose, "sources": sources}


def is_fetched(folder: Path) -> bool:
    """Whether `phonybrains fetch` or `imagine` brought a folder, whose record names licence and attribution."""
    return _stage(folder) in ("fetch", "imagine")


def is_exported(folder: Path) -> bool:
    """Whether `phonybrains export` wrote a folder, whose record says what its masks outline, and what it is of."""
    return _stage(folder) == "export"


def exported_masks(folder: Path) -> dict[str, str]:
    """By the file of a volume, that of its masks, as the table of an export names them; empty for any other folder."""
    if not is_exported(folder):
        return {}
    try:
        rows = read_sheet(folder / EXPORTED, "file_name").rows.values()
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {row["file_name"]: mask for row in rows if (mask := row.get("mask_file_name"))}


def _stage(folder: Path) -> str:
    try:
        return str(read_record(folder).get("stage", ""))
    except PhonyBrainsError:
        return ""


def not_fetched(record: dict[str, Any], name: str) -> list[Notice]:
    """What a PACS listed and did not send, and what was not asked for, by the record of a download of that name."""
    results = record.get("results", {})
    missing: dict[str, int] = results.get("not_sent") or {}
    notices = [
        Notice(name, "skipped", f"{count_of(count, 'image')} did not come: {why}") for why, count in missing.items()
    ]
    if others := results.get("other_objects"):
        were = count_of(others, "object that is no CT or MR image was", "objects that are no CT or MR images were")
        notices.append(Notice(name, "note", f"{were} not fetched"))
    return notices
