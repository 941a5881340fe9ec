"""Read NIfTI volumes as slices in radiological convention, in HU or a.u.; of the header only its geometry is used.

NIfTI points x to the patient's right, y to the front, z to the head, so a DICOM affine is that of NIfTI times
diag(-1, -1, 1, 1) and back. Source: NIfTI-1.1, nifti1.h, "3D image orientation".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ..errors import SourceError
from .config import ImportConfig
from .intensity import AIR_HU, TISSUE_HU, ct_range, head_threshold, mr_range
from .modality import EXTENSION, modality_by_name, modality_by_values
from .slices import Notice, Slice

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
SUBJECT = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume whose axes run to the patient's right, front and head: (X, Y, Z) float32, and its voxel size in mm."""

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    oriented: bool


def read_nifti(root: Path, files: Sequence[Path], config: ImportConfig) -> Iterator[Slice | Notice]:
    """Yield every `config.every`-th slice that holds tissue of each volume, and a notice for what is left out.

    Slices lie in `config.plane`, front or head up, the patient's right (sagittal: front) on the left; `order` is the
    place from left, back or foot in mm, `series` a hash. The modality is told by a BIDS sidecar, the file's name,
    `config.modality`, or HU among the values. CT values are HU and low…high the window; MR values are a.u. and low…high
    percentiles of the volume. The patient is `sub-…` of the path, else the file: the slices of a file stay together.
    """
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            yield from _slices(root, path, name, config)
        except SourceError as error:
            yield Notice(f"{root.name}/{name}", "skipped", str(error))


def _slices(root: Path, path: Path, name: str, config: ImportConfig) -> Iterator[Slice | Notice]:
    modality = modality_by_name(path) or config.modality
    volume = load_volume(path, config.max_pixels)
    modality = modality or modality_by_values(volume.values)
    values, low, high, tissue = _intensities(volume.values, modality, config)
    for reason in _doubts(volume, modality):
        yield Notice(f"{root.name}/{name}", "warning", reason)
    plane = native_plane(volume.spacing_mm) if config.plane == "native" else config.plane
    axis = AXES[plane]
    spacing = [size for i, size in enumerate(volume.spacing_mm) if i != axis]
    subject, stem = SUBJECT.search(name), EXTENSION.sub("", name)
    series = hashlib.sha256(f"{root.name}/{stem}".encode()).hexdigest()[:16]
    taken = 0
    for place in range(0, values.shape[axis], config.every):
        if np.take(tissue, place, axis).mean() < config.empty_below:
            continue
        taken += 1
        yield Slice(
            as_displayed(np.take(values, place, axis)),
            low=low,
            high=high,
            modality=modality,
            series=series,
            order=place * volume.spacing_mm[axis],
            source=root.name,
            unit="HU" if modality == "CT" else "a.u.",
            patient=subject[1] if subject else stem,
            spacing_mm=(spacing[1], spacing[0]),
            attributes={"plane": plane},
            file=f"{root.name}/{name}",
        )
    if not taken:
        raise SourceError(f"no slice has tissue in {config.empty_below:.0%} of its area (empty_below)")


def _doubts(volume: Volume, modality: str) -> Iterator[str]:
    if not volume.oriented:
        yield "no orientation (qform and sform are 0): its planes and sides are guesses"
    if modality == "CT" and volume.values.min() > -200:
        yield f"no air among its values (the lowest is {volume.values.min():.0f}): they may not be HU"


def load_volume(path: Path, max_pixels: int) -> Volume:
    """A NIfTI file as (X, Y, Z) float32 in canonical orientation.

    Raises SourceError with the reason if it is damaged, 4-D, complex, coloured, empty, or holds NaN.
    """
    try:
        image: Any = nibabel.load(path)
    except OSError as error:
        raise SourceError(f"it cannot be opened ({error.strerror or 'damaged or cut short'})") from None
    except Exception as error:  # nibabel fails in many ways on damaged files
        raise SourceError(f"not a readable NIfTI file ({type(error).__name__})") from None
    if not isinstance(image, nibabel.Nifti1Pair):  # Nifti2 and single files are derived from it
        raise SourceError("not a NIfTI file: convert it first, e.g. Analyze has no reliable orientation")
    _check_header(image, max_pixels)
    shape = (*image.shape[:3], *[1] * (3 - len(image.shape)))
    try:
        values = image.get_fdata(caching="unchanged", dtype=np.float32).reshape(shape)
    except Exception as error:  # likewise
        raise SourceError(
            f"its values cannot be read ({type(error).__name__}); the file is damaged or cut short"
        ) from None
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise SourceError(f"{bad} of its values are NaN or infinite: replace them first, e.g. numpy.nan_to_num")
    if values.min() == values.max():
        raise SourceError(f"an empty volume: all values are {values.min():g}")
    return _canonical(values, image)


def _check_header(image: Any, max_pixels: int) -> None:
    shape, kind = image.shape, image.get_data_dtype()
    if kind.fields is not None or kind.kind not in "iuf":
        raise SourceError("its values are " + ("colours (RGB)" if kind.fields is not None else f"{kind.name} numbers")
                          + ", not one real number per voxel")  # fmt: skip
    if any(length > 1 for length in shape[3:]):
        raise SourceError(
            f"it has {len(shape)} dimensions, {'×'.join(map(str, shape))}: split it into 3-D volumes first"
        )
    if len(shape) < 2 or min(shape) < 1:
        raise SourceError("it has no voxels")
    if np.prod(sorted(shape[:3])[-2:], dtype=np.float64) > max_pixels:
        raise SourceError(f"slices of {'×'.join(map(str, shape))} voxels are larger than max_pixels ({max_pixels})")


def _canonical(values: NDArray[np.float32], image: Any) -> Volume:
    """Turn and mirror the axes so that they run to the right, front and head; nothing is resampled."""
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise SourceError("its affine is not that of a volume (a voxel size is 0, or not a number)")
    turned: SpatialImage = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine))
    x, y, z = (float(size) for size in voxel_sizes(turned.affine))
    oriented = bool(image.header["qform_code"] > 0 or image.header["sform_code"] > 0)
    return Volume(np.asarray(turned.dataobj, np.float32), (x, y, z), oriented)


def _intensities(
    values: NDArray[np.float32], modality: str, config: ImportConfig
) -> tuple[NDArray[np.float32], float, float, NDArray[np.bool_]]:
    """Values, what becomes black and white, and where tissue is; air is -1024 HU at least."""
    if modality == "CT":
        return np.maximum(values, np.float32(AIR_HU)), *ct_range(config), (values > TISSUE_HU) & (values != 0)
    try:
        low, high = mr_range([values], config.percentiles)
    except ValueError as error:
        raise SourceError(f"an empty volume: {error}") from None
    return values, low, high, values > head_threshold(values)


def native_plane(spacing_mm: Sequence[float]) -> str:
    """The plane of the finest pixels: across the longest side of a voxel; axial if several are equally long."""
    longest = max(spacing_mm) * 0.999
    return next(plane for plane in ("axial", "coronal", "sagittal") if spacing_mm[AXES[plane]] >= longest)


def as_displayed(across: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two canonical axes as (H, W): the later axis (front or head) up, the other from right (or front) on the left."""
    return np.ascontiguousarray(across[::-1, ::-1].T)
