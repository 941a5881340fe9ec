"""Volumes for the tests of import, and what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.slices import Notice, Slice
from phonybrains.importing.volumes.reader import read_volumes
from tests.support.imports import parted

RAS = np.diag([1.0, 1.5, 3.0, 1.0])
AXES = ("RAS", "LPS", "PIR", "SLA", "LAS")


def head(seed: int = 0, shape: tuple[int, int, int] = (20, 24, 10), dtype: Any = np.int16) -> Any:
    """An asymmetric MR-like volume: bright to the right, front and head, a little noise, zero at the border."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    values = 200 + 10 * x + 3 * y + z + np.random.default_rng(seed).integers(0, 40, shape)
    values[:2] = values[-2:] = values[:, :2] = values[:, -2:] = 0
    return values.astype(dtype)


def noise(seed: int = 0, shape: tuple[int, int, int] = (24, 24, 4)) -> Any:
    return np.random.default_rng(seed).integers(100, 900, shape).astype(np.int16)


def volume(
    path: Path, values: Any, affine: Any = RAS, axes: str = "RAS", kind: Any = nibabel.Nifti1Image, **header: Any
) -> Path:
    """Write a volume with its axes turned, and fields of its header; what it shows stays the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(values, affine)
    if axes != "RAS":
        image = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(axes)))
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def changed(path: Path, place: int, content: bytes) -> Path:
    """Put other bytes into a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + whole[place + len(content) :])
    return path


def read(root: Path, files: Sequence[Path] | None = None, **options: Any) -> tuple[list[Slice], list[Notice]]:
    """The slices and the notices of all volumes of a folder, or of some files."""
    endings = (".nii", ".nii.gz", ".hdr", ".mha", ".nrrd", ".mgh")
    files = files or sorted(path for path in root.rglob("*") if path.name.endswith(endings))
    return parted(read_volumes(root, files, ImportConfig(**options)))


def same_values(found: Sequence[Slice], expected: Any) -> None:
    """Check that slices are equal to others, or to arrays, one by one."""
    arrays = [other.values if isinstance(other, Slice) else other for other in expected]
    for item, array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(item.values, array)
