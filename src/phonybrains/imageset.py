"""The one data format: a folder of grayscale PNGs, `metadata.csv` with a row for each, and `record.json`.

    images/000001.png …   lossless grayscale, 8 or 16 bit, one size per set; synthetic ones are marked (marks.py)
    masks/000001.png …    optional: what is outlined in the image of the same name, 255 inside and 0 outside
    metadata.csv          the fixed columns below, then attributes: category or number, missing allowed
    record.json           how the set came to be (record.py)

Real and synthetic images live in the same format; `datasets.load_dataset("imagefolder", data_dir=…)` opens it too.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import ImageSetError
from .files import write_whole
from .marks import SyntheticMark, content_digest, marked, plain_png
from .record import UNSAFE, read_record, split_methods
from .rows import COLUMNS as COLUMNS
from .rows import FIXED_COLUMNS as FIXED_COLUMNS
from .rows import HOW_MADE as HOW_MADE
from .rows import MADE_COLUMNS as MADE_COLUMNS
from .rows import MASK_COLUMNS as MASK_COLUMNS
from .rows import METADATA_NAME as METADATA_NAME
from .rows import OF_PLACE as OF_PLACE
from .rows import Attribute as Attribute
from .rows import Row as Row
from .rows import is_own_column as is_own_column
from .rows import read_metadata as read_metadata
from .rows import write_metadata as write_metadata
from .wording import count_of

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class ImageSet:
    """A checked folder of images and their rows. Open one with `ImageSet.open`."""

    folder: Path
    rows: tuple[Row, ...]
    height: int
    width: int
    bits: int
    record: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> ImageSet:
        """Open an image set and check it: every row, file and SHA-256, one size and bit depth, masks of 0 and 255.

        Raises ImageSetError naming the file and row. Reads the whole set once (about 0.3 s for 3600 images).
        """
        folder = Path(folder)
        rows = read_metadata(folder / METADATA_NAME)
        shapes = {_check_image(folder, number, row) for number, row in enumerate(rows, start=2)}
        if len(shapes) != 1:
            found = ", ".join(f"{w}×{h} {bits}-bit" for w, h, bits in sorted(shapes)) or "no images"
            raise ImageSetError(f"{folder}: a set has one size and bit depth, this has {found}. Import it again.")
        width, height, bits = shapes.pop()
        return cls(folder, tuple(rows), height, width, bits, read_record(folder))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def summary(self) -> str:
        """One line: how many images of what."""
        modalities = ", ".join(f"{n} {name}" for name, n in sorted(Counter(row.modality for row in self.rows).items()))
        synthetic = sum(row.synthetic for row in self.rows)
        what = f"{count_of(len(self), 'image')} ({modalities or 'none'}), {self.width}×{self.height} {self.bits}-bit"
        return f"{self.folder}: {what}, {synthetic} synthetic"

    def __repr__(self) -> str:
        return f"ImageSet({self.summary})"

    def where(self, **wanted: Attribute | bool) -> ImageSet:
        """The rows whose columns have the given values, e.g. `where(split="train", modality="CT")`."""
        rows = tuple(r for r in self.rows if all(r[name] == value for name, value in wanted.items()))
        return replace(self, rows=rows)

    def pixels(self, index: int) -> Pixels:
        """The stored pixels of one image: (H, W), uint8 or uint16."""
        return read_png(self.folder / self.rows[index].file_name)

    def content(self, index: int) -> str:
        """SHA-256 of one image's file without its mark: what tells whether two images are the same, pixel for pixel."""
        row = self.rows[index]
        return _content(self.folder / row.file_name, row.sha256)

    def values(self, index: int) -> NDArray[np.float32]:
        """The physical values of one image: (H, W), in the row's unit."""
        row = self.rows[index]
        return self.pixels(index).astype(np.float32) * np.float32(row.slope) + np.float32(row.intercept)

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """What is outlined in one image: (H, W), True inside; None where it has no mask, all False: none of it here."""
        name = self.rows[index].mask_file_name
        return read_png(self.folder / name) > 0 if name else None

    @property
    def outline(self) -> str:
        """What the masks outline, such as "lesion", as the record says; empty where it says nothing."""
        return str(self.record.get("results", {}).get("masks", {}).get("outline", ""))

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All images in order as (B, 1, H, W) float32 in -1…1, the range the networks work in."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield to_unit_range(np.stack([self.pixels(i) for i in range(start, stop)]))[:, None]


@lru_cache(maxsize=1 << 17)
def _content(path: Path, sha256: str) -> str:
    """`content_digest` of a file with these bytes, which is read once, however often it is asked for."""
    return content_digest(path)


def check_whole(folder: Path) -> None:
    """Raise ImageSetError for a set that is damaged, or has fewer images than its record says were made."""
    images = ImageSet.open(folder)
    results = images.record.get("results", {})
    made = results.get("total", results.get("images"))
    if isinstance(made, int) and made != len(images):
        raise ImageSetError(f"{folder} holds {count_of(len(images), 'image')}, and {made} were made")


def how_split(images: ImageSet) -> dict[str, str]:
    """By modality, how its real images were split: as the record says, or less well where the rows show it.

    UNSAFE stands in it where one patient can lie in two splits, or where nobody knows.
    """
    said, found = split_methods(images.record), dict[str, str]()
    rows = [row for row in images.rows if row.split and not row.synthetic]
    for modality in sorted({row.modality for row in rows}):
        mine = [row for row in rows if row.modality == modality]
        method, people = said.get(modality, ""), {row.patient_id for row in mine}
        places = {(row.patient_id, row.split) for row in rows if row.patient_id in people}
        fault = "patients unknown" if "" in people else "a patient in two splits" if len(places) > len(people) else ""
        if fault and UNSAFE not in method:
            method = ", ".join(filter(None, (method, fault, UNSAFE)))
        found[modality] = method or "by patient"
    return found


def to_unit_range(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Map the full range of uint8 or uint16 to -1…1."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max / 2) - np.float32(1)


def from_unit_range(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Map -1…1 to 0…255, clipped and rounded to nearest."""
    return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)


def read_png(path: Path) -> Pixels:
    """Read a grayscale PNG as (H, W) uint8 or uint16. Raises ImageSetError if it is damaged."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            array = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageSetError(f"{path}: not a readable PNG ({error}). Import the source again.") from None
    return array if array.dtype == np.uint8 else array.astype(np.uint16)


def write_png(path: Path, pixels: Pixels, mark: SyntheticMark | None = None) -> str:
    """Write (H, W) uint8 or uint16 as a PNG, whole or not at all, and return its SHA-256; no metadata but a mark."""
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"expected (H, W) uint8 or uint16, got {pixels.shape} {pixels.dtype}")
    png = plain_png(pixels)
    png = marked(png, mark) if mark else png
    write_whole(path, png, sync=False)
    return hashlib.sha256(png).hexdigest()


def write_mask(folder: Path, row: Row, mask: NDArray[np.bool_]) -> Row:
    """Write the mask (H, W) of a row's image as `masks/`, the image's name, and return the row that names it."""
    name = Path("masks", *Path(row.file_name).parts[1:]).as_posix()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    digest = write_png(folder / name, np.where(mask, np.uint8(255), np.uint8(0)))
    return replace(row, mask_file_name=name, mask_sha256=digest)


def _check_image(folder: Path, number: int, row: Row) -> tuple[int, int, int]:
    """Check one image, and its mask if it has one, against its row and return (width, height, bits)."""
    where = f"{folder / METADATA_NAME}, row {number}: "
    image = _checked_png(folder, where, row.file_name, row.sha256)
    if row.mask_file_name:
        mask = _checked_png(folder, where, row.mask_file_name, row.mask_sha256)
        fault = "" if mask.size == image.size else "is {}×{}, its image {}×{}".format(*mask.size, *image.size)
        if not fault and (mask.mode != "L" or any(np.bincount(read_png(folder / row.mask_file_name).flat)[1:255])):
            fault = "has other values than 0 and 255"
        if fault:
            raise ImageSetError(f"{where}the mask {row.mask_file_name} {fault}. Import the source again.")
    return image.width, image.height, 8 if image.mode == "L" else 16


def _checked_png(folder: Path, where: str, name: str, sha256: str) -> Image.Image:
    """A PNG whose SHA-256 and header are checked, its pixels not yet decoded."""
    where, again = where + name, "Import the source again"
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise ImageSetError(f"{where} is missing. {again}, or remove the row.") from None
    except OSError as error:
        raise ImageSetError(f"{where} cannot be read ({error.strerror}).") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ImageSetError(f"{where} has another SHA-256 than its row. {again}, or remove the row.")
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])
    except (OSError, SyntaxError, ValueError):
        raise ImageSetError(f"{where} is not a readable PNG. {again}.") from None
    if image.mode not in ("L", "I;16", "I"):
        raise ImageSetError(f"{where} is {image.mode}, not grayscale. {again}.")
    return image
