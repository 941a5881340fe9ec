"""Read volumes as slices in radiological convention, in HU or a.u.; of the header only its geometry is used.

Formats: NIfTI, Analyze, MGH, NRRD and MetaImage. NIfTI points x to the patient's right, y to the front, z to the head,
so a DICOM affine is that of NIfTI times diag(-1, -1, 1, 1) and back. Source: NIfTI-1.1, nifti1.h, "3D image
orientation".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import OrientationError
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from ...errors import SourceError
from ..config import ImportConfig
from ..intensity import AIR_HU, TISSUE_HU, ct_range, head_threshold, mr_range, no_air
from ..masks import outlined
from ..reader import NO_MASKS, Masks
from ..slices import Notice, Slice, name_below, shown
from .content import is_label_map, modality_by_values, modality_of, says_synthetic, sidecar_of, stem, why_no_anatomy
from .magic import family
from .metaimage import read_metaimage
from .nifti import read_with_nibabel
from .nrrd import read_nrrd
from .patients import patients
from .stored import StoredVolume

READERS = {"nrrd": read_nrrd, "metaimage": read_metaimage}
"""By family of formats; nibabel reads all others."""
SAME_GRID_MM = 0.05
"""Headers store an affine in single precision, and some as a quaternion."""
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
Voxel = TypeVar("Voxel", np.float32, np.bool_)
NEARLY_WHOLE = 0.01
"""A label that was scaled or resampled may be as far from a whole number."""
SLICES = 10
"""A volume has at most this many times `max_pixels` voxels: each takes 4 bytes of memory."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume whose axes run to the patient's right, front and head: (X, Y, Z) float32, and its voxel size in mm.

    stored: what the file said of it; affine: (4, 4) from its voxels to mm in RAS.
    """

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    stored: StoredVolume
    affine: NDArray[np.float64]


def read_volumes(
    root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
) -> Iterator[Slice | Notice]:
    """Yield every `config.every`-th slice that holds tissue of each volume, and a notice for what is left out.

    Slices lie in `config.plane`, front or head up, the patient's right (sagittal: front) on the left; `order` is the
    place from left, back or foot in mm, `series` a hash. The modality is told by a BIDS sidecar, the name,
    `config.modality`, or HU among the values. CT values are HU and low…high the window; MR values are a.u. and low…high
    percentiles of the volume. The patient is told or guessed from the name, see `patients`; a volume whose header or
    sidecar calls it synthetic is of none. A mask is a label map on the volume's own grid.
    """
    names = {path: path.relative_to(root).as_posix() for path in files}
    reasons = {path: why_no_anatomy(name, root.name) for path, name in names.items()}
    whose = patients([name for path, name in names.items() if not reasons[path]], root.name)
    for path, name in names.items():
        try:
            if reasons[path]:
                raise SourceError(reasons[path])
            yield from _slices(root, path, whose[name], config, masks.get(path))
        except SourceError as error:
            yield Notice(name_below(root, path), "skipped", str(error))


def _slices(
    root: Path, path: Path, patient: tuple[str, bool], config: ImportConfig, mask_path: Path | None
) -> Iterator[Slice | Notice]:
    name, file = path.relative_to(root).as_posix(), name_below(root, path)
    told = modality_of(sidecar_of(path), name)
    volume = load_volume(path, config)
    if not told and is_label_map(volume.values, whole=volume.stored.dtype.kind in "iu"):
        raise SourceError("a label map (by its values: few whole numbers, in large areas), not an image")
    modality = told or config.modality or modality_by_values(volume.values)
    if volume.stored.frames > 1:
        why = "the first" if config.frame == 1 else "by the setting frame"
        yield Notice(file, "note", f"4-D: frame {config.frame} of {volume.stored.frames} is taken, {why}")
    for reason in _doubts(volume, modality):
        yield Notice(file, "warning", reason)
    mask, of_mask = None, f"mask {shown(mask_path.name)} of {file}" if mask_path else ""
    try:
        mask = load_mask(mask_path, volume, config) if mask_path else None
    except SourceError as error:
        yield Notice(of_mask, "warning", str(error))
    synthetic = volume.stored.synthetic or says_synthetic(sidecar_of(path))
    values, low, high, tissue = _intensities(volume.values, modality, config)
    plane = native_plane(volume.spacing_mm, volume.values.shape) if config.plane == "native" else config.plane
    axis = AXES[plane]
    columns_mm, rows_mm = (size for i, size in enumerate(volume.spacing_mm) if i != axis)
    series = hashlib.sha256(f"{root.name}/{stem(name)}".encode()).hexdigest()[:16]
    places = range(0, values.shape[axis], config.every)
    taken = [place for place in places if np.take(tissue, place, axis).mean() >= config.empty_below]
    for place in taken:
        found = Slice(
            as_displayed(np.take(values, place, axis)),
            low=low,
            high=high,
            modality=modality,
            series=series,
            order=place * volume.spacing_mm[axis],
            source=root.name,
            unit="HU" if modality == "CT" else "a.u.",
            patient="" if synthetic else patient[0],
            patient_is_guess=patient[1] and not synthetic,
            synthetic=synthetic,
            spacing_mm=(rows_mm, columns_mm),
            in_mm=True,
            position_mm=place * volume.spacing_mm[axis] * (-1 if plane == "coronal" else 1),  # to the back, as in DICOM
            attributes={"plane": plane},
            file=file,
        )
        yield from [found] if mask is None else outlined(found, as_displayed(np.take(mask, place, axis)), of_mask)
    if not taken:
        raise SourceError(f"no slice has tissue in {config.empty_below:.0%} of its area (empty_below)")


def _doubts(volume: Volume, modality: str) -> Iterator[str]:
    if volume.stored.doubt:
        yield volume.stored.doubt
    if not volume.stored.oriented:
        yield "no orientation in its header: its planes and sides are guesses"
    if modality == "CT" and (doubt := no_air(float(volume.values.min()))):
        yield doubt


def load_volume(path: Path, config: ImportConfig) -> Volume:
    """One frame of a volume's file as (X, Y, Z) float32 in canonical orientation; nothing is resampled.

    Raises SourceError with the reason if it is damaged, complex, coloured, no image, empty, or holds NaN.
    """
    stored = _stored(path)
    _check(stored, config)
    values = np.asarray(stored.read(config.frame - 1 if stored.frames > 1 else 0), np.float32)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise SourceError(f"{bad} of its values are NaN or infinite: replace them first, e.g. numpy.nan_to_num")
    if values.min() == values.max():
        raise SourceError(f"an empty volume: all values are {values.min():g}")
    turned = _turned(values, stored)
    x, y, z = (float(size) for size in voxel_sizes(turned.affine))
    return Volume(np.asarray(turned.dataobj, np.float32), (x, y, z), stored, np.asarray(turned.affine))


def load_mask(path: Path, volume: Volume, config: ImportConfig) -> NDArray[np.bool_]:
    """Where a label map is `config.mask_label` (None: not 0): (X, Y, Z), oriented as the volume it outlines.

    Of several frames it is the one that is taken of the volume. Raises SourceError with the reason if it is damaged,
    no label map, of another number of frames, or on another grid than the volume.
    """
    stored = _stored(path)
    _check(replace(stored, label=""), config)
    if stored.frames not in (1, volume.stored.frames):
        raise SourceError(
            f"it has {stored.frames} frames, and its image {volume.stored.frames}: save all labels as one 3-D volume"
        )
    values = np.asarray(stored.read(config.frame - 1 if stored.frames > 1 else 0), np.float32)
    if not np.isfinite(values).all() or np.abs(values - np.rint(values)).max() > NEARLY_WHOLE:
        raise SourceError(
            "its values are not whole numbers: cut a map of probabilities at a threshold, write 0 for NaN"
        )
    turned = _turned(np.rint(values), stored)
    labels = np.asarray(turned.dataobj, np.float32)
    moved = np.abs(np.asarray(turned.affine) - volume.affine).max()
    if labels.shape != volume.values.shape or moved > SAME_GRID_MM:
        raise SourceError("it lies on another grid than its image: resample it to that, by nearest neighbour")
    return labels != 0 if config.mask_label is None else labels == config.mask_label


def _turned(values: NDArray[np.float32], stored: StoredVolume) -> SpatialImage:
    """In canonical orientation. Raises SourceError if the affine is none."""
    try:
        if not np.isfinite(stored.affine).all() or abs(np.linalg.det(stored.affine[:3, :3])) < 1e-9:
            raise OrientationError
        return nibabel.as_closest_canonical(nibabel.Nifti1Image(values, stored.affine))
    except (OrientationError, np.linalg.LinAlgError):
        raise SourceError("its affine is not that of a volume (a voxel size is 0, or not a number)") from None


def _stored(path: Path) -> StoredVolume:
    try:
        with path.open("rb") as file:
            which = family(file.read(1 << 16))  # comments can go before what tells
        return READERS.get(which, read_with_nibabel)(path)
    except OSError as error:
        raise SourceError(f"it cannot be opened ({error.strerror})") from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise SourceError(f"its header is damaged ({type(error).__name__})") from None


def _check(stored: StoredVolume, config: ImportConfig) -> None:
    """Refuse by the header, before any value is read."""
    shape, kind = stored.shape, stored.dtype
    lengths = "×".join(map(str, shape))
    if kind.kind not in "iuf":  # V: a record of fields
        what = f"{kind.name} numbers" if kind.fields is None else "colours (RGB)"
        raise SourceError(f"its values are {what}, not one real number per voxel")
    if stored.label:
        raise SourceError(stored.label)
    if any(length > 1 for length in shape[4:]):
        raise SourceError(f"it has {len(shape)} dimensions, {lengths}: split it into 3-D volumes first")
    if len(shape) < 2 or min(shape) < 1:
        raise SourceError("it has no voxels")
    if np.prod(sorted(shape[:3])[-2:], dtype=np.float64) > config.max_pixels:
        raise SourceError(f"slices of {lengths} voxels are larger than max_pixels ({config.max_pixels})")
    if np.prod(shape[:3], dtype=np.float64) > SLICES * config.max_pixels:
        raise SourceError(f"{lengths} voxels are more than {SLICES} times max_pixels")
    if config.frame > stored.frames and stored.frames > 1:
        raise SourceError(f"it has {stored.frames} frames, and the setting frame asks for number {config.frame}")


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


def native_plane(spacing_mm: Sequence[float], shape: Sequence[int]) -> str:
    """The plane of the finest pixels: across the longest side of a voxel; axial if several are equally long.

    A volume of one slice is in the plane of that, however thin it is.
    """
    if list(shape).count(1) == 1:
        return next(plane for plane, axis in AXES.items() if shape[axis] == 1)
    longest = max(spacing_mm) * 0.999
    return next(plane for plane in ("axial", "coronal", "sagittal") if spacing_mm[AXES[plane]] >= longest)


def as_displayed(across: NDArray[Voxel]) -> NDArray[Voxel]:
    """Two canonical axes as (H, W): the later axis (front or head) up, the other from right (or front) on the left."""
    return np.ascontiguousarray(across[::-1, ::-1].T)
