"""NIfTI: a volume for each stack of slices whose places are known, a slice with a unit third axis for every other.

Voxels are the grey levels of the set, with scl_slope and scl_inter to HU. The affine is that of DICOM times
diag(-1, -1, 1, 1), in millimetres; where the set does not know size or plane, sform and qform say so by code 0 and the
units are unknown. Source: NIfTI-1.1, nifti1.h.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from ..files import write_whole
from .exported import ExportedSet
from .parts import ExportPart

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SCANNER, UNKNOWN = 1, 0
FAST = 4


class NiftiFiles:
    """Writes `images/name.nii.gz` and `masks/name.nii.gz`; a stack has the name of its first slice."""

    table = "images.csv"

    def __init__(self, exported: ExportedSet) -> None:
        self.exported = exported

    def parts(self) -> Sequence[ExportPart]:
        found: list[ExportPart] = []
        for stack in self.exported.stacks:
            name = f"{self.exported.names[stack[0]]}.nii.gz"
            found.append(ExportPart(f"images/{name}", stack))
            if self.exported.outline_of(*stack):
                found.append(ExportPart(f"masks/{name}", stack, is_mask=True))
        return found

    def write(self, part: ExportPart, path: Path) -> None:
        write_whole(path, volume_bytes(self.exported, part), sync=False)

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        """There is nothing more to say."""


def volume_bytes(exported: ExportedSet, part: ExportPart) -> bytes:
    """Slices of one geometry as a gzipped NIfTI file: (W, H, N), of uint8 or uint16."""
    first, scale = part.images[0], exported.scale(part.images[0])
    slices: list[NDArray[Any]] = [
        exported.mask(index).astype(np.uint8) if part.is_mask else exported.images.pixels(index)
        for index in part.images
    ]
    volume = Nifti1Image(np.stack(slices, axis=-1).swapaxes(0, 1), affine_of(exported, part.images))
    geometry = exported.geometry(first)
    known = geometry.corner_mm is not None
    volume.set_sform(volume.affine, SCANNER if known else UNKNOWN)
    volume.set_qform(volume.affine, SCANNER if known else UNKNOWN)
    volume.header.set_xyzt_units("mm" if geometry.spacing_mm is not None else "unknown")
    if not part.is_mask:
        volume.header.set_slope_inter(scale.slope, scale.intercept)
    series, _ = exported.places[first]
    kind = "real scan" if series.kind == "real" else f"SYNTHETIC, by {exported.maker.name}"
    volume.header["descrip"] = f"{kind}; {series.modality}, {scale.unit}".encode()[:79]
    return gzip.compress(volume.to_bytes(), FAST, mtime=0)


def affine_of(exported: ExportedSet, stack: Sequence[int]) -> NDArray[np.float64]:
    """From voxels (column, row, slice) to mm in RAS, (4, 4); a size that is not known counts as 1 mm."""
    geometry = exported.geometry(stack[0])
    spacing = geometry.spacing_mm or 1.0
    across, down = (np.array(vector) for vector in geometry.directions)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = spacing * across, spacing * down
    affine[:3, 2] = geometry.normal * exported.step_mm(stack)
    affine[:3, 3] = 0.0 if geometry.corner_mm is None else geometry.corner_mm
    return TO_RAS @ affine
