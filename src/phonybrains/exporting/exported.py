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

from ..errors import ImageSetError
from ..imageset import MADE_COLUMNS, ImageSet, Row
from .config import ExportConfig
from .geometry import FIELD_OF_VIEW, SHOWN, Geometry
from .maker import Maker, maker_of

PSEUDONYM = re.compile(r"P-[0-9a-f]{12}")
"""What import puts in place of the id of a person."""
MODALITIES = ("MR", "CT")
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
    """Images of one person, modality and plane, by their numbers in the set; `number` counts series from 1."""

    person: Person
    modality: str
    plane: str
    number: int
    rows: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        return self.person.kind

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.person, self.modality, self.plane)

    @property
    def folder(self) -> str:
        """Its name in an export, such as "001-MR-axial"."""
        return "-".join(filter(None, (f"{self.number:03d}", self.modality, self.plane)))


@dataclass(frozen=True)
class ExportedSet:
    """An image set on its way out. identity: that of the record of the export, from which all new ids come."""

    images: ImageSet
    config: ExportConfig
    identity: str
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
        shape = (self.images.height, self.images.width)
        return Geometry.of(self.images.rows[index], shape, self.config.field_of_view_mm)

    @cached_property
    def names(self) -> Sequence[str]:
        """A name for each image: that of its file without extension, or its number where two are called alike."""
        stems = [Path(row.file_name).stem for row in self.images.rows]
        return stems if len(set(stems)) == len(stems) else [f"{number:06d}" for number in range(len(stems))]

    @cached_property
    def series(self) -> Sequence[Series]:
        """The images in series, in the order in which these begin; numbers count from 1."""
        found: dict[tuple[Person, str, str], list[int]] = {}
        for index, row in enumerate(self.images.rows):
            key = Person.of(row), row.modality, str(row["plane"] or "")
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
            if kind_of(row) == "real" and not self.config.real:
                raise ImageSetError(
                    f"{where}: a real scan. Its pixels show a person, whatever the export calls it: "
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
        geometries = [self.geometry(index) for index in range(n)]
        if bare := sum(one.spacing_mm is None for one in geometries):
            yield (
                f"{bare} of {n} images have no known size in mm (no column {FIELD_OF_VIEW}): exported without pixel "
                "spacing. Give --field-of-view MM, the width of an image, if you know it."
            )
        if bare := sum(one.along is None for one in geometries):
            yield f"{bare} of {n} images have no plane ({', '.join(SHOWN)}): exported without orientation."
        if bare := sum(row.modality == "CT" and self.scale(i).unit != "HU" for i, row in enumerate(rows)):
            yield (
                f"{bare} of {n} images are CT whose grey levels have no known unit: exported as unspecified, not as "
                "HU. Give --window CENTRE WIDTH, e.g. 40 80, if you know what black and white stand for."
            )


def kind_of(row: Row) -> Kind:
    if not row.synthetic:
        return "real"
    return "edited" if row["edit_of_kind"] == "real" else "synthetic"
