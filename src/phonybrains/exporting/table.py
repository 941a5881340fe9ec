"""The table beside an export: a row for each image, with its file there and where in the set it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..imageset import Attribute
from ..spreadsheet import cell_of, sheet_text
from .exported import ExportedSet
from .parts import ExportPart

TEXTS = ("file_name", "sha256", "modality", "patient_id", "series", "kind", "synthetic", "unit")
MASK = "mask_file_name"
NUMBERS = ("slice_in_file", "slope", "intercept")
FIXED = (*TEXTS, *NUMBERS, "source_image", "source_sha256")


def columns_of(exported: ExportedSet, parts: Sequence[ExportPart]) -> Mapping[str, Literal["number", "text"]]:
    """The columns of the table and what they hold: the fixed ones, then the attributes of the set."""
    found: dict[str, Literal["number", "text"]] = {}
    for name in (*FIXED, *([MASK] if any(part.is_mask for part in parts) else [])):
        found[name] = "number" if name in NUMBERS else "text"
    rows = exported.images.rows
    for name in dict.fromkeys(name for row in rows for name in row.attributes if name not in found):
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = "number" if all(isinstance(value, float) for value in values) else "text"
    return found


def table_of(exported: ExportedSet, parts: Sequence[ExportPart], hashes: Mapping[str, str]) -> bytes:
    """The table as CSV, in the order of the set; ids are those of the export. hashes: SHA-256 of each file."""
    places = {index: (part, n) for part in parts if not part.is_mask for n, index in enumerate(part.images)}
    masks = {index: part.file for part in parts if part.is_mask for index in part.images}
    columns, lines = columns_of(exported, parts), []
    for index, row in enumerate(exported.images.rows):
        (part, number), (series, _), scale = places[index], exported.places[index], exported.scale(index)
        told: dict[str, Attribute | bool] = {
            "file_name": part.file,
            "sha256": hashes[part.file],
            MASK: masks.get(index, ""),
            "modality": row.modality,
            "patient_id": exported.patient_id(series.person),
            "series": series.folder,
            "kind": series.kind,
            "synthetic": row.synthetic,
            "unit": scale.unit,
            "slice_in_file": float(number),
            "slope": scale.slope,
            "intercept": scale.intercept,
            "source_image": row.file_name,
            "source_sha256": row.sha256,
        }
        lines.append([cell_of(told[name] if name in told else row[name]) for name in columns])
    return sheet_text([list(columns), *lines])
