"""Take apart the pictures in which Siemens (MOSAIC) and United Imaging (VFRAME) store a whole volume, slice by slice.

The slices fill a square grid row by row, ceil(√n) to a side. How many there are, and where, stands in private elements:
Siemens' CSA header, from which nibabel reads it, and the place of the first slice follows from that of the whole grid;
UIH's sequence of a position for each slice. Source: nibabel, "Siemens mosaic format"; UIH DICOM conformance statement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from highdicom.spatial import get_normal_vector
from pydicom.dataset import Dataset

from ...errors import SourceError
from .header import Frame, number, numbers

MOSAIC, GRID = "MOSAIC", "VFRAME"
GRIDS = frozenset((MOSAIC, GRID))
CANNOT = "cannot be taken apart: its header does not say how many slices it holds"
MOST_TILES = 10_000
UIH = "Image Private Header"


def taken_apart(header: Dataset, frame: Frame, kind: str) -> list[Frame]:
    """The slices of one mosaic, each a frame with its tile and its position; header: with its private elements.

    Where only the number of slices is known, their order is that of the tiles.
    Raises SourceError if that is not known either, or does not fit the picture.
    """
    count, positions = _of_siemens(header, frame) if kind == MOSAIC else _of_uih(header)
    side = math.ceil(math.sqrt(max(count, 1)))
    if not 1 <= count <= MOST_TILES or frame.shape[0] % side or frame.shape[1] % side:
        raise SourceError(f"a mosaic of many slices that {CANNOT}")
    rows, columns = frame.shape[0] // side, frame.shape[1] // side
    step = _step(header) or 1.0
    frames: list[Frame] = []
    for index, position in enumerate(positions or [None] * count):
        tile = index // side * rows, index % side * columns
        frames.append(replace(frame, tile=tile, shape=(rows, columns), position=position, location=index * step))
    return frames


def _step(header: Dataset) -> float | None:
    return number([header], "SpacingBetweenSlices") or number([header], "SliceThickness")


def _of_siemens(header: Dataset, frame: Frame) -> tuple[int, list[Any]]:
    """How many slices, and the position of each."""
    from nibabel.nicom import csareader  # warns that it is experimental when it is loaded

    csa: Any = {}
    try:
        csa = csareader.get_csa_header(header, "image") or {}
        count = int(csareader.get_n_mosaic(csa) or 0) if csa else 0
        normal = csareader.get_slice_normal(csa) if csa else None
    except Exception:  # a damaged private element
        count, normal = 0, None
    count = count or int(_private(header, 0x0019, "SIEMENS MR HEADER", 0x0A) or 0)
    spacing = _step(header)
    if frame.position is None or frame.orientation is None or frame.square:
        return count, []
    if not spacing or not 1 <= count <= MOST_TILES:
        return count, []
    if normal is None:  # of both directions the one in which Siemens counts unless told otherwise
        normal = get_normal_vector(frame.orientation)
    side = math.ceil(math.sqrt(count))
    rows, columns = (np.array(frame.orientation[3:]), np.array(frame.orientation[:3]))
    within = [(length - length / side) / 2 * size for length, size in zip(frame.shape, frame.spacing_mm, strict=True)]
    first = np.array(frame.position) + within[0] * rows + within[1] * columns
    return count, [tuple((first + index * spacing * np.asarray(normal)).tolist()) for index in range(count)]


def _of_uih(header: Dataset) -> tuple[int, list[Any]]:
    """The same; the positions only if each slice has one."""
    items: Sequence[Any] = _private(header, 0x0065, UIH, 0x51) or []
    found = [numbers([item], "ImagePositionPatient", 3) for item in items if isinstance(item, Dataset)]
    count = len(found) or int(_private(header, 0x0065, UIH, 0x50) or 0)
    return count, [] if None in found else found


def _private(header: Dataset, group: int, creator: str, offset: int) -> Any:
    """The value of a private element, None if it is missing or bad."""
    try:
        value = header.private_block(group, creator)[offset].value
        return value if not isinstance(value, bytes | str) else float(value)
    except Exception:  # not there, or of another kind
        return None
