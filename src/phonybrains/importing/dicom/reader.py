"""Read DICOM files as slices: found by content, ordered by geometry, in HU or a.u., without the patient's data.

Two passes: the headers of all files, of which only what places a frame in a volume is kept; then the pixels, one volume
at a time, each file once. What is left out is reported with a reason. Nothing is resampled.
Source: PS3.3 A.3, A.4, A.36, A.38.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from ...errors import SourceError
from ...wording import count_of
from ..burned_in import KEPT
from ..config import ImportConfig
from ..slices import Notice, Slice, name_below
from .content import modality_of, says_burned_in, why_left_out, why_no_anatomy
from .geometry import same_orientation
from .grid import GRIDS, taken_apart
from .header import SCANNED, Frame, frames_of, functional_groups, quiet, terms, text
from .patients import with_patients
from .volume import read_volume

SERIES = "series_uid patient modality shape echo_ms inverted synthetic placed_by"
SERIES_FACTS = attrgetter(*SERIES.split())
NO_PLACE = (
    "it does not say where it lies (no ImagePositionPatient with an orientation, no SliceLocation, no InstanceNumber)"
)


def read_dicom(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield the slices of CT and MR images among the files, series by series, and a notice for what is left out.

    A file may have any name; a DICOMDIR adds the files it lists. A series that holds several orientations, sizes or
    echoes is several volumes. Slices come in the order of their places along the normal; `order` is that place in mm,
    `series` a hash. CT values are HU and low…high the window; MR values are a.u., low…high percentiles of the volume.
    Uneven distances, gaps, a sheared stack, several slices at one place and a CT without air are warnings. Bad files
    raise nothing.
    """
    frames: list[Frame] = []
    paths = sorted(set(files))
    for directory in [path for path in paths if path.name.upper() == "DICOMDIR"]:
        listed, notices = _listed_files(root, directory)
        paths = sorted({*paths, *listed} - {directory})
        yield from notices
    for path in paths:
        found, reasons = _scan(path, config)
        for reason in reasons:
            yield Notice(name_below(root, path), "warning" if reason.endswith(KEPT) else "skipped", reason)
        frames += found
    for volume in _volumes(with_patients(frames)):
        yield from read_volume(root, _series(volume[0]), volume, config)


def _listed_files(root: Path, directory: Path) -> tuple[list[Path], list[Notice]]:
    """The files that a DICOMDIR lists in its own folder (PS3.3 F.3), with a notice if some are missing."""
    try:
        with quiet():
            names = [record.get("ReferencedFileID") for record in dcmread(directory).DirectoryRecordSequence]
    except Exception:  # pydicom fails in many ways on damaged files
        reason = "a DICOMDIR that cannot be read; the files beside it are"
        return [], [Notice(name_below(root, directory), "skipped", reason)]
    folder = directory.parent
    parts = [[name] if isinstance(name, str) else [str(part) for part in name] for name in names if name]
    spellings = [(folder.joinpath(*part), folder.joinpath(*map(str.lower, part))) for part in parts]
    found = [path for pair in spellings for path in pair if path.is_file()]
    inside = [path for path in found if path.resolve().is_relative_to(folder.resolve())]
    missing = sum(not any(path in inside for path in pair) for pair in spellings)
    reason = f"of {count_of(len(parts), 'file')} that it lists, {count_of(missing, 'is', 'are')} not in its folder"
    return inside, [Notice(name_below(root, directory), "warning", reason)] if missing else []


def _scan(path: Path, config: ImportConfig) -> tuple[list[Frame], list[str]]:
    """The frames of one file that can be used; why it, or some of them, cannot, or could not without keep_text."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
        if start[128:] != b"DICM" and start[:2] not in (b"\2\0", b"\10\0"):
            return [], ["not a DICOM file"]
        with quiet():
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(SCANNED), force=True)
            reason = why_left_out(header, getattr(header, "file_meta", None), config.max_pixels, config.keep_text)
            if reason:
                return [], [reason]
            frames, reasons = _frames(header, path)
            told = says_burned_in(header)
            return frames, [*reasons, f"{told}{KEPT}"] if told else reasons
    except SourceError as error:
        return [], [str(error)]
    except OSError as error:
        return [], [f"it cannot be opened ({error.strerror or 'damaged'})"]
    except Exception as error:  # pydicom fails in many ways on damaged files
        return [], [f"its header cannot be read ({type(error).__name__}); the file is damaged or cut short"]


def _frames(header: Dataset, path: Path) -> tuple[list[Frame], list[str]]:
    """The frames of a file that show tissue as it was measured, mosaics taken apart; and why the others do not."""
    groups, modality = functional_groups(header), modality_of(header)
    description = text(header, "SeriesDescription") or text(header, "ProtocolName")
    kept: list[Frame] = []
    left_out: Counter[str] = Counter()
    for frame, sources in zip(frames_of(header, path, modality, groups), groups, strict=True):
        if reason := why_no_anatomy(sources, modality, description):
            left_out[reason] += 1
        elif kinds := GRIDS.intersection(terms(sources, "ImageType")):
            kept += taken_apart(dcmread(path, stop_before_pixels=True, force=True), frame, min(kinds))
        elif frame.placed_by:
            kept.append(frame)
        else:
            left_out[NO_PLACE] += 1
    part = [f"{n} of its {len(groups)} frames: " if n < len(groups) else "" for n in left_out.values()]
    return kept, [f"{of}{reason}" for of, reason in zip(part, left_out, strict=True)]


def _volumes(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Part frames into volumes: one series, size, echo and orientation; each takes the orientation of the first."""
    found: dict[object, list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        volumes = found[SERIES_FACTS(frame)]
        for volume in volumes:
            if same_orientation(volume[0].orientation, frame.orientation):
                volume.append(replace(frame, orientation=volume[0].orientation))
                break
        else:
            volumes.append([frame])
    for volumes in found.values():
        yield from volumes


def _series(frame: Frame) -> str:
    """The opaque name of a volume."""
    facts = (*SERIES_FACTS(frame), [round(cosine, 3) + 0.0 for cosine in frame.orientation or ()])
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
