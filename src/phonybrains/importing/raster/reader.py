"""Read PNG, JPEG, JPEG 2000, JPEG XL, TIFF, BMP, WebP and PGM, with or without a `metadata.csv` beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import SourceError
from ...imageset import COLUMNS, Attribute
from ...pictures.codecs import decode_file, strict_pillow
from ...pictures.masks import inside
from ...pictures.picture import SQUARE, DecodedPicture
from ...pictures.pixels import Range, deep_range, gray_values, how_coloured
from ...record import sha256_file
from ...wording import count_of
from ..config import ImportConfig
from ..intensity import ct_range
from ..masks import outlined
from ..parallel import map_in_order, threads
from ..reader import NO_MASKS, Masks
from ..slices import Notice, Slice, name_below, shown
from .table import MODALITIES, SPLIT_NAMES, MetadataTable, find_tables, masks_of, table_of


@dataclass(frozen=True, slots=True)
class Found:
    """One raster file with the row that describes it ({} for none), its place in its series, and its mask's file.

    mask_sha256: that of the mask, where the row tells it; label: the one that is inside, None for all but 0.
    """

    root: Path
    path: Path
    row: Mapping[str, str]
    table: MetadataTable | None
    series: str
    order: float
    mask: Path | None = None
    mask_sha256: str = ""
    label: int | None = None

    @property
    def name(self) -> str:
        return name_below(self.root, self.path)


def read_rasters(
    root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
) -> Iterator[Slice | Notice]:
    """Yield each raster file below `root` as a Slice in a.u. (or as its metadata.csv says), or a Notice why not.

    8 bit: low…high is 0…255. 16 bit: 0 to the next 2ⁿ - 1 above the largest number in its series, so that 12 bits in
    a 16-bit file are not nearly black. Order: as the files are given; decoding runs in threads. A multi-page TIFF is a
    volume: its pages are slices of one series, read one after another. A mask, of `masks` or else of the table's column
    mask_file_name, is of the same aspect, and of as many pages; it lies on the picture as that is looked at.

    Raises SourceError for a metadata.csv that names none of the files.
    """
    tables = find_tables(root, files)
    for table in tables.values():
        yield from table.notices
        if table.broken:
            count = sum(table_of(tables, path) is table for path in files)
            reason = f"{table.broken}, or remove it. Left out with it: {count_of(count, 'image file')}"
            yield Notice(table.name, "skipped", reason)
    found: list[Found] = []
    own = masks_of(tables, files)
    outlines = {*own.values(), *masks.values()}
    for place, path in enumerate(path for path in files if path not in outlines):
        table = table_of(tables, path)
        if table and (table.broken or table.spoils(path)):
            continue
        row = (table.row(path) if table else None) or {}
        if table and not row:
            yield Notice(name_below(root, path), "warning", "no row in metadata.csv names it")
        known = row.get("mask_sha256", "").lower() if path not in masks else ""
        label = None if table and table.masks_are_whole and path not in masks else config.mask_label
        item = _found(root, path, row, table, place)
        found.append(replace(item, mask=masks.get(path) or own.get(path), mask_sha256=known, label=label))
    with strict_pillow(), threads() as pool:
        spans = list(map_in_order(pool, lambda item: deep_range(item.path, config.max_pixels), found))
        ranges = _by_series(spans, found)
        for series, (low, high) in ranges.items():
            yield Notice(shown(series), "note", f"more than 8 bits: {low:g} becomes black and {high:g} white")
        for slices in map_in_order(pool, lambda item: _read(item, ranges.get(item.series), config), found):
            yield from slices


def _found(root: Path, path: Path, row: Mapping[str, str], table: MetadataTable | None, place: int) -> Found:
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


def _read(found: Found, deep: Range | None, config: ImportConfig) -> Iterable[Slice | Notice]:
    """The slice of a file, decoded already, or those of a volume, each decoded when it is asked for."""
    try:
        expected = found.row.get("sha256", "").lower()
        if expected and sha256_file(found.path) != expected:
            raise SourceError("its SHA-256 differs from the one in metadata.csv: get the file again")
        modality = _modality(found.row, config)
        pictures = decode_file(found.path, config.max_pixels)
        first = next(pictures)
        if first.pages == 1:
            slices = _masked(found, [_slice(found, first, deep, modality, config)], 1, config)
            return [*_stretched(found, first), *slices]
    except (SourceError, OSError) as error:
        return [_skipped(found.name, error)]
    slices = _volume(found, itertools.chain([first], pictures), deep, modality, config)
    return _masked(found, slices, first.pages, config)


def _volume(
    found: Found, pictures: Iterable[DecodedPicture], deep: Range | None, modality: str, config: ImportConfig
) -> Iterator[Slice | Notice]:
    """The pages of a file as they come; from the first that cannot be used on, they are left out."""
    place = 0
    try:
        for place, picture in enumerate(pictures, start=1):
            if place == 1:
                yield from _stretched(found, picture)
            yield _slice(found, picture, deep, modality, config)
    except (SourceError, OSError) as error:
        yield _skipped(f"{found.name}, after page {place}", error)


def _masked(
    found: Found, slices: Iterable[Slice | Notice], count: int, config: ImportConfig
) -> Iterator[Slice | Notice]:
    """The slices of a file of `count` pages with those of its mask; without, and a warning, where it is of no use."""
    if found.mask is None:
        yield from slices
        return
    name = f"mask {shown(found.mask.name)} of {found.name}"
    pages: Iterator[DecodedPicture] = iter(())
    try:
        if found.mask_sha256 and sha256_file(found.mask) != found.mask_sha256:
            raise SourceError("its SHA-256 differs from the one in metadata.csv")
        pages = decode_file(found.mask, config.max_pixels, mask=True)
    except (SourceError, OSError) as error:
        yield replace(_skipped(name, error), kind="warning")
    for item in slices:
        if isinstance(item, Notice):
            yield item
            continue
        try:
            page = next(pages, None)
            if page and page.pages != count:
                pages = iter(())
                raise SourceError(f"has {count_of(page.pages, 'page')}, and its image {count}: left out")
            if page is None:
                yield item
            else:
                labels = gray_values(page)[0]
                yield from outlined(item, inside(labels, found.label, lossy=page.lossy), name)
        except (SourceError, OSError) as error:
            yield from (item, replace(_skipped(name, error), kind="warning"))


def _skipped(name: str, error: SourceError | OSError) -> Notice:
    reason = f"cannot be read ({error.strerror or error})" if isinstance(error, OSError) else str(error)
    return Notice(name, "skipped", reason)


def _stretched(found: Found, picture: DecodedPicture) -> Iterator[Notice]:
    if picture.spacing != SQUARE:
        ratio = picture.spacing[0] / picture.spacing[1]
        reason = f"its header says that its pixels are {ratio:.3g} times as high as wide, and so they become"
        yield Notice(found.name, "note", reason)


def _tells_values(row: Mapping[str, str]) -> bool:
    """Whether the row says what the numbers mean."""
    return bool(row.get("slope", ""))


def _modality(row: Mapping[str, str], config: ImportConfig) -> str:
    given = row.get("modality", "")
    known = MODALITIES.get(given.upper())
    if known is None:
        raise SourceError(f"modality '{given}' is neither MR nor CT")
    if not (known or config.modality):
        raise SourceError("modality unknown: give --modality MR or CT, or a column modality in metadata.csv")
    return known or config.modality


def _slice(found: Found, picture: DecodedPicture, deep: Range | None, modality: str, config: ImportConfig) -> Slice:
    row, table = found.row, found.table
    values, span = gray_values(picture, colour=config.synthetic)
    colours = how_coloured(picture) if config.synthetic else {}
    if deep and (span[1] > 255 or not picture.white) and not _tells_values(row):
        span = deep
    slope, intercept = _number(row, "slope", 1.0), _number(row, "intercept", 0.0)
    unit = row.get("unit", "") or "a.u."
    low, high = (intercept + slope * number for number in span)
    if (slope, intercept) != (1, 0):
        values = values * np.float32(slope) + np.float32(intercept)
    if unit == "HU" and span[1] > 255 and config.bits == 8 and config.window:
        low, high = ct_range(config)
    volume = picture.pages > 1
    name = f"{found.name}, page {picture.place + 1}" if volume else found.name
    given = row.get("split", "").lower()
    return Slice(
        values,
        low,
        high,
        modality,
        series=found.name if volume else found.series,
        order=float(picture.place) if volume else found.order,
        unit=unit,
        patient=row.get("patient_id", ""),
        spacing_mm=picture.spacing,
        attributes={**_attributes(row, config), **colours},
        source=found.root.name,
        file=name,
        split=SPLIT_NAMES.get(given, "") if table and table.gives_split else None,
        synthetic=row.get("synthetic", "").lower() == "true",
        volume=volume,
    )


def _number(row: Mapping[str, str], column: str, default: float) -> float:
    text = row.get(column, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (column == "slope" and number == 0):
        raise SourceError(f"{column} '{text}' in metadata.csv is not a usable number")
    return number


def _attributes(row: Mapping[str, str], config: ImportConfig) -> dict[str, Attribute]:
    names = row if config.attributes is None else config.attributes
    return {name: row[name] or None for name in names if name in row and name not in COLUMNS and name}
