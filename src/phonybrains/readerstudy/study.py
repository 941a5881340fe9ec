"""A study folder, frozen before the first answer, and the nouns of a reader study.

    images/….i16       one file a case: raw little-endian int16, H × W, so that all are of one length
    cases.csv          truth, arm and origin of each case; it never leaves the server before the end
    protocol.json      configuration, seed, plan, code version and the hash over all of it and cases.csv
    record.json        how it came to be (record.py)
    study.db           the answers, where no other database is given; made by `phonybrains study serve`

All but the answers is written once, by `phonybrains study design`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import StudyError
from ..imageset import Attribute
from ..record import sha256_file
from .config import StudyConfig

CASES_NAME, PROTOCOL_NAME, DATABASE_NAME, PROTOCOL_VERSION = "cases.csv", "protocol.json", "study.db", 2
REMEDY = "Restore it, or design the study again."
READABLE = (1, PROTOCOL_VERSION)
"""Protocols of version 1 registered other tests: they are read, and their plan is said not to be followed."""

Truth = Literal["real", "phony"]
Role = Literal["test", "training", "check", "filler"]
Kind = Literal["training", "test", "repeat", "check", "filler"]
Call = Literal["real", "phony", "unclear"]
CALLS: tuple[Call, ...] = get_args(Call)


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a study: value = slope · pixel + intercept, in `unit`; `truth` is real or phony."""

    case_id: str
    sha256: str
    role: Role
    truth: Truth
    arm: str
    """`real` for controls, else the name of the synthetic set."""
    modality: str
    slope: float
    intercept: float
    unit: str
    source: str
    """The image's file name in the set it comes from."""
    patient_id: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"images/{self.case_id}.i16"


@dataclass(frozen=True, slots=True)
class Presentation:
    """One showing of a case to one reader, at a position (1, 2, …) of that reader's order."""

    position: int
    case_id: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Mark:
    """A spot a reader pointed at, as fractions of the image's width and height."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one reader said of one presentation; confidence is 0…100, or None where it was not asked for."""

    reader: str
    position: int
    kind: Kind
    case_id: str
    call: Call
    confidence: int | None = None
    description: str = ""
    marks: tuple[Mark, ...] = ()
    seconds: float | None = None
    answered_at: str = ""
    """UTC, ISO 8601; empty where it is not known."""


class Protocol(TypedDict):
    """What protocol.json holds, as far as opening a study needs it."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    version: int
    hash: str
    cases_sha256: str
    config: dict[str, Any]
    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Study:
    """A checked study folder. Open one with `Study.open`."""

    folder: Path
    config: StudyConfig
    cases: Mapping[str, Case]
    height: int
    width: int
    protocol: Mapping[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """Open a study folder and check it against its protocol: every case, every image, the hash over all.

        Raises StudyError saying what differs from what was frozen.
        """
        folder = Path(folder)
        protocol = _read_protocol(folder)
        if protocol["cases_sha256"] != sha256_file(folder / CASES_NAME):
            raise StudyError(
                f"{folder / CASES_NAME} was changed after the protocol was frozen. Restore it, or design a new study."
            )
        cases = {case.case_id: case for case in read_cases(folder / CASES_NAME)}
        for case in cases.values():
            _check_image(folder, case)
        try:
            config = StudyConfig.model_validate(protocol["config"])
        except ValidationError as error:
            raise StudyError(f"{folder / PROTOCOL_NAME}: {error.errors()[0]['msg']}.") from None
        return cls(folder, config, cases, protocol["height"], protocol["width"], protocol)

    @property
    def hash(self) -> str:
        """The hash of the frozen protocol."""
        return self.protocol["hash"]

    @property
    def seed(self) -> int:
        assert self.config.seed is not None
        return self.config.seed

    def image_bytes(self, case_id: str) -> bytes:
        """The image as it is sent: 2 · H · W bytes, little-endian int16."""
        return (self.folder / self.cases[case_id].file_name).read_bytes()

    def pixels(self, case_id: str) -> NDArray[np.int16]:
        """The image as (H, W) int16."""
        return np.frombuffer(self.image_bytes(case_id), "<i2").reshape(self.height, self.width)

    def of_role(self, *roles: str) -> list[Case]:
        """The cases of these roles, in the order of `cases.csv`."""
        return [case for case in self.cases.values() if case.role in roles]


def protocol_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 over a protocol's content without its `hash` and `created`, as canonical JSON."""
    frozen = {key: value for key, value in content.items() if key not in ("hash", "created")}
    return hashlib.sha256(json.dumps(frozen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


CASE_COLUMNS = tuple(f.name for f in fields(Case) if f.name != "attributes")


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write `cases.csv`: the fixed columns, then every attribute that any case has."""
    names = list(dict.fromkeys(name for case in cases for name in case.attributes))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*CASE_COLUMNS, *names])
        for case in cases:  # csv writes None as nothing
            own = [getattr(case, column) for column in CASE_COLUMNS]
            writer.writerow([*own, *map(case.attributes.get, names)])


def read_cases(path: Path) -> list[Case]:
    """Read `cases.csv`. Raises StudyError naming the row."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = []
    for number, row in enumerate(rows, start=2):
        try:
            own: dict[str, Any] = {column: row.pop(column) for column in CASE_COLUMNS}
            own |= {column: float(own[column]) for column in ("slope", "intercept")}
        except (KeyError, ValueError) as error:
            raise StudyError(f"{path}, row {number}: {error}. Restore the file, or design the study again.") from None
        cases.append(Case(**own, attributes={key: text or None for key, text in row.items()}))
    return cases


def _read_protocol(folder: Path) -> dict[str, Any]:
    path = folder / PROTOCOL_NAME
    if not path.exists():
        raise StudyError(
            f"{folder} is not a study: it has no {PROTOCOL_NAME}. Make one with 'phonybrains study design'."
        )
    protocol = dict(read_json(path, Protocol, "Restore it from where it was made.", StudyError))
    if protocol["version"] not in READABLE:
        raise StudyError(
            f"{path}: not a protocol of version {' or '.join(map(str, READABLE))}, which this phonybrains reads. Use "
            "the phonybrains that made it."
        )
    if protocol.get("hash") != protocol_hash(protocol):
        raise StudyError(
            f"{path} was changed after it was frozen: its hash does not fit. Restore it, or design a new study."
        )
    return protocol


def _check_image(folder: Path, case: Case) -> None:
    path = folder / case.file_name
    if not path.is_file():
        raise StudyError(f"{path} is missing. {REMEDY}")
    if sha256_file(path) != case.sha256:
        raise StudyError(f"{path} was changed after the protocol was frozen. {REMEDY}")
