"""Read one DICOM volume: each file once, in the order of files; its slices come in the order of their places.

Between the two the decoded slices wait in memory, or on disk where they are many, so that a series of a hundred
enhanced files with all time points of all places costs one pass over each of them.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import SourceError
from ...wording import count_of
from ..config import ImportConfig
from ..intensity import ENOUGH_VOXELS, ct_range, mr_range, no_air
from ..slices import NO_VALUES, Notice, Slice, name_below
from .deidentify import allowed_attributes
from .geometry import as_displayed, distance_along_normal, irregularities, place_as_shown, plane_of
from .header import Frame, functional_groups, quiet
from .pixels import decoder, frame_values, load, shown_range

IN_MEMORY = 256_000_000
"""Bytes of decoded slices above which they wait on disk."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A slice whose values wait in the spool: its frame, its place there, a digest and some of its values."""

    frame: Frame
    slice: Slice
    shape: tuple[int, ...]
    offset: int
    digest: bytes
    lowest: float
    highest: float
    sample: NDArray[np.float32]


def read_volume(root: Path, series: str, frames: Sequence[Frame], config: ImportConfig) -> Iterator[Slice | Notice]:
    """The slices of one volume in spatial order, before them what has to be said of it.

    root: the folder of the source; series: what the volume is called.
    A file that fails gives one notice and no further slices; a blank slice, or a copy of another at the same place,
    none. One SOPInstanceUID on different pixels is a warning: the pixels decide.
    """
    with SpooledTemporaryFile(max_size=IN_MEMORY) as spool:
        step = max(1, -(-sum(frame.shape[0] * frame.shape[1] for frame in frames) // ENOUGH_VOXELS))
        decoded: list[Decoded] = []
        notices: list[Notice] = []
        for found in _slices(root, series, frames):
            if isinstance(found, Notice):
                notices.append(found)
            else:
                decoded.append(_spooled(*found, spool, step))
        decoded.sort(key=lambda item: (item.slice.order, item.frame.path, item.frame.index))
        decoded, copies = _without_copies(decoded)
        yield from (replace(item, kind=item.kind if decoded else "skipped") for item in (*notices, *copies))
        if not decoded:
            return
        highest = np.float32(max(item.highest for item in decoded))
        try:
            low, high, unit = _range(decoded, highest, config)
        except ValueError as error:
            yield from (Notice(item.slice.file, "skipped", f"an empty volume: {error}") for item in decoded)
            return
        yield from (Notice(decoded[0].slice.file, "warning", text) for text in _warnings(decoded))
        inverted = decoded[0].frame.inverted and unit != "HU"
        for item in decoded:
            spool.seek(item.offset)
            values = np.frombuffer(spool.read(4 * math.prod(item.shape)), np.float32).reshape(item.shape)
            yield replace(item.slice, values=highest - values if inverted else values, low=low, high=high, unit=unit)


def _slices(
    root: Path, series: str, frames: Sequence[Frame]
) -> Iterator[tuple[Frame, Slice, NDArray[np.float32]] | Notice]:
    """Decode the frames file by file: each with its slice, as displayed, and those of its values that were measured."""
    ordered = sorted(frames, key=lambda frame: (frame.path, frame.index, frame.tile or ()))
    for path, of_file in groupby(ordered, key=lambda frame: frame.path):
        file, blank = name_below(root, path), 0
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
                    else:
                        found = _slice(frame, values, groups[index], series, root.name, file)
                        yield frame, found, values[measured]
        except SourceError as error:
            yield Notice(file, "skipped", str(error))
        if blank:
            yield Notice(file, "note", f"{blank} empty slice{'s' * (blank > 1)}: all values are equal; left out")


def _slice(
    frame: Frame, values: NDArray[np.float32], sources: Sequence[Dataset], series: str, source: str, file: str
) -> Slice:
    """The slice of a frame, as displayed; its range is that of the volume, which is known last."""
    spacing, plane = frame.spacing_mm, ""
    if frame.orientation is not None:
        values, spacing = as_displayed(values, spacing, frame.orientation)
        plane = plane_of(frame.orientation)
    with quiet():
        attributes = allowed_attributes(sources, plane)
    found = Slice(np.ascontiguousarray(values), 0.0, 0.0, frame.modality, series, _order(frame), source)
    told: dict[str, Any] = {name: getattr(frame, name) for name in ("patient", "patient_is_guess", "synthetic")}
    if frame.position is not None and frame.orientation is not None:
        told["position_mm"] = place_as_shown(frame.position, frame.orientation)
    if frame.synthetic and (shown := shown_range(sources)):
        told["low"], told["high"] = shown
    return replace(found, spacing_mm=spacing, in_mm=not frame.square, attributes=attributes, file=file, **told)


def _spooled(
    frame: Frame, found: Slice, measured: NDArray[np.float32], spool: SpooledTemporaryFile[bytes], step: int
) -> Decoded:
    """Put the values of a slice into the spool; every `step`-th stays at hand."""
    values, stored = found.values, found.values.tobytes()
    offset = spool.seek(0, 2)
    spool.write(stored)
    return Decoded(
        frame,
        replace(found, values=NO_VALUES),
        values.shape,
        offset,
        hashlib.sha256(stored).digest(),
        lowest=float(measured.min()),
        highest=float(values.max()),
        sample=values.ravel()[::step].copy(),
    )


def _order(frame: Frame) -> float:
    if frame.position is not None and frame.orientation is not None:
        return distance_along_normal(frame.position, frame.orientation)
    return frame.location if frame.location is not None else frame.number or 0.0


def _without_copies(decoded: Sequence[Decoded]) -> tuple[list[Decoded], list[Notice]]:
    """The slices without those that repeat the pixels of another at the same place, and what has to be said of it."""
    first: dict[object, Decoded] = {}
    notices: list[Notice] = []
    for item in decoded:
        same = first.setdefault((item.digest, round(item.slice.order, 3)), item)
        if same is not item:
            reason = f"a copy of {same.slice.file}: the same pixels at the same place; left out"
            notices.append(Notice(item.slice.file, "duplicate", reason))
    kept = list(first.values())
    uses = Counter((item.frame.instance_uid, item.frame.index, item.frame.tile) for item in kept)
    for (uid, *_), count in uses.items():
        if uid and count > 1:
            file = next(item.slice.file for item in kept if item.frame.instance_uid == uid)
            reason = f"{count} images with different pixels share its SOPInstanceUID, which should be theirs alone"
            notices.append(Notice(file, "warning", f"{reason}; all are kept"))
    return kept, notices


def _range(decoded: Sequence[Decoded], highest: np.float32, config: ImportConfig) -> tuple[float, float, str]:
    """What becomes black and white, and the unit. Raises ValueError if all values of an MR volume are equal."""
    if all(item.frame.synthetic and item.slice.high > item.slice.low for item in decoded):
        return min(item.slice.low for item in decoded), max(item.slice.high for item in decoded), "a.u."
    if decoded[0].frame.modality == "CT":
        return *ct_range(config), "HU"
    samples = [highest - item.sample if item.frame.inverted else item.sample for item in decoded]
    return *mr_range(samples, config.percentiles), "a.u."


def _warnings(decoded: Sequence[Decoded]) -> Iterator[str]:
    frames = [item.frame for item in decoded]
    found: list[str] = []
    first = frames[0]
    if first.placed_by == "place" and first.orientation is not None:
        found += irregularities([frame.position for frame in frames if frame.position is not None], first.orientation)
    else:
        found.append(f"no position for each slice, ordered by {first.placed_by}")
    found += sorted({frame.square for frame in frames} - {""})
    if found:
        yield f"volume of {count_of(len(frames), 'slice')}, of which this is the first: {'; '.join(found)}"
    if first.modality == "CT" and (doubt := no_air(min(item.lowest for item in decoded))):
        yield doubt
