"""Read DICOM files as slices: found by content, ordered by geometry, in HU or a.u., without the patient's data.

Two passes: the headers of all files, of which only what places a frame in a volume is kept; then the pixels, one series
at a time. What is left out is reported with a reason. Nothing is resampled. Source: PS3.3 A.3, A.4, A.36, A.38.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from ..errors import SourceError
from .config import ImportConfig
from .deidentify import allowed_attributes
from .dicom_geometry import Orientation, as_displayed, distance_along_normal, irregularities, plane_of, same_orientation
from .dicom_header import SCANNED, Frame, frames_of, functional_groups, quiet
from .dicom_pixels import frame_values, load
from .dicom_selection import modality_of, why_left_out
from .intensity import ct_range, mr_range
from .slices import Notice, Slice


def read_dicom(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield the slices of CT and MR images among the files, series by series, and a notice for what is left out.

    A file may have any name; a DICOMDIR adds the files it lists. A series that holds several orientations, sizes or
    echoes is several volumes. Slices come in the order of their places along the normal; `order` is that place in mm,
    `series` a hash. CT values are HU and low…high the window; MR values are a.u., low…high percentiles of the volume.
    Uneven distances, gaps, a sheared stack and several slices at one place are warnings. Bad files raise nothing.
    """
    frames: list[Frame] = []
    paths = sorted(set(files))
    for directory in [path for path in paths if path.name.upper() == "DICOMDIR"]:
        listed, notices = _listed_files(root, directory)
        paths = sorted({*paths, *listed} - {directory})
        yield from notices
    for path in paths:
        found = _scan(path, config)
        if isinstance(found, str):
            yield Notice(_name(root, path), "skipped", found)
        else:
            frames += found
    for volume in _volumes(frames):
        yield from _read_volume(root, volume, config)


def _name(root: Path, path: Path) -> str:
    """The name of a file in the import report."""
    return f"{root.name}/{path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name}"


def _listed_files(root: Path, directory: Path) -> tuple[list[Path], list[Notice]]:
    """The files that a DICOMDIR lists in its own folder (PS3.3 F.3), with a notice if some are missing."""
    try:
        with quiet():
            names = [record.get("ReferencedFileID") for record in dcmread(directory).DirectoryRecordSequence]
    except Exception:  # pydicom fails in many ways on damaged files
        return [], [
            Notice(_name(root, directory), "skipped", "a DICOMDIR that cannot be read; the files beside it are")
        ]
    folder = directory.parent
    parts = [[name] if isinstance(name, str) else [str(part) for part in name] for name in names if name]
    spellings = [(folder.joinpath(*part), folder.joinpath(*map(str.lower, part))) for part in parts]
    found = [path for pair in spellings for path in pair if path.is_file()]
    inside = [path for path in found if path.resolve().is_relative_to(folder.resolve())]
    missing = sum(not any(path in inside for path in pair) for pair in spellings)
    reason = f"{missing} of the {len(parts)} files it lists are not in its folder"
    return inside, [Notice(_name(root, directory), "warning", reason)] if missing else []


def _scan(path: Path, config: ImportConfig) -> list[Frame] | str:
    """The frames of one file, or the reason why it is left out."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
        if start[128:] != b"DICM" and start[:2] not in (b"\2\0", b"\10\0"):
            return "not a DICOM file"
        with quiet():
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(SCANNED), force=True)
            reason = why_left_out(header, getattr(header, "file_meta", None), config.max_pixels)
            frames = [] if reason else frames_of(header, path, modality_of(header))
    except OSError as error:
        return f"it cannot be opened ({error.strerror or 'damaged'})"
    except Exception as error:  # pydicom fails in many ways on damaged files
        return f"its header cannot be read ({type(error).__name__}); the file is damaged or cut short"
    if any(frame.position is None and frame.location is None for frame in frames):
        return reason or "it does not say where it lies (no ImagePositionPatient with an orientation, no SliceLocation)"
    return reason or frames


def _volumes(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Part frames into volumes: one series, size, echo and orientation; each takes the orientation of the first."""
    found: dict[object, list[list[Frame]]] = defaultdict(list)
    for frame in frames:
        volumes = found[_series_facts(frame)]
        for volume in volumes:
            if _alike(volume[0].orientation, frame.orientation):
                volume.append(replace(frame, orientation=volume[0].orientation))
                break
        else:
            volumes.append([frame])
    for volumes in found.values():
        yield from volumes


def _series_facts(frame: Frame) -> tuple[object, ...]:
    return (frame.series_uid, frame.patient, frame.modality, frame.shape, frame.echo_ms, frame.inverted,
            frame.synthetic, frame.position is None)  # fmt: skip


def _alike(a: Orientation | None, b: Orientation | None) -> bool:
    return a is b if a is None or b is None else same_orientation(a, b)


def _read_volume(root: Path, frames: list[Frame], config: ImportConfig) -> Iterator[Slice | Notice]:
    """The slices of one volume in spatial order, with one warning before them if its geometry is irregular."""
    frames.sort(key=lambda frame: (_order(frame), frame.path, frame.index))
    decoded = _decode_all(root, frames)
    if frames[0].modality == "CT":
        low, high = ct_range(config)
        found = (replace(item, low=low, high=high, unit="HU") if isinstance(item, Slice) else item for item in decoded)
    else:
        found = _scaled_to_volume(list(decoded), frames[0].inverted, config)
    warning = _geometry_warning(frames)
    for item in found:
        if warning and isinstance(item, Slice):
            yield Notice(_name(root, frames[0].path), "warning", warning)
            warning = ""
        yield item


def _scaled_to_volume(
    decoded: Sequence[Slice | Notice], inverted: bool, config: ImportConfig
) -> Iterator[Slice | Notice]:
    """MR: low and high from the whole volume; values that are shown inverted are turned round first."""
    yield from (item for item in decoded if isinstance(item, Notice))
    slices = [item for item in decoded if isinstance(item, Slice)]
    if not slices:
        return
    if inverted:
        highest = np.float32(max(item.values.max() for item in slices))
        slices = [replace(item, values=highest - item.values) for item in slices]
    try:
        low, high = mr_range([item.values for item in slices], config.percentiles)
    except ValueError as error:
        yield from (Notice(item.file, "skipped", f"an empty volume: {error}") for item in slices)
        return
    yield from (replace(item, low=low, high=high) for item in slices)


def _order(frame: Frame) -> float:
    if frame.position is None or frame.orientation is None:
        return frame.location or 0.0
    return distance_along_normal(frame.position, frame.orientation)


def _geometry_warning(frames: Sequence[Frame]) -> str:
    found: list[str] = []
    frames = list({(frame.instance_uid or frame.path, frame.index): frame for frame in frames}.values())
    positions = [frame.position for frame in frames if frame.position is not None]
    orientation = frames[0].orientation
    if orientation is None or len(positions) < len(frames):
        found.append("no position for each slice, ordered by SliceLocation or frame number")
    else:
        found += irregularities(positions, orientation)
    if any(frame.spacing_mm is None for frame in frames):
        found.append("no PixelSpacing, square pixels assumed")
    return f"volume of {len(frames)} slices, of which this is the first: {'; '.join(found)}" if found else ""


def _decode_all(root: Path, frames: Sequence[Frame]) -> Iterator[Slice | Notice]:
    """Decode frames, keeping the file of the last one open; `low` and `high` of the slices are still to be set.

    A file that fails, or is a copy of one that was read, gives one notice and no further slices.
    """
    facts = (*_series_facts(frames[0]), [round(cosine, 3) + 0.0 for cosine in frames[0].orientation or ()])
    series = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    left_out: set[Path] = set()
    read_from: dict[str, Path] = {}
    path, dataset = Path(), Dataset()
    for frame in frames:
        if frame.path in left_out:
            continue
        try:
            if read_from.get(frame.instance_uid, frame.path) != frame.path:
                raise SourceError("a copy of an image that was already read (same SOPInstanceUID)")
            if frame.path != path:
                path, dataset = frame.path, load(frame.path)
            values = frame_values(dataset, frame)
        except SourceError as error:
            left_out.add(frame.path)
            yield Notice(_name(root, frame.path), "skipped", str(error))
        else:
            read_from |= {frame.instance_uid: frame.path} if frame.instance_uid else {}
            yield _slice(root, series, frame, values, functional_groups(dataset, frame.index))


def _slice(root: Path, series: str, frame: Frame, values: NDArray[np.float32], sources: Sequence[Dataset]) -> Slice:
    spacing, plane = frame.spacing_mm or (1.0, 1.0), ""
    if frame.orientation is not None:
        values, spacing = as_displayed(values, spacing, frame.orientation)
        plane = plane_of(frame.orientation)
    with quiet():
        attributes = allowed_attributes(sources, plane)
    return Slice(
        values,
        low=0.0,
        high=0.0,
        modality=frame.modality,
        series=series,
        order=_order(frame),
        source=root.name,
        patient=frame.patient,
        spacing_mm=spacing,
        attributes=attributes,
        file=_name(root, frame.path),
        synthetic=frame.synthetic,
    )
