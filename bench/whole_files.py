"""Whole image files of every format, to be broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def dicom(folder: Path) -> list[bytes]:
    from pydicom.uid import RLELossless

    from tests.support import dicom_files  # pyright: ignore[reportMissingImports]  # of the tests

    rng = np.random.default_rng(0)
    ct, mr = rng.integers(0, 2000, (16, 16), np.uint16), rng.integers(0, 300, (16, 16), np.uint16)
    squeezed = dicom_files.image(mr, "MR", PatientAge="041Y", PatientSex="F", ImageComments="x")
    squeezed.compress(RLELossless)
    volume = rng.integers(0, 300, (3, 16, 16), np.uint16)
    places = [(0.0, 0.0, 2.0 * z) for z in range(3)]
    made = [
        dicom_files.image(ct, "CT"),
        dicom_files.image(mr, "MR", WindowCenter=100, WindowWidth=200),
        squeezed,
        dicom_files.enhanced_mr(volume, places, [1.0, 1.0, 2.0]),
    ]
    return [dicom_files.save(one, folder / f"{number}.dcm").read_bytes() for number, one in enumerate(made)]


def nifti(folder: Path) -> list[bytes]:
    import nibabel

    rng, found = np.random.default_rng(0), []
    for number, (dtype, suffix) in enumerate(((np.int16, "nii"), (np.float32, "nii"), (np.uint8, "nii.gz"))):
        volume = rng.integers(0, 200, (12, 12, 4)).astype(dtype)
        path = folder / f"{number}.{suffix}"
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 2.0, 3.0, 1.0])), path)
        found.append(path.read_bytes())
    return found


def volumes(folder: Path) -> list[bytes]:
    import nibabel
    import SimpleITK

    rng, found = np.random.default_rng(0), []
    volume: Any = rng.integers(0, 200, (12, 12, 4)).astype(np.int16)
    for number, suffix in enumerate(("nrrd", "mha")):
        for packed in (False, True):
            path = folder / f"{number}.{suffix}"
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume), path, useCompression=packed)
            found.append(path.read_bytes())
    nibabel.save(nibabel.MGHImage(volume, np.diag([1.0, 2.0, 3.0, 1.0])), folder / "a.mgh")
    return [*found, (folder / "a.mgh").read_bytes()]


def pictures(format: str, *modes: str, **options: Any) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from PIL import Image

        rng, found = np.random.default_rng(0), []
        pictures = [Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).convert(mode) for mode in modes]
        pictures.append(Image.fromarray(rng.integers(0, 2**16, (20, 20), np.uint16)))
        for picture in pictures:
            for extra in (options, {}):
                buffer = io.BytesIO()
                picture.save(buffer, format, **extra)
                found.append(buffer.getvalue())
        return found

    return make
