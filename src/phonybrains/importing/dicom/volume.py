"""Read one DICOM volume: each file once, in the order of files; its slices come in the order of their places.

Between the two the decoded slices wait in memory, or on disk where they are many, so that a series of a hundred
enhanced files with all time points of all places costs one pass over each of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import SourceError
from ..config import ImportConfig
from ..intensity import ENOUGH_VOXELS, ct_range, mr_range, no_air
from ..slices import Notice, Slice
from .deidentify import allowed_attributes
from .geometry import as_displayed, distance_along_normal, irregularities, plane_of
from .header import Frame, functional_groups, quiet
from .pixels import decoder, frame_values, load

IN_MEMORY = 256_000_000
"""Bytes of decoded slices above which they wait on disk."""
NO_VALUES = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Taken:
    """A decoded slice whose values wait in the spool: its frame, its place there, a digest and some of its values."""

    frame: Frame
    slice: Slice
    shape: tuple[int, int]
    offset: int
    digest: bytes
    lowest: float
    highest: float
    sample: NDArray[np.float32]


def read_volume(
    source: str, name: Callable[[Path], str], series: str, frames: Sequence[Frame], config: ImportConfig
) -> Iterator[Slice | Notice]:
    """The slices of one volume in spatial order, before them what has to be said of it; name: of a file, in the report.

    A file that fails gives one notice and no further slices; a blank slice, or a copy of another at the same place,
    none. One SOPInstanceUID on different pixels is a warning: the pixels decide.
    """
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        step = max(1, -(-sum(frame.shape[0] * frame.shape[1] for frame in frames) // ENOUGH_VOXELS))
        taken: list[Taken] = []
        notices: list[Notice] = []
        for found in _decoded(source, name, series, frames, spool, step):
            if isinstance(found, Taken):
                taken.append(found)
            else:
                notices.append(found)
        taken.sort(key=lambda item: (item.slice.order, item.frame.path, item.frame.index))
        taken, copies = _without_copies(taken)
        yield from (replace(item, kind=item.kind if taken else "skipped") for item in (*notices, *copies))
        if not taken:
            return
        try:
            low, high, unit = _range(taken, config)
        except ValueError as error:
            yield from (Notice(item.slice.file, "skipped", f"an empty volume: {error}") for item in taken)
            return
        yield from (Notice(taken[0].slice.file, "warning", text) for text in _warnings(taken))
        inverted = taken[0].frame.inverted and unit != "HU"
        highest = np.float32(max(item.highest for item in taken))
        for item in taken:
            spool.seek(item.offset)
            stored = spool.read(4 * item.shape[0] * item.shape[1])
            values = np.frombuffer(stored, np.float32).reshape(item.shape)
            yield replace(item.slice, values=highest - values if inverted else values, low=low, high=high, unit=unit)


def _decoded(
    source: str,
    name: Callable[[Path], str],
    series: str,
    frames: Sequence[Frame],
    spool: SpooledTemporaryFile[bytes],
    step: int,
) -> Iterator[Taken | Notice]:
    """Decode the frames file by file, put their values into the spool, and yield what is left to know of them."""
    ordered = sorted(frames, key=lambda frame: (frame.path, frame.index, frame.tile or ()))
    for path, of_file in groupby(ordered, key=lambda frame: frame.path):
        blank = 0
        try:
            dataset = load(path)
            groups, decode = functional_groups(dataset), decoder(dataset, path)
            for index, tiles in groupby(of_file, key=lambda frame: frame.index):
                whole = decode(index)
                for frame in tiles:
                    top, left = frame.tile or (0, 0)
                    raw = whole[top : top + frame.shape[0], left : left + frame.shape[1]]
                    values, measured = frame_values(raw, dataset, frame, groups[index])
                    if not measured.any() or values.min() == values.max():
                        blank += 1
                        continue
                    yield _taken(source, name(path), series, frame, values, measured, groups[index], spool, step)
        except SourceError as error:
            yield Notice(name(path), "skipped", str(error))
        if blank:
            yield Notice(name(path), "note", f"{blank} empty slice{'s' * (blank > 1)}: all values are equal; left out")


def _taken(
    source: str,
    file: str,
    series: str,
    frame: Frame,
    values: NDArray[np.float32],
    measured: NDArray[np.bool_],
    sources: Sequence[Dataset],
    spool: SpooledTemporaryFile[bytes],
    step: int,
) -> Taken:
    spacing, plane = frame.spacing_mm, ""
    lowest, highest = float(values[measured].min()), float(values.max())
    if frame.orientation is not None:
        values, spacing = as_displayed(values, spacing, frame.orientation)
        plane = plane_of(frame.orientation)
    with quiet():
        attributes = allowed_attributes(sources, plane)
    found = Slice(
        NO_VALUES,
        low=0.0,
        high=0.0,
        modality=frame.modality,
        series=series,
        order=_order(frame),
        source=source,
        patient=frame.patient,
        patient_is_guess=frame.patient_is_guess,
        spacing_mm=spacing,
        attributes=attributes,
        file=file,
        synthetic=frame.synthetic,
    )
    stored = np.ascontiguousarray(values).tobytes()
    offset = spool.seek(0, 2)
    spool.write(stored)
    shape = (values.shape[0], values.shape[1])
    digest = hashlib.sha256(stored).digest()
    return Taken(frame, found, shape, offset, digest, lowest, highest, values.ravel()[::step].copy())


def _order(frame: Frame) -> float:
    if frame.position is not None and frame.orientation is not None:
        return distance_along_normal(frame.position, frame.orientation)
    return frame.location if frame.location is not None else frame.number or 0.0


def _without_copies(taken: Sequence[Taken]) -> tuple[list[Taken], list[Notice]]:
    """The slices without those that repeat the pixels of another at the same place, and what has to be said of it."""
    first: dict[object, Taken] = {}
    notices: list[Notice] = []
    for item in taken:
        same = first.setdefault((item.digest, round(item.slice.order, 3)), item)
        if same is not item:
            reason = f"a copy of {same.slice.file}: the same pixels at the same place; left out"
            notices.append(Notice(item.slice.file, "duplicate", reason))
    kept = list(first.values())
    uses = Counter((item.frame.instance_uid, item.frame.index, item.frame.tile) for item in kept)
    for (uid, *_), count in uses.items():
        if uid and count > 1:
            file = next(item.slice.file for item in kept if item.frame.instance_uid == uid)
            notices.append(
                Notice(
                    file,
                    "warning",
                    f"{count} images with different pixels share its SOPInstanceUID, "
                    "which should be theirs alone; all are kept",
                )
            )
    return kept, notices


def _range(taken: Sequence[Taken], config: ImportConfig) -> tuple[float, float, str]:
    """What becomes black and white, and the unit. Raises ValueError if all values of an MR volume are equal."""
    if taken[0].frame.modality == "CT":
        return *ct_range(config), "HU"
    samples = [item.sample for item in taken]
    if taken[0].frame.inverted:
        highest = np.float32(max(item.highest for item in taken))
        samples = [highest - sample for sample in samples]
    return *mr_range(samples, config.percentiles), "a.u."


def _warnings(taken: Sequence[Taken]) -> Iterator[str]:
    frames = [item.frame for item in taken]
    found: list[str] = []
    first = frames[0]
    if first.placed_by == "place" and first.orientation is not None:
        found += irregularities([frame.position for frame in frames if frame.position is not None], first.orientation)
    else:
        found.append(f"no position for each slice, ordered by {first.placed_by}")
    found += sorted({frame.square for frame in frames} - {""})
    if found:
        yield f"volume of {len(frames)} slices, of which this is the first: {'; '.join(found)}"
    if first.modality == "CT" and (doubt := no_air(min(item.lowest for item in taken))):
        yield doubt
