"""Read PNG, JPEG, TIFF, BMP and WebP, 8 or 16 bit, with or without a `metadata.csv` beside them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..imageset import FIXED_COLUMNS, Attribute
from .config import ImportConfig
from .parallel import map_in_order, threads
from .raster_pixels import Range, decode, deep_range, how_coloured, open_image, strict_pillow
from .slices import Notice, Slice, shown
from .table import MODALITIES, SPLIT_NAMES, Table, find_tables, table_of


@dataclass(frozen=True, slots=True)
class Found:
    """One raster file with the row that describes it ({} for none), and its place in its series."""

    root: Path
    path: Path
    row: Mapping[str, str]
    table: Table | None
    series: str
    order: float

    @property
    def name(self) -> str:
        return _name(self.root, self.path)


def read_rasters(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield each raster file below `root` as a Slice in a.u. (or as its metadata.csv says), or a Notice why not.

    8 bit: low…high is 0…255. 16 bit: 0 to the next 2ⁿ - 1 above the largest number in its series, so that 12 bits in
    a 16-bit file are not nearly black. Order: as the files are given; decoding runs in threads.
    """
    tables = find_tables(root, files)
    for table in tables.values():
        yield from table.notices
        if table.broken:
            count = sum(table_of(tables, path) is table for path in files)
            reason = f"{table.broken}, or remove it. The {count} image files it stands for are left out"
            yield Notice(table.name, "skipped", reason)
    found: list[Found] = []
    for place, path in enumerate(files):
        table = table_of(tables, path)
        if table and (table.broken or table.spoils(path)):
            continue
        row = (table.row(path) if table else None) or {}
        if table and not row:
            yield Notice(_name(root, path), "warning", "no row in metadata.csv names it")
        found.append(_found(root, path, row, table, place))
    with strict_pillow(), threads() as pool:
        spans = list(map_in_order(pool, lambda item: deep_range(item.path, config.max_pixels), found))
        ranges = _by_series(spans, found)
        for series, (low, high) in ranges.items():
            yield Notice(shown(series), "note", f"more than 8 bits: {low:g} becomes black and {high:g} white")
        yield from map_in_order(pool, lambda item: _read(item, ranges.get(item.series), config), found)


def _name(root: Path, path: Path) -> str:
    return shown(f"{root.name}/{path.relative_to(root).as_posix()}")


def _found(root: Path, path: Path, row: Mapping[str, str], table: Table | None, place: int) -> Found:
    """The series is the table's folder where `source_index` numbers it, else the file's own folder."""
    try:
        order = float(row.get("source_index", ""))
        folder = table.folder if table else path.parent
    except ValueError:
        order, folder = float(place), path.parent
    return Found(root, path, row, table, f"{root.name}/{folder.relative_to(root).as_posix()}", order)


def _by_series(spans: Sequence[Range | None], found: Sequence[Found]) -> dict[str, Range]:
    """One range for all deep files of a series, so that they stay comparable."""
    ranges: dict[str, Range] = {}
    for span, item in zip(spans, found, strict=True):
        if span is not None and not _tells_values(item.row):
            low, high = ranges.get(item.series, span)
            ranges[item.series] = min(low, span[0]), max(high, span[1])
    return ranges


def _read(found: Found, deep: Range | None, config: ImportConfig) -> Slice | Notice:
    try:
        content = found.path.read_bytes()
        expected = found.row.get("sha256", "").strip().lower()
        if expected and hashlib.sha256(content).hexdigest() != expected:
            raise SourceError("its SHA-256 differs from the one in metadata.csv: get the file again")
        modality = _modality(found.row, config)
        with open_image(content, config.max_pixels) as image:
            values, span = decode(image, colour=config.synthetic)
            colours = how_coloured(image) if config.synthetic else {}
        if span[1] > 255 and deep and not _tells_values(found.row):
            span = deep
        return _slice(found, values, span, modality, config, colours)
    except SourceError as error:
        return Notice(found.name, "skipped", str(error))
    except OSError as error:
        return Notice(found.name, "skipped", f"cannot be read ({error.strerror or error})")


def _tells_values(row: Mapping[str, str]) -> bool:
    """Whether the row says what the numbers mean."""
    return bool(row.get("slope", "").strip())


def _modality(row: Mapping[str, str], config: ImportConfig) -> str:
    given = row.get("modality", "").strip()
    known = MODALITIES.get(given.upper())
    if known is None:
        raise SourceError(f"modality '{given}' is neither MR nor CT")
    if not (known or config.modality):
        raise SourceError("modality unknown: give --modality MR or CT, or a column modality in metadata.csv")
    return known or config.modality


def _slice(
    found: Found, values: NDArray[np.float32], span: Range, modality: str, config: ImportConfig,
    colours: Mapping[str, float],
) -> Slice:  # fmt: skip
    row, table = found.row, found.table
    slope, intercept = _number(row, "slope", 1.0), _number(row, "intercept", 0.0)
    unit = row.get("unit", "").strip() or "a.u."
    low, high = (intercept + slope * number for number in span)
    if (slope, intercept) != (1, 0):
        values = values * np.float32(slope) + np.float32(intercept)
    if unit == "HU" and span[1] > 255 and config.bits == 8 and config.window:
        low, high = config.window[0] - config.window[1] / 2, config.window[0] + config.window[1] / 2
    patient = row.get("patient_id", "").strip()
    given = row.get("split", "").strip().lower()
    return Slice(
        values=values, low=low, high=high, modality=modality,
        series=found.series, order=found.order, unit=unit, patient=patient,
        attributes={**_attributes(row, config), **colours},
        source=found.root.name if patient else found.name, file=found.name,
        split=SPLIT_NAMES.get(given, "") if table and table.gives_split else None,
        synthetic=row.get("synthetic", "").strip().lower() == "true",
    )  # fmt: skip


def _number(row: Mapping[str, str], column: str, default: float) -> float:
    text = row.get(column, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (column == "slope" and number == 0):
        raise SourceError(f"{column} '{text}' in metadata.csv is not a usable number")
    return number


def _attributes(row: Mapping[str, str], config: ImportConfig) -> dict[str, Attribute]:
    names = row if config.attributes is None else config.attributes
    return {name: row[name].strip() or None for name in names if name in row and name not in FIXED_COLUMNS and name}
