"""Read NRRD (.nrrd, .nhdr) as stored; pynrrd reads the header.

Source: teem, "Definition of NRRD File Format": `space`, `space directions`, `kinds`, `data file`, `byte skip`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from nrrd.reader import _determine_datatype  # pyright: ignore[reportPrivateUsage]
from numpy.typing import NDArray

from ...errors import SourceError
from ...process_wide import without_warnings
from .stored import StoredVolume, Voxels, affine_of, data_beside

SPACES = {"RAS": (1, 1, 1), "LAS": (-1, 1, 1), "LPS": (-1, -1, 1)}
"""What turns the axes of a space to RAS."""
ENCODINGS = {"raw": "raw", "gz": "gzip", "bz2": "bzip2", "txt": "text", "ascii": "text"}
ENCODINGS |= {name: name for name in ENCODINGS.values()}
FRAMES = ("list", "time", "point", "???", "none", "stub", "scalar", "")
SPATIAL = ("domain", "space")


def read_nrrd(path: Path) -> StoredVolume:
    """A NRRD file as stored. Raises SourceError if its header is damaged or it holds several values per voxel."""
    header, start = _header(path)
    try:
        sizes = tuple(int(length) for length in header["sizes"])
        dtype: np.dtype[Any] = np.dtype(_determine_datatype(header))
        encoding = ENCODINGS[header["encoding"].lower()]
        directions = _directions(header, len(sizes))
        byte_skip, line_skip = (int(header.get(f"{w} skip", header.get(f"{w}skip", 0))) for w in ("byte", "line"))
    except (nrrd.NRRDError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise SourceError(f"its NRRD header is not understood ({type(error).__name__})") from None
    spatial = [axis for axis, row in enumerate(directions) if np.isfinite(row).all()]
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    _check_axes(header, spatial, others)
    if byte_skip < -1 or line_skip or (byte_skip and encoding != "raw"):
        raise SourceError("its voxels begin at a place that is not understood (byte skip, line skip)")
    named = _named(header)
    files = [data_beside(path, named) if named else path]
    start = (0 if named else start) + max(0, byte_skip)
    shape = (*(sizes[axis] for axis in spatial), *[1] * (3 - len(spatial)), *(sizes[axis] for axis in others))
    voxels = Voxels(files, start, dtype, shape, encoding, from_end=byte_skip == -1, frame_first=others == [0])
    axes = np.eye(3)
    axes[: len(spatial), : directions.shape[1]] = directions[spatial]
    space = str(header.get("space", "")).lower().removesuffix("-time")
    signs = SPACES.get("".join(word[:1] for word in space.split("-")).upper() if "-" in space else space.upper())
    affine = affine_of(axes, np.ones(3), np.nan_to_num(np.atleast_1d(header.get("space origin", np.zeros(3)))))
    oriented = signs is not None and "space directions" in header
    return StoredVolume(shape, dtype, np.diag([*(signs or (-1, -1, 1)), 1.0]) @ affine, voxels.read, oriented)


def data_file(path: Path) -> str:
    """The name of the file that holds the values, "" where they follow the header. Raises SourceError as read_nrrd."""
    return _named(_header(path)[0])


def _named(header: dict[str, Any]) -> str:
    return str(header.get("data file", header.get("datafile", "")))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    try:
        with path.open("rb") as file, without_warnings():
            header = nrrd.read_header(file)
            return dict(header), file.tell()
    except OSError as error:
        raise SourceError(f"it cannot be opened ({error.strerror})") from None
    except Exception as error:  # pynrrd fails in many ways on damaged headers
        raise SourceError(f"not a readable NRRD file ({type(error).__name__})") from None


def _directions(header: dict[str, Any], dimension: int) -> NDArray[np.float64]:
    """(dimension, 3) or so: the step of each axis in mm; not a number for an axis that is not in space."""
    given = header.get("space directions")
    if given is not None:
        rows = [np.full(3, np.nan) if row is None else np.asarray(row, np.float64) for row in given]
        if len(rows) != dimension or len({row.size for row in rows}) != 1 or rows[0].size > 3:
            raise ValueError("space directions")
        return np.array(rows)
    spacings = np.asarray(header.get("spacings", np.ones(dimension)), np.float64)
    rows = np.full((dimension, 3), np.nan)
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * dimension)]
    if spacings.size != dimension or len(kinds) != dimension:
        raise ValueError("spacings or kinds")
    spatial = [axis for axis in range(dimension) if kinds[axis] in (*SPATIAL, "???", "none")][:3]
    for place, axis in enumerate(spatial):
        rows[axis] = np.eye(3)[place] * (spacings[axis] if np.isfinite(spacings[axis]) else 1.0)
    return rows


def _check_axes(header: dict[str, Any], spatial: list[int], others: list[int]) -> None:
    kinds = [str(kind).lower() for kind in header.get("kinds", [])]
    if any(axis < len(kinds) and kinds[axis] not in (*FRAMES, *SPATIAL, "vector") for axis in others):
        raise SourceError("it has several values per voxel (colours, vectors or tensors), not one real number")
    if not 2 <= len(spatial) <= 3 or len(others) > 1 or others not in ([], [0], [len(spatial)]):
        raise SourceError("it has more axes than a volume and its frames: split it into 3-D volumes first")
