"""The `metadata.csv` beside raster files: what it says of each, and what is wrong with it."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import SourceError
from ...imageset import METADATA_NAME
from ...spreadsheet import read_sheet
from ...wording import count_of
from ..sets import is_exported, is_image_set
from ..slices import Notice, shown

MODALITIES = {"MR": "MR", "MRI": "MR", "CT": "CT", "": ""}
SPELLINGS = {"train": "train training", "validation": "validation valid val dev", "test": "test testing"}
SPLIT_NAMES = {word: split for split, words in SPELLINGS.items() for word in words.split()}


@dataclass
class MetadataTable:
    """One metadata.csv: its rows, and the files there are, by path from its folder.

    `broken` says why none of it can be used.
    """

    folder: Path
    name: str
    columns: tuple[str, ...] = ()
    rows: dict[str, Mapping[str, str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict, repr=False)
    unusable: set[str] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)
    broken: str = ""
    gives_split: bool = False
    masks_are_whole: bool = False
    """Whether its masks are 0 and 255, as those of an image set are, and no label maps."""

    def row(self, path: Path) -> Mapping[str, str] | None:
        """The row of a file, or None where the table has none."""
        return self.rows.get(self._key(path))

    def mask(self, path: Path) -> Path | None:
        """The mask that the row of a file names, or None."""
        name = (self.row(path) or {}).get("mask_file_name", "")
        return self.files.get(_key(name), self.folder / name) if name else None

    def spoils(self, path: Path) -> bool:
        """Whether the file's row is damaged, which a notice says already."""
        return self._key(path) in self.unusable

    def _key(self, path: Path) -> str:
        return _same(path.relative_to(self.folder).as_posix())


def find_tables(root: Path, files: Sequence[Path]) -> dict[Path, MetadataTable]:
    """Read the metadata.csv of the root and of every folder that holds some of the files, or a folder of them.

    Raises SourceError for a table of which no row names a file that is there.
    """
    folders = {root}
    for folder in {path.parent for path in files}:
        folders.update(f for f in (folder, *folder.parents) if f.is_relative_to(root))
    return {folder: read_table(root, folder, files) for folder in sorted(folders) if (folder / METADATA_NAME).is_file()}


def table_of(tables: Mapping[Path, MetadataTable], path: Path) -> MetadataTable | None:
    """The nearest table at or above a file that has a row for it, else the nearest; None where there is none."""
    above = [tables[folder] for folder in path.parents if folder in tables]
    return next((table for table in above if table.broken or table.row(path)), above[0] if above else None)


def masks_of(tables: Mapping[Path, MetadataTable], files: Sequence[Path]) -> dict[Path, Path]:
    """The masks that tables name, by their images: an image set's, say."""
    named = ((path, table) for path in files if (table := table_of(tables, path)))
    return {path: mask for path, table in named if (mask := table.mask(path))}


def read_table(root: Path, folder: Path, files: Sequence[Path]) -> MetadataTable:
    """Read one metadata.csv: what is wrong with it is in `notices`, or in `broken` if nothing is left.

    Raises SourceError if it can be read, but no row names a file that is there.
    """
    path = folder / METADATA_NAME
    table = MetadataTable(folder, (root.name / path.relative_to(root)).as_posix())
    try:
        sheet = read_sheet(path, "file_name")
    except UnicodeDecodeError:
        table.broken = "not UTF-8; save it as CSV in UTF-8"
        return table
    except (csv.Error, OSError) as error:
        table.broken = f"not a readable CSV file ({error}); repair it"
        return table
    table.columns = sheet.columns
    if "file_name" not in table.columns:
        table.broken = "it has no column file_name; rename the column that holds the files' names"
        return table
    if sheet.commas:
        said = f"{count_of(sheet.commas, 'number')} with a decimal comma, read with a decimal point"
        table.notices.append(Notice(table.name, "note", said))
    below = [file for file in files if file.is_relative_to(folder)]
    table.files = {_same(file.relative_to(folder).as_posix()): file for file in below}
    here = table.files.keys()
    for number, key in sheet.uneven.items():
        table.unusable.add(_same(key.replace("\\", "/")))
        reason = f"{key}: the number of cells differs from the header's"
        table.notices.append(Notice(f"{table.name}, row {number}", "skipped", reason))
    for number, entry in sheet.rows.items():
        _add(table, number, entry, here)
    if here and not table.rows and not here & table.unusable:
        first = table.notices[0].reason if table.notices else "it has no rows"
        are = count_of(len(here), "is", "are")
        what = f"no row names any picture, and {are} there, such as {shown(min(here))} ({first})"
        raise SourceError(f"{table.name}: {what}. Correct file_name, or remove the table.")
    table.masks_are_whole = is_image_set(folder) or is_exported(folder)
    splits = {row.get("split", "").lower() for row in table.rows.values()}
    table.gives_split = bool(splits) and (splits <= SPLIT_NAMES.keys() or is_image_set(folder))
    return table


def _add(table: MetadataTable, number: int, entry: Mapping[str, str], here: Set[str]) -> None:
    name, mask = entry["file_name"].replace("\\", "/"), entry.get("mask_file_name", "")
    key, kind, reason = _key(name), "skipped", ""
    if mask and not _is_inside(mask):
        entry, outside = {**entry, "mask_file_name": ""}, f"mask_file_name '{mask}' does not lie inside the folder"
        table.notices.append(Notice(f"{table.name}, row {number}", "warning", outside))
    if not name or not _is_inside(name):
        reason = f"file_name '{name}' does not lie inside the folder"
    elif key in table.rows:
        kind, reason = "warning", f"{name} has a row already; the first one counts"
    elif key not in here and not os.path.exists(table.folder / name):
        reason = f"{name} is missing"
    else:
        table.rows[key] = entry
    if reason:
        table.notices.append(Notice(f"{table.name}, row {number}", kind, reason))


def _key(name: str) -> str:
    """A path that a table says, by which its file is found."""
    return _same(PurePosixPath(name.replace("\\", "/")).as_posix())


def _is_inside(name: str) -> bool:
    """Whether a path that a table says leads to no other folder."""
    return not name.startswith(("/", "\\")) and ".." not in PurePosixPath(name.replace("\\", "/")).parts


def _same(name: str) -> str:
    """One spelling of a name: macOS and Windows write accents differently."""
    return unicodedata.normalize("NFC", name)
