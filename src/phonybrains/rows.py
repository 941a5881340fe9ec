"""The table of an image set: `metadata.csv`, a row for each image."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import ImageSetError
from .record import TABLE_NAME
from .spreadsheet import cell_of, read_sheet, sheet_text, value_of

METADATA_NAME = TABLE_NAME
OF_REQUESTS = ("prompt", "revised_prompt", "parameters", "request_id", "cost", "currency")
OF_EDITS = (
    *("edit", "edit_of", "edit_of_sha256", "edit_of_kind", "edit_draw"),
    *("edit_factor", "edit_sigma", "edit_law", "edit_strength", "edit_by", "edit_area", "edit_area_pixels"),
)
OF_PLACE = ("field_of_view_mm", "stack", "slice_position_mm")
"""Columns that say where an image lies: its width, which volume it is a slice of, and how far along that."""
HOW_MADE = (
    "generator",
    "seed",
    "index",
    "steps",
    "guidance",
    "classifier_guidance",
    *OF_EDITS,
    "bits_per_dim",
    *OF_PLACE,
)
"""Columns that say how an image was made, scored or placed, and nothing of what it shows."""
MADE_COLUMNS = (*OF_REQUESTS, *HOW_MADE, "coloured", "chroma", "mask_source")
"""In which those that make images write how each was made."""
SPLITS = ("train", "validation", "test", "")
Attribute = str | float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a set: value = slope · pixel + intercept, in `unit` (HU or a.u.); `attributes` hold the rest.

    mask_file_name, mask_sha256: empty where the image has no mask; a table in which no image has one lacks the columns.
    """

    file_name: str
    sha256: str
    modality: str
    patient_id: str = ""
    split: str = ""
    synthetic: bool = False
    source: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    unit: str = "a.u."
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    mask_file_name: str = ""
    mask_sha256: str = ""

    def __getitem__(self, column: str) -> Any:
        """The value of a fixed column or an attribute; None where the image has no such attribute."""
        return getattr(self, column) if column in COLUMNS else self.attributes.get(column)


MASK_COLUMNS = ("mask_file_name", "mask_sha256")
FIXED_COLUMNS = tuple(each.name for each in fields(Row) if each.name not in ("attributes", *MASK_COLUMNS))
COLUMNS = (*FIXED_COLUMNS, *MASK_COLUMNS)


def is_own_column(name: str) -> bool:
    """Whether a set has a column of this name, or gets it when it is made, so that no attribute can be called so."""
    return name in COLUMNS or name in MADE_COLUMNS


def write_metadata(folder: Path, rows: Sequence[Row]) -> None:
    """Write `metadata.csv`: the fixed columns, those of masks if any row has one, then every attribute of any row."""
    names = list(dict.fromkeys(name for row in rows for name in row.attributes))
    header = [*(COLUMNS if any(row.mask_file_name for row in rows) else FIXED_COLUMNS), *names]
    cells = ([cell_of(row[name]) for name in header] for row in rows)
    (folder / METADATA_NAME).write_bytes(sheet_text([header, *cells]))


def read_metadata(path: Path) -> list[Row]:
    """Read and check `metadata.csv`, also one that a spreadsheet has saved (spreadsheet.py).

    Raises ImageSetError naming the row and what to do.
    """
    try:
        sheet = read_sheet(path, "file_name")
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.exists():
            raise ImageSetError(f"{path.parent} is not there. Check the path.") from None
        raise ImageSetError(
            f"{path.parent} is not an image set: it has no {path.name}. Make one with 'phonybrains import'."
        ) from None
    except OSError as error:
        raise ImageSetError(f"{path}: cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImageSetError(f"{path}: not a UTF-8 CSV file ({error}). Import the source again.") from None
    missing = [name for name in FIXED_COLUMNS if name not in sheet.columns]
    if missing:
        raise ImageSetError(f"{path}: these columns are missing: {', '.join(missing)}. Import the source again.")
    for number in sheet.uneven:
        raise ImageSetError(f"{path}, row {number}: the number of cells differs from the header's.")
    rows, seen = [], dict[str, int]()
    for number, entry in sheet.rows.items():
        row = _parse_row(path, number, entry)
        if row.file_name in seen:
            raise ImageSetError(
                f"{path}, row {number}: {row.file_name} is already in row {seen[row.file_name]}. Remove one of them."
            )
        seen[row.file_name] = number
        rows.append(row)
    return rows


def _parse_row(path: Path, number: int, entry: Mapping[str, str]) -> Row:
    where, masks = f"{path}, row {number}", {column: entry.get(column, "") for column in MASK_COLUMNS}
    for name in (entry["file_name"], masks["mask_file_name"] or "."):
        if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ImageSetError(f"{where}: '{name}' does not lie inside the set.")
    if entry["split"] not in SPLITS:
        raise ImageSetError(f"{where}: split '{entry['split']}' is not train, validation, test or empty.")
    synthetic = {"true": True, "false": False}.get(entry["synthetic"].lower())
    if synthetic is None:
        raise ImageSetError(f"{where}: synthetic '{entry['synthetic']}' is not true or false.")
    numbers = {column: value_of(entry[column]) for column in ("slope", "intercept")}
    if not all(isinstance(number, float) for number in numbers.values()):
        raise ImageSetError(f"{where}: slope and intercept must be numbers.")
    fixed: dict[str, Any] = {column: entry[column] for column in FIXED_COLUMNS} | masks
    fixed |= {"synthetic": synthetic} | numbers
    attributes = {key: value_of(text) for key, text in entry.items() if key not in COLUMNS}
    return Row(**fixed, attributes=attributes)
