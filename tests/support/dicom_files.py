"""Write DICOM files for the tests: a volume as classic slices or as one multi-frame image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.dicom.reader import read_dicom
from phonybrains.importing.slices import Notice, Slice
from tests.support.imports import parted

AXIAL = (1.0, 0, 0, 0, 1.0, 0)
SERIES, STUDY = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"


def image(pixels: Any, modality: str = "CT", **elements: Any) -> Dataset:
    """A classic CT or MR image of (H, W) or (N, H, W) pixels, axial at the origin; `elements` replace or add to it."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
    ds.Modality, ds.PatientID, ds.ImageType = modality, "P1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0.0, 0.0, 0.0], list(AXIAL)
    ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 1.0
    if modality == "CT":
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    with warnings.catch_warnings(action="ignore"):  # values that break the rules are meant
        for name, value in elements.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    with warnings.catch_warnings(action="ignore"):  # values that break the rules are meant
        ds.save_as(path, enforce_file_format=True)
    return path


def write(path: Path, pixels: Any, modality: str = "CT", **elements: Any) -> Path:
    return save(image(pixels, modality, **elements), path)


def stack(
    folder: Path, volume: Any, positions: Sequence[Sequence[float]], modality: str = "CT", **elements: Any
) -> None:
    """Write one classic image per slice, with names and instance numbers that say nothing about their places."""
    names = np.random.default_rng(0).permutation(len(volume))
    for pixels, position, name in zip(volume, positions, names, strict=True):
        elements |= {"ImagePositionPatient": list(position), "InstanceNumber": int(name) + 1}
        write(folder / f"{name:03d}", pixels, modality, **elements)


def with_elements(**elements: Any) -> Dataset:
    """A dataset of these elements; datasets among them are sequences of one item."""
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, Items([value]) if isinstance(value, Dataset) else value)
    return made


def enhanced_mr(volume: Any, positions: Sequence[Sequence[float]], slopes: Sequence[float] | None = None) -> Dataset:
    """An Enhanced MR image: shared orientation and spacing, position and rescaling for each frame (PS3.3 A.36)."""
    gone = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
    ds = image(volume, "MR", SOPClassUID=EnhancedMRImageStorage, **dict.fromkeys(gone))
    shared = with_elements(
        PixelMeasuresSequence=with_elements(PixelSpacing=[2.0, 0.5], SliceThickness=4.0),
        PlaneOrientationSequence=with_elements(ImageOrientationPatient=list(AXIAL)),
    )
    frames = [
        with_elements(
            PlanePositionSequence=with_elements(ImagePositionPatient=list(position)),
            PixelValueTransformationSequence=with_elements(RescaleSlope=slope, RescaleIntercept=0, RescaleType="US"),
        )
        for position, slope in zip(positions, slopes or [1.0] * len(positions), strict=True)
    ]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Items([shared]), Items(frames)
    return ds


def heights(count: int, step: float = 5.0) -> list[tuple[float, float, float]]:
    """Positions one above the other."""
    return [(0.0, 0.0, step * number) for number in range(count)]


def read(root: Path, files: Sequence[Path] | None = None, **options: Any) -> tuple[list[Slice], list[Notice]]:
    """The slices and the notices of all files of a folder, read in a random order of files."""
    if files is None:
        files = sorted(path for path in root.rglob("*") if path.is_file())
        files = [files[i] for i in np.random.default_rng(1).permutation(len(files))]
    return parted(read_dicom(root, files, ImportConfig(**options)))


def clean(root: Path, **options: Any) -> list[Slice]:
    """The slices of a folder, of which nothing has to be said."""
    slices, notices = read(root, **options)
    assert not notices
    return slices


def same_values(found: Sequence[Slice], expected: Any) -> None:
    """Check the values of slices, one by one."""
    for item, values in zip(found, expected, strict=True):
        np.testing.assert_array_equal(item.values, values)
