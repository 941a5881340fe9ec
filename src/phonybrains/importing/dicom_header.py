"""The facts of a DICOM header that place a frame in a volume, read without its pixels.

Classic images say them once, enhanced (multi-frame) ones for each frame in functional groups (PS3.3 C.7.6.16).
A value of the wrong kind counts as missing: it is never an error and its text never gets into a message.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from .dicom_geometry import Orientation, is_orientation

MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
    "KVP": "CTXRayDetailsSequence",
}
"""The functional group macro that an element stands in, where it is one of a frame's."""

SCANNED = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "ImageType",
    "SyntheticData", "BurnedInAnnotation", "SeriesDescription", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "PixelSpacing",
    "SpacingBetweenSlices", "EchoTime", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
"""The only elements read in the first pass over the files."""


MOST_FRAMES = 100_000


LOGGERS = ("pydicom", "pylibjpeg", "openjpeg")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and its decoders from printing header values and stack traces; a bad file has its line of report."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@dataclass(frozen=True, slots=True)
class Frame:
    """One 2-D frame of a file, still without pixels.

    spacing_mm: distance of rows and of columns; orientation, position: as in DICOM, in mm; None where missing.
    location: SliceLocation in mm, or for plain multi-frame images the frame's number times the distance of slices.
    inverted: low values are shown white (MONOCHROME1). echo_ms parts the echoes of one MR series.
    """

    path: Path
    index: int
    instance_uid: str
    modality: str
    patient: str
    series_uid: str
    echo_ms: float | None
    shape: tuple[int, int]
    inverted: bool
    synthetic: bool
    spacing_mm: tuple[float, float] | None
    orientation: Orientation | None
    position: tuple[float, float, float] | None
    location: float | None


def frames_of(header: Dataset, path: Path, modality: str) -> list[Frame]:
    """The frames of one file: one for a classic image, NumberOfFrames for a multi-frame one."""
    count = min(max(1, int(number([header], "NumberOfFrames") or 1)), MOST_FRAMES)
    return [_frame(header, path, modality, index, count) for index in range(count)]


def _frame(header: Dataset, path: Path, modality: str, index: int, count: int) -> Frame:
    sources = functional_groups(header, index)
    orientation = numbers(sources, "ImageOrientationPatient", 6)
    if orientation is not None and not is_orientation(orientation):
        orientation = None
    plain = count > 1 and len(sources) == 1
    position = None if plain or orientation is None else numbers(sources, "ImagePositionPatient", 3)
    spacing = numbers(sources, "PixelSpacing", 2)
    location = number(sources, "SliceLocation")
    if plain:
        location = index * (number(sources, "SpacingBetweenSlices") or 1.0)
    study = text(header, "StudyInstanceUID")
    return Frame(
        path,
        index,
        instance_uid=text(header, "SOPInstanceUID"),
        modality=modality,
        patient=text(header, "PatientID") or study,
        series_uid=text(header, "SeriesInstanceUID") or f"{study}|{path.parent}",
        echo_ms=echo_time(sources) if modality == "MR" else None,
        shape=(int(header.Rows), int(header.Columns)),
        inverted=text(header, "PhotometricInterpretation") == "MONOCHROME1",
        synthetic=text(header, "SyntheticData") == "YES",
        spacing_mm=cast(tuple[float, float], spacing) if spacing is not None and min(spacing) > 0 else None,
        orientation=cast(Orientation | None, orientation),
        position=cast(tuple[float, float, float] | None, position),
        location=location,
    )


def functional_groups(header: Dataset, index: int) -> list[Dataset]:
    """The datasets in which a frame's elements are looked for, nearest first: its own group, the shared one, the image.

    A classic or plain multi-frame image gives a list of one.
    """
    own = _items(header, "PerFrameFunctionalGroupsSequence")[index : index + 1]
    return [*own, *_items(header, "SharedFunctionalGroupsSequence")[:1], header]


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none if it is missing or bad."""
    try:
        return [item for item in dataset.get(keyword) or [] if isinstance(item, Dataset)]
    except Exception:  # as in lookup
        return []


def lookup(sources: Sequence[Dataset], keyword: str) -> Any:
    """The value of an element in the nearest source that has one, directly or in its macro; None if missing or bad."""
    for source in sources:
        macro = _items(source, MACROS[keyword])[:1] if keyword in MACROS else []
        for dataset in (*macro, source):
            try:
                value = dataset.get(keyword)
            except Exception:  # pydicom converts values when they are first asked for, and fails in many ways
                continue
            if value is not None and value != "":
                return value
    return None


def numbers(sources: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    value = lookup(sources, keyword)
    try:
        found = tuple(float(item) for item in (value if isinstance(value, MultiValue | list) else [value]))
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(sources: Sequence[Dataset], keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(sources, keyword, 1)
    return None if found is None else found[0]


def terms(sources: Sequence[Dataset], keyword: str) -> list[str]:
    """The values of a text element, in capitals and without blanks around them; empty if missing."""
    value = lookup(sources, keyword)
    items = value if isinstance(value, MultiValue | list) else [] if value is None else [value]
    return [str(item).strip().upper() for item in items]


def text(header: Dataset, keyword: str) -> str:
    """The value of a single text element without blanks around it, "" if missing."""
    value = lookup([header], keyword)
    return "" if value is None else str(value).strip(" \0")


def echo_time(sources: Sequence[Dataset]) -> float | None:
    """Echo time in ms, from an enhanced or a classic MR header."""
    effective = number(sources, "EffectiveEchoTime")
    return number(sources, "EchoTime") if effective is None else effective
