"""Whole image files of every format, to be broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import product
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

    volume = np.random.default_rng(0).integers(0, 200, (12, 12, 4))
    paths = {folder / "0.nii": np.int16, folder / "1.nii": np.float32, folder / "2.nii.gz": np.uint8}
    for path, kind in paths.items():
        nibabel.save(nibabel.Nifti1Image(volume.astype(kind), np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return [path.read_bytes() for path in paths]


def volumes(folder: Path) -> list[bytes]:
    import nibabel
    import SimpleITK

    volume: Any = np.random.default_rng(0).integers(0, 200, (12, 12, 4)).astype(np.int16)
    paths = [folder / name for name in ("0.nrrd", "1.nrrd", "0.mha", "1.mha", "a.mgh")]
    for path in paths[:4]:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume), path, useCompression=path.stem == "1")
    nibabel.save(nibabel.MGHImage(volume, np.diag([1.0, 2.0, 3.0, 1.0])), paths[4])
    return [path.read_bytes() for path in paths]


def pictures(format: str, *modes: str, **options: Any) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from PIL import Image

        rng, buffers = np.random.default_rng(0), []
        pictures = [Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).convert(mode) for mode in modes]
        pictures.append(Image.fromarray(rng.integers(0, 2**16, (20, 20), np.uint16)))
        for picture, extra in product(pictures, (options, {})):
            buffers.append(io.BytesIO())
            picture.save(buffers[-1], format, **extra)
        return [buffer.getvalue() for buffer in buffers]

    return make
