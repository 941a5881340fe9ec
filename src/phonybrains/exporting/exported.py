"""What is exported, whatever the format: values, place, series and person of each image, and what has to be said."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageSetError
from ..imageset import MADE_COLUMNS, ImageSet, Row
from ..spreadsheet import cell_of
from ..wording import count_of
from .config import ExportConfig
from .geometry import FIELD_OF_VIEW, SHOWN, STACK, Geometry, are_even
from .maker import Maker, maker_of, stated
from .parts import ExportPart

PSEUDONYM = re.compile(r"P-[0-9a-f]{12}")
"""What import puts in place of the id of a person."""
MODALITIES = ("MR", "CT")
BOXED = "lesion box"
VOLUMES = ("nifti", "bids")
"""Formats in which a stack is one file, and so are its masks."""
Kind = Literal["real", "edited", "synthetic"]
"""Of a scanner; a model's edit of a scan; made by a model or program."""
NAMESPACE = uuid.UUID("5d4f4d0e-6f0b-5a43-9d0c-2a1f6b7f7a20")


@dataclass(frozen=True)
class Rescale:
    """value = slope · grey level + intercept, in `unit`: HU or a.u."""

    slope: float
    intercept: float
    unit: str


class Person(NamedTuple):
    """What is one person's in one study, sex and age as texts. The id never leaves as it is."""

    kind: Kind
    patient_id: str
    sex: str
    age_years: str

    @classmethod
    def of(cls, row: Row) -> Person:
        age, sex = row["age_years"], str(row["sex"] or "").upper()
        told = f"{age:g}" if isinstance(age, float) else ""
        return cls(kind_of(row), row.patient_id, sex if sex in ("M", "F", "O") else "", told)


@dataclass(frozen=True)
class Series:
    """Images of one person, modality, plane and stack, by their numbers in the set; `number` counts series from 1."""

    person: Person
    modality: str
    plane: str
    stack: str
    number: int
    rows: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        return self.person.kind

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.person, self.modality, self.plane, self.stack)

    @property
    def folder(self) -> str:
        """Its name in an export, such as "001-MR-axial"."""
        return "-".join(filter(None, (f"{self.number:03d}", self.modality, self.plane)))


@dataclass(frozen=True)
class ExportedSet:
    """An image set on its way out.

    identity: that of the record of the export, from which all new ids come; record_sha256: of the set's record.json.
    """

    images: ImageSet
    config: ExportConfig
    identity: str
    record_sha256: str = ""
    c2pa: tuple[Path, Path] | None = None
    """Certificate and key that pictures are signed with."""
    maker: Maker = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "maker", maker_of(self.images.record))

    @property
    def levels(self) -> int:
        """The highest grey level: 255 or 65535."""
        return 2**self.images.bits - 1

    def scale(self, index: int) -> Rescale:
        """What the grey levels of an image mean; of a CT without unit, what the option `window` says of them."""
        row, window = self.images.rows[index], self.config.window
        if row.modality == "CT" and row.unit != "HU" and window is not None:
            centre, width = window
            return Rescale(width / self.levels, centre - width / 2, "HU")
        return Rescale(row.slope, row.intercept, row.unit)

    def geometry(self, index: int) -> Geometry:
        """Where an image lies, by its row, the options, or what the records say of all of its modality."""
        row, shape = self.images.rows[index], (self.images.height, self.images.width)
        width = self.config.field_of_view_mm or self._stated_width(row.modality)
        return Geometry.of(row, shape, width, self.config.slice_thickness_mm)

    def _stated_width(self, modality: str) -> float | None:
        return stated(self.images.record, FIELD_OF_VIEW, modality)

    @cached_property
    def stacks(self) -> Sequence[tuple[int, ...]]:
        """Slices that fill a volume evenly, in the order of their places, and every other image alone."""
        groups: dict[object, list[int]] = {}
        for index, row in enumerate(self.images.rows):
            series, _ = self.places[index]
            known = row[STACK] is not None and self.geometry(index).position_mm is not None
            groups.setdefault((series.number, self.scale(index)) if known else index, []).append(index)
        found: list[tuple[int, ...]] = []
        for group in groups.values():
            placed = sorted(group, key=lambda index: self.geometry(index).position_mm or 0.0)
            even = are_even([self.geometry(index).position_mm or 0.0 for index in placed])
            found += [tuple(placed)] if even else [(index,) for index in group]
        return found

    def step_mm(self, stack: Sequence[int]) -> float:
        """The distance of slices; of one alone its thickness, and 1 where nobody knows."""
        if len(stack) == 1:
            return self.geometry(stack[0]).thickness_mm or 1.0
        first, last = (self.geometry(index).position_mm or 0.0 for index in (stack[0], stack[-1]))
        return (last - first) / (len(stack) - 1)

    @property
    def sources(self) -> Sequence[Mapping[str, str]]:
        """Licence and attribution of what the set was made of, as its record has them."""
        return self.images.record.get("sources") or ()

    @cached_property
    def names(self) -> Sequence[str]:
        """A name for each image: that of its file without extension, or its number where two are called alike."""
        stems = [Path(row.file_name).stem for row in self.images.rows]
        return stems if len(set(stems)) == len(stems) else [f"{number:06d}" for number in range(len(stems))]

    @cached_property
    def series(self) -> Sequence[Series]:
        """The images in series, in the order in which these begin; numbers count from 1."""
        found: dict[tuple[Person, str, str, str], list[int]] = {}
        for index, row in enumerate(self.images.rows):
            stack = "" if row[STACK] is None else cell_of(row[STACK])
            key = Person.of(row), row.modality, str(row["plane"] or ""), stack
            found.setdefault(key, []).append(index)
        return [Series(*key, number, tuple(rows)) for number, (key, rows) in enumerate(found.items(), start=1)]

    @cached_property
    def of_person(self) -> Mapping[Person, Sequence[int]]:
        """The images of each person."""
        found: dict[Person, list[int]] = {}
        for series in self.series:
            found.setdefault(series.person, []).extend(series.rows)
        return found

    @cached_property
    def places(self) -> Mapping[int, tuple[Series, int]]:
        """The series of each image, and which one it is there, from 1."""
        return {index: (series, n) for series in self.series for n, index in enumerate(series.rows, start=1)}

    def outline_of(self, *images: int) -> str:
        """What is outlined in all of some images, such as "tumour"; "lesion box" where there is only that.

        "" where masks are left out, where one image has neither, or a box and another a mask: of a file that holds
        them together, whoever reads it would take what is not known for empty.
        """
        rows = [self.images.rows[index] for index in images] if self.config.masks else []
        found = {self._masked if row.mask_file_name else "" if None in self._box(row) else BOXED for row in rows}
        return found.pop() if len(found) == 1 else ""

    def outlines(self, parts: Sequence[ExportPart]) -> str:
        """What the masks among these files outline, as far as the set says it; what import puts into its record."""
        found = {index: self.images.rows[index] for part in parts if part.is_mask for index in part.images[:1]}
        kinds = (self.images.outline if row.mask_file_name else BOXED for row in found.values())
        return " or ".join(filter(None, dict.fromkeys(kinds)))

    @property
    def _masked(self) -> str:
        return self.images.outline or "lesion"

    def mask(self, index: int) -> NDArray[np.bool_]:
        """What is outlined in an image (H, W): its mask, or else the box of its lesion, filled."""
        found, row = self.images.mask(index), self.images.rows[index]
        if found is not None:
            return found
        inside = np.zeros((self.images.height, self.images.width), np.bool_)
        x, y, width, height = (float(number or 0) for number in self._box(row))
        left, right = (round((x + side * width / 2) * self.images.width) for side in (-1, 1))
        top, bottom = (round((y + side * height / 2) * self.images.height) for side in (-1, 1))
        inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        return inside

    @staticmethod
    def _box(row: Row) -> tuple[float | None, ...]:
        found = (row[f"lesion_{side}"] for side in ("x", "y", "width", "height"))
        return tuple(number if isinstance(number, float) else None for number in found)

    def uid(self, *what: str) -> str:
        """A UID that this export alone gives, the same each time: a UUID from a name (PS3.5 B.2, RFC 9562 5.5)."""
        return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join((self.identity, *what))).int}"

    def patient_id(self, person: Person) -> str:
        """`SYN-` and a digest for what no scanner made; a real person keeps the pseudonym of the import."""
        if person.kind == "real" and person.patient_id:
            return person.patient_id
        digest = hashlib.sha256(chr(0).join((self.identity, *person)).encode()).hexdigest()[:12]
        return f"{'P' if person.kind == 'real' else 'SYN'}-{digest}"

    def agreed(self, person: Person, column: str) -> str:
        """What a column says of all images of a person as a text; "" where they differ or one is empty."""
        rows = (self.images.rows[index] for index in self.of_person[person])
        found = {str(row[column] or "") for row in rows}
        return found.pop() if len(found) == 1 else ""

    def shown(self, index: int) -> str:
        """What an image is said to show, as "name=value; …": all attributes but those that say how it was made."""
        attributes = self.images.rows[index].attributes.items()
        told = {name: value for name, value in attributes if name not in MADE_COLUMNS and value not in (None, "")}
        return "; ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in told.items()
        )

    def check(self) -> None:
        """Raise ImageSetError for what cannot be exported: no modality, real scans that nobody asked for, an id."""
        for number, row in enumerate(self.images.rows, start=2):
            where = f"{self.images.folder / 'metadata.csv'}, row {number}"
            if row.modality not in MODALITIES:
                said = f"'{row.modality}' is no modality" if row.modality else "no modality"
                raise ImageSetError(f"{where}: {said}. Write MR or CT into that column.")
            if kind_of(row) != "synthetic" and not self.config.real:
                what = "a real scan" if kind_of(row) == "real" else "an edit of a real scan"
                raise ImageSetError(
                    f"{where}: {what}. Its pixels show a person, whatever the export calls it: "
                    "add --real if these may leave the house."
                )
            if kind_of(row) == "real" and row.patient_id and not PSEUDONYM.fullmatch(row.patient_id):
                raise ImageSetError(
                    f"{where}: its patient_id is no pseudonym of import (P- and 12 digits), and could be a person's. "
                    "Import the set again, which gives it one."
                )

    def doubts(self) -> Iterator[str]:
        """What the export cannot say, and what to do about it: a sentence each."""
        rows, n = self.images.rows, len(self.images)
        geometries, every = [self.geometry(index) for index in range(n)], count_of(n, "image")
        if bare := sum(one.spacing_mm is None for one in geometries):
            yield (
                f"Of {every}, {count_of(bare, 'has', 'have')} no known size in mm (no column {FIELD_OF_VIEW}): "
                "exported without pixel spacing. Give --field-of-view MM, the width of an image, if you know it."
            )
        for modality in sorted({row.modality for row in rows if row[FIELD_OF_VIEW] is None}):
            if self.config.field_of_view_mm is None and (width := self._stated_width(modality)):
                yield f"{modality} images are taken to be {width:g} mm wide, as the record says of the corpus."
        if self.config.to == "bids" and not self.config.contrast and any(row.modality == "MR" for row in rows):
            yield "MR images are called T1w, as BIDS has no name for an unknown contrast. Give --contrast for another."
        if bare := sum(one.along is None for one in geometries):
            has = count_of(bare, "has", "have")
            yield f"Of {every}, {has} no plane ({', '.join(SHOWN)}): exported without orientation."
        partly = [stack for stack in self.stacks if not self.outline_of(*stack) and any(map(self.outline_of, stack))]
        if self.config.to in VOLUMES and partly:
            yield (
                f"Of {count_of(len(self.stacks), 'volume')}, {count_of(len(partly), 'has', 'have')} slices with a mask "
                "and slices without: exported without masks, as zeros would say that nothing is there. "
                "dicom and png keep a mask for each image."
            )
        if bare := sum(row.modality == "CT" and self.scale(i).unit != "HU" for i, row in enumerate(rows)):
            yield (
                f"Of {every}, {count_of(bare, 'is', 'are')} CT whose grey levels have no known unit: exported as "
                "unspecified, not as HU. Give --window CENTRE WIDTH, e.g. 40 80, if you know what black and white "
                "stand for."
            )


def kind_of(row: Row) -> Kind:
    if not row.synthetic:
        return "real"
    return "edited" if row["edit_of_kind"] == "real" else "synthetic"
