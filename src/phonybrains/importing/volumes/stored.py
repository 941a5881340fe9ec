"""A volume as a file stores it, before it is turned or scaled; its voxels are read without trust in the header."""

from __future__ import annotations

import bz2
import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MOST_PACKED = 1_100
"""Deflate makes nothing smaller than 1/1032."""
TOO_FEW = "it holds fewer values than its header says; the file is damaged or cut short"
DAMAGED = "its values cannot be read ({}); the file is damaged or cut short"


@dataclass(frozen=True)
class StoredVolume:
    """A volume of (X, Y, Z) voxels, or several in a fourth axis: frames.

    affine: (4, 4) from voxels to mm in RAS; read: the values of one frame, counted from 0, any real type, (X, Y, Z);
    oriented: whether the file says how it lies; label: why it is no image by what its header says of its values, or "";
    synthetic: whether the header says that it is.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64]
    read: Callable[[int], NDArray[Any]]
    oriented: bool = True
    label: str = ""
    doubt: str = ""
    synthetic: bool = False

    @property
    def frames(self) -> int:
        return math.prod(self.shape[3:])


@dataclass(frozen=True)
class Voxels:
    """Numbers in files, one behind the other, the first axis fastest. encoding: raw, text, gzip, bzip2 or zlib."""

    files: Sequence[Path]
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    encoding: str = "raw"
    from_end: bool = False
    frame_first: bool = False

    def read(self, frame: int) -> NDArray[Any]:
        """One frame as (X, Y, Z). Raises SourceError if the files hold less than the header says."""
        count = math.prod(self.shape)
        size = sum(path.stat().st_size for path in self.files)
        needed = count * (1 if self.encoding == "text" else self.dtype.itemsize)
        if needed > size * (1 if self.encoding == "raw" else MOST_PACKED):
            raise SourceError(TOO_FEW)
        try:
            values = np.concatenate([self._numbers(path, count) for path in self.files])[:count]
        except (OSError, EOFError, ArithmeticError, MemoryError, ValueError, zlib.error) as error:
            raise SourceError(DAMAGED.format(type(error).__name__)) from None
        if values.size < count:
            raise SourceError(TOO_FEW)
        if self.frame_first:
            return values.reshape(self.shape[3], *self.shape[:3], order="F")[frame]
        return values.reshape((*self.shape[:3], -1), order="F")[..., frame]

    def _numbers(self, path: Path, count: int) -> NDArray[Any]:
        bytes_ = count * self.dtype.itemsize
        start = max(0, path.stat().st_size - bytes_) if self.from_end else self.start
        if self.encoding == "raw":
            return np.fromfile(path, self.dtype, count, offset=start)
        with path.open("rb") as file:
            file.seek(start)
            if self.encoding == "text":
                return np.fromiter((float(word) for word in file.read(64 * count).split()), np.float64, -1)[:count]
            if self.encoding == "zlib":
                content = zlib.decompressobj().decompress(file.read(), bytes_)
            else:
                opened = gzip.GzipFile(fileobj=file) if self.encoding == "gzip" else bz2.BZ2File(file)
                content = opened.read(bytes_)
        return np.frombuffer(content[: len(content) // self.dtype.itemsize * self.dtype.itemsize], self.dtype)


def data_beside(header: Path, name: str) -> Path:
    """The file that a header names. Raises SourceError if it is missing or would lie outside the header's folder."""
    path = header.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise SourceError("its header names a data file outside its folder: refused")
    if not path.is_file():
        raise SourceError("the data file that its header names is missing")
    return path


def numbers(text: str) -> NDArray[np.float64]:
    """The numbers in a header's line. Raises SourceError if there is none, or something else."""
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        found = np.empty(0)
    if not found.size or not np.isfinite(found).all() or np.abs(found).max() > 1e12:
        raise SourceError("a number in its header is missing or damaged")
    return found


def affine_of(
    axes: NDArray[np.float64], spacing: NDArray[np.float64], origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(4, 4) from voxels to mm: axes are rows of unit vectors, one per axis; what is missing is 1 and 0."""
    affine = np.eye(4)
    affine[:3, :3] = axes.T * np.concatenate([spacing[:3], np.ones(max(0, 3 - spacing.size))])
    affine[: min(3, origin.size), 3] = origin[:3]
    return affine
