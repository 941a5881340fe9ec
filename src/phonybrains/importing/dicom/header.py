"""The facts of a DICOM header that place a frame in a volume, read without its pixels.

Classic images say them once, enhanced (multi-frame) ones for each frame in functional groups (PS3.3 C.7.6.16).
A value of the wrong kind counts as missing: it is never an error and its text never gets into a message.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ...process_wide import process_wide
from ..reader import vocabulary
from .geometry import Orientation, is_orientation

FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence")
MACROS = {
    "ImagePositionPatient": ("PlanePositionSequence",),
    "ImageOrientationPatient": ("PlaneOrientationSequence",),
    "PixelSpacing": ("PixelMeasuresSequence",),
    "SliceThickness": ("PixelMeasuresSequence",),
    "RescaleSlope": ("PixelValueTransformationSequence",),
    "RescaleIntercept": ("PixelValueTransformationSequence",),
    "RescaleType": ("PixelValueTransformationSequence",),
    "EffectiveEchoTime": ("MREchoSequence",),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence",),
    "KVP": ("CTXRayDetailsSequence",),
    "FrameType": FRAME_TYPES,
    "ComplexImageComponent": FRAME_TYPES,
    "VolumeBasedCalculationTechnique": FRAME_TYPES,
    "ImageType": ("UnassignedPerFrameConvertedAttributesSequence",),
}
"""The functional group macros that an element may stand in, where it is one of a frame's."""

SCANNED = vocabulary(
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID PatientID PatientName "
    "PatientBirthDate Modality ImageType ScanOptions ComplexImageComponent VolumeBasedCalculationTechnique "
    "SyntheticData BurnedInAnnotation SeriesDescription ProtocolName InstanceNumber Rows Columns NumberOfFrames "
    "SamplesPerPixel PhotometricInterpretation ImagePositionPatient ImageOrientationPatient SliceLocation PixelSpacing "
    "ImagerPixelSpacing PixelAspectRatio SpacingBetweenSlices EchoTime SharedFunctionalGroupsSequence "
    "PerFrameFunctionalGroupsSequence 00430010 0043102F"
)
"""The only elements read in the first pass over the files; the last two are GE's, see content.py."""
MOST_FRAMES = 100_000
NOBODY = re.compile(
    r"|[\W_]+|(anon(ym(ous|i[sz]ed?|e|isiert)?)?|de-?identified|unknown|none|null|n/?a|removed|deleted|undefined)[\W_]*"
    r"|no[ _]?(patient[ _]?)?(id|name)|(anonymous|unknown)[\W_]*(patient|subject|name)",
    re.IGNORECASE,
)
"""What stands in place of an id or a name that was taken away: not a person."""
ATLASES = "1.2.840.10008.1.4."
"""Well-known frames of reference (PS3.6 Annex A), shared by all who were put into them."""
LOGGERS = ("pydicom", "pylibjpeg", "openjpeg")


@process_wide
@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and its decoders from printing header values and stack traces; a bad file has its line of report."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in LOGGERS}
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Frame:
    """One 2-D frame of a file, still without pixels.

    tile: where it lies in a mosaic of many, row and column of its first pixel; None for a picture of its own.
    patient: PatientID, "" where it is missing or stands for nobody; person: what else tells whose it is, the surest
    first, for patients.py. spacing_mm: distance of rows and of columns; square: whether these are only assumed.
    orientation, position: as in DICOM, in mm; None where missing. location: SliceLocation in mm, or for plain
    multi-frame images the frame's number times the distance of slices; number: InstanceNumber, the last resort.
    inverted: low values are shown white (MONOCHROME1). echo_ms parts the echoes of one MR series.
    """

    path: Path
    index: int
    instance_uid: str
    modality: str
    patient: str
    person: tuple[str, ...]
    series_uid: str
    echo_ms: float | None
    shape: tuple[int, int]
    inverted: bool
    synthetic: bool
    spacing_mm: tuple[float, float]
    square: str
    orientation: Orientation | None
    position: tuple[float, float, float] | None
    location: float | None
    number: float | None
    tile: tuple[int, int] | None = None
    patient_is_guess: bool = False

    @property
    def placed_by(self) -> str:
        """What the order of the slices follows: "place", "SliceLocation or frame number", "InstanceNumber" or ""."""
        if self.position is not None and self.orientation is not None:
            return "place"
        if self.location is not None:
            return "SliceLocation or frame number"
        return "InstanceNumber" if self.number is not None else ""


def frames_of(header: Dataset, path: Path, modality: str, groups: Sequence[Sequence[Dataset]]) -> list[Frame]:
    """The frames of one file: one for a classic image, NumberOfFrames for a multi-frame one; groups: theirs."""
    patient = text(header, "PatientID")
    of_file: dict[str, Any] = {
        "path": path,
        "instance_uid": text(header, "SOPInstanceUID"),
        "modality": modality,
        "patient": "" if NOBODY.fullmatch(patient) else patient,
        "person": _person(header, path),
        "series_uid": text(header, "SeriesInstanceUID") or f"{text(header, 'StudyInstanceUID')}|{path.parent}",
        "shape": (int(header.Rows), int(header.Columns)),
        "inverted": text(header, "PhotometricInterpretation") == "MONOCHROME1",
        "synthetic": text(header, "SyntheticData") == "YES",
        "number": number([header], "InstanceNumber"),
    }
    return [_frame(of_file, sources, index, len(groups)) for index, sources in enumerate(groups)]


def _frame(of_file: dict[str, Any], sources: Sequence[Dataset], index: int, count: int) -> Frame:
    orientation = numbers(sources, "ImageOrientationPatient", 6)
    if orientation is not None and not is_orientation(orientation):
        orientation = None
    plain = count > 1 and len(sources) == 1
    position = None if plain or orientation is None else numbers(sources, "ImagePositionPatient", 3)
    location = number(sources, "SliceLocation")
    if plain or (count > 1 and position is None and location is None):
        location = index * (number(sources, "SpacingBetweenSlices") or 1.0)
    spacing, square = _spacing(sources)
    return Frame(
        **of_file,
        index=index,
        echo_ms=echo_time(sources) if of_file["modality"] == "MR" else None,
        spacing_mm=spacing,
        square=square,
        orientation=cast(Orientation | None, orientation),
        position=cast(tuple[float, float, float] | None, position),
        location=location,
    )


def _spacing(sources: Sequence[Dataset]) -> tuple[tuple[float, float], str]:
    """Distance of rows and columns, and what has to be said of it: PixelSpacing, else their ratio, else square."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = numbers(sources, keyword, 2)
        if spacing is not None and min(spacing) > 0:
            return cast(tuple[float, float], spacing), ""
    ratio = numbers(sources, "PixelAspectRatio", 2)
    if ratio is not None and min(ratio) > 0:
        return (ratio[0] / ratio[1], 1.0), "no PixelSpacing, the shape of the pixels is that of PixelAspectRatio"
    return (1.0, 1.0), "no PixelSpacing, square pixels assumed"


def _person(header: Dataset, path: Path) -> tuple[str, ...]:
    """What is alike in files of one person: study, frame of reference, name with date of birth; else the folder."""
    study, frame = text(header, "StudyInstanceUID"), text(header, "FrameOfReferenceUID")
    name, born = text(header, "PatientName").strip("^ ").upper(), text(header, "PatientBirthDate")
    found = [f"study {study}"] if study else []
    found += [f"frame {frame}"] if frame and not frame.startswith(ATLASES) else []
    found += [f"person {name} {born}"] if born and not NOBODY.fullmatch(name) else []
    return tuple(found) or (f"series {header.get('SeriesInstanceUID') or path.parent}",)


def functional_groups(header: Dataset) -> list[list[Dataset]]:
    """For each frame the datasets in which its elements are looked for, nearest first: its own group, the shared one,
    the image. A classic or plain multi-frame image gives lists of one."""
    count = min(max(1, int(number([header], "NumberOfFrames") or 1)), MOST_FRAMES)
    own, shared = _items(header, "PerFrameFunctionalGroupsSequence"), _items(header, "SharedFunctionalGroupsSequence")
    return [[*own[index : index + 1], *shared[:1], header] for index in range(count)]


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none if it is missing or bad."""
    try:
        return [item for item in dataset.get(keyword) or [] if isinstance(item, Dataset)]
    except Exception:  # as in lookup
        return []


def lookup(sources: Sequence[Dataset], keyword: str) -> Any:
    """The value of an element in the nearest source that has one, directly or in its macro; None if missing or bad."""
    for source in sources:
        macros = [item for name in MACROS.get(keyword, ()) for item in _items(source, name)[:1]]
        for dataset in (*macros, source):
            try:
                value = dataset.get(keyword)
            except Exception:  # pydicom converts values when they are first asked for, and fails in many ways
                continue
            if value is not None and value != "":
                return value
    return None


def _values(sources: Sequence[Dataset], keyword: str) -> Sequence[Any]:
    """All values of an element."""
    value = lookup(sources, keyword)
    return value if isinstance(value, MultiValue | list) else [] if value is None else [value]


def numbers(sources: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    try:
        found = tuple(float(item) for item in _values(sources, keyword))
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(sources: Sequence[Dataset], keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(sources, keyword, 1)
    return None if found is None else found[0]


def terms(sources: Sequence[Dataset], keyword: str) -> list[str]:
    """The values of a text element, in capitals and without blanks around them; empty if missing."""
    return [str(item).strip().upper() for item in _values(sources, keyword)]


def text(header: Dataset, keyword: str) -> str:
    """The value of a single text element without blanks around it, "" if missing."""
    value = lookup([header], keyword)
    return "" if value is None else str(value).strip(" \0")


def echo_time(sources: Sequence[Dataset]) -> float | None:
    """Echo time in ms, from an enhanced or a classic MR header."""
    effective = number(sources, "EffectiveEchoTime")
    return number(sources, "EchoTime") if effective is None else effective
