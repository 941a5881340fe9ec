"""Read PNG, JPEG, TIFF, BMP and WebP, 8 or 16 bit, with or without a `metadata.csv` beside them.

Only what is safe to take as a gray image is taken: a damaged, coloured, partly transparent or animated file is left
out with its reason, never repaired in silence.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from ..errors import SourceError
from ..imageset import FIXED_COLUMNS, Attribute
from .config import ImportConfig
from .parallel import map_in_order, threads
from .slices import Notice, Slice
from .table import MODALITIES, SPLIT_NAMES, Table, find_tables, table_of

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
COLOUR_TOLERANCE = 8
"""Channels of a gray image may differ this much (of 255): JPEG rounds colours."""
ORIENTATION = 0x0112
TIFF = (b"II", b"MM")


@dataclass(frozen=True, slots=True)
class Found:
    """One raster file with the row that describes it, its place in its series, and the range of its stored numbers."""

    root: Path
    path: Path
    row: Mapping[str, str]
    table: Table | None
    series: str
    order: float

    @property
    def name(self) -> str:
        return f"{self.root.name}/{self.path.relative_to(self.root).as_posix()}"


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
            yield Notice(
                f"{root.name}/{path.relative_to(root).as_posix()}", "warning", "no row in metadata.csv names it"
            )
        found.append(_found(root, path, row, table, place))
    with strict_pillow(), threads() as pool:
        whites = _whites(list(map_in_order(pool, partial(_peak, config), found)), found)
        yield from map_in_order(pool, lambda item: _read(item, whites.get(item.series), config), found)


def _found(root: Path, path: Path, row: Mapping[str, str], table: Table | None, place: int) -> Found:
    """The series is the table's folder where `source_index` numbers it, else the file's own folder."""
    try:
        order = float(row.get("source_index", ""))
        folder = table.folder if table else path.parent
    except ValueError:
        order, folder = float(place), path.parent
    return Found(root, path, row, table, f"{root.name}/{folder.relative_to(root).as_posix()}", order)


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Let Pillow refuse truncated files and leave the limit of pixels to us; the caller's settings come back after."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _read(found: Found, white: float | None, config: ImportConfig) -> Slice | Notice:
    try:
        content = found.path.read_bytes()
        expected = found.row.get("sha256", "").strip().lower()
        if expected and hashlib.sha256(content).hexdigest() != expected:
            raise SourceError("its SHA-256 differs from the one in metadata.csv: get the file again")
        modality = _modality(found.row, config)
        with _open(content, config.max_pixels) as image:
            values, high = decode(image)
        if high > 255 and white and not found.row.get("slope"):
            high = white
        return _slice(found, values, high, modality, config)
    except SourceError as error:
        return Notice(found.name, "skipped", str(error))
    except OSError as error:
        return Notice(found.name, "skipped", f"cannot be read ({error.strerror or error})")


@contextmanager
def _open(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image without decoding it. Raises SourceError for what is no image, too large or has several frames."""
    if not content:
        raise SourceError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise SourceError(f"{image.width}×{image.height} pixels are more than max_pixels = {max_pixels:,}")
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                what = "pages" if image.format == "TIFF" else "frames"
                raise SourceError(f"holds {frames} {what}: save each as a file of its own")
            yield image
    except SourceError:
        raise
    except Image.UnidentifiedImageError:
        what = "its content is not that of an image; the extension misleads, or it is damaged"
        raise SourceError(what) from None
    except Exception as error:  # Pillow fails in many ways on damaged files
        raise SourceError(f"damaged or truncated ({str(error) or type(error).__name__})") from None


def decode(image: Image.Image) -> tuple[NDArray[np.float32], float]:
    """The gray values (H, W) of an opened image, and the number that stands for white in its format.

    Raises SourceError if it is CMYK, coloured, partly transparent, black-and-white, or holds NaN.
    """
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "L":
        return np.asarray(image, np.float32), 255.0
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32), 65535.0
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float32)
        if not np.isfinite(values).all():
            raise SourceError("holds NaN or infinite values")
        return values, max(256.0, float(values.max()))
    if image.mode == "1":
        raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise SourceError(f"{image.mode} colours, not gray: convert it to gray first")
    return _gray(image), 255.0


def _gray(image: Image.Image) -> NDArray[np.float32]:
    """The gray values of an image with a palette, three channels or transparency, if it really is gray and opaque."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise SourceError("partly transparent: what lies behind is not known; flatten it first")
    channels = np.asarray(image.convert("RGB"))
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if spread > COLOUR_TOLERANCE:
        raise SourceError(f"is coloured, not gray (channels differ by up to {spread} of 255)")
    return np.asarray(image.convert("RGB").convert("L"), np.float32)


def _peak(config: ImportConfig, found: Found) -> float | None:
    """The largest number of a file with more than 8 bits; None for all others (which costs only their first bytes)."""
    try:
        with found.path.open("rb") as file:
            head = file.read(25)
        if not (head.startswith(TIFF) or (head.startswith(b"\x89PNG") and head[-1] == 16)):
            return None
        with Image.open(found.path, formats=FORMATS) as image:
            if image.mode[0] not in "IF" or image.width * image.height > config.max_pixels:
                return None
            return float(np.asarray(image).max())
    except Exception:  # reported when it is read
        return None


def _whites(peaks: Sequence[float | None], found: Sequence[Found]) -> dict[str, float]:
    """By series, the white of its files with more than 8 bits: 2ⁿ - 1 with n of 8…16, or the largest number itself."""
    highest: dict[str, float] = {}
    for peak, item in zip(peaks, found, strict=True):
        if peak is not None and math.isfinite(peak):
            highest[item.series] = max(peak, highest.get(item.series, 0.0))
    return {
        series: float(2 ** max(8, math.ceil(math.log2(peak + 1))) - 1) if 255 <= peak <= 65535 else peak
        for series, peak in highest.items()
    }


def _modality(row: Mapping[str, str], config: ImportConfig) -> str:
    given = row.get("modality", "").strip()
    known = MODALITIES.get(given.upper())
    if known is None:
        raise SourceError(f"modality '{given}' is neither MR nor CT")
    if not (known or config.modality):
        raise SourceError("modality unknown: give --modality MR or CT, or a column modality in metadata.csv")
    return known or config.modality


def _slice(found: Found, values: NDArray[np.float32], white: float, modality: str, config: ImportConfig) -> Slice:
    row, table = found.row, found.table
    slope, intercept = _number(row, "slope", 1.0), _number(row, "intercept", 0.0)
    unit = row.get("unit", "").strip() or "a.u."
    low, high = intercept, intercept + slope * white
    if unit == "HU" and white > 255 and config.bits == 8 and config.window:
        low, high = config.window[0] - config.window[1] / 2, config.window[0] + config.window[1] / 2
    patient = row.get("patient_id", "").strip()
    given = row.get("split", "").strip().lower()
    return Slice(
        values=values * np.float32(slope) + np.float32(intercept), low=low, high=high, modality=modality,
        series=found.series, order=found.order, unit=unit, patient=patient, attributes=_attributes(row, config),
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
    if not math.isfinite(number):
        raise SourceError(f"{column} '{text}' in metadata.csv is not a number")
    return number


def _attributes(row: Mapping[str, str], config: ImportConfig) -> dict[str, Attribute]:
    names = row if config.attributes is None else config.attributes
    return {name: row[name].strip() or None for name in names if name in row and name not in FIXED_COLUMNS and name}
