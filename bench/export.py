"""How fast an image set becomes DICOM, beside plain pydicom writing the same pixels with what a reader needs at least.

    python -m bench export                          # 1000 slices of 256×256, half of them MR and half CT
    python -m bench export --n 4000 --bits 16

Wall and CPU seconds of this process, the least of the repeats, in turns. Ours reads the set and checks it, marks every
object, hashes every file, writes table, datasheet and Croissant metadata, and has all of it on the disk at the end. The
other writes the same pixels and the elements that place them, and is told the pixels without reading them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet
from tests.support.exported_sets import make_set  # pyright: ignore[reportMissingImports]  # of the tests

from .options import measurement
from .timing import cores, in_turns, table

app = measurement(__name__, __doc__)
Seconds = tuple[float, float]


def plain(pixels: Any, path: Path, modality: str, number: int, series: str) -> None:
    """One image with pydicom, and nothing that is not needed to look at it."""
    image = Dataset()
    image.SOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID = generate_uid(), series, series
    image.Modality, image.PatientID, image.InstanceNumber = modality, "P1", number
    image.PixelSpacing, image.SliceThickness = [0.9375, 0.9375], 5
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    image.RescaleSlope, image.RescaleIntercept = 1, 0
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = pixels.astype("<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def timed(work: Callable[[Path], object]) -> Seconds:
    """Wall and CPU seconds of work that writes into a new folder."""
    folder = Path(tempfile.mkdtemp())
    wall, cpu = time.perf_counter(), time.process_time()
    work(folder / "out")
    found = time.perf_counter() - wall, time.process_time() - cpu
    shutil.rmtree(folder)
    return found


@app.default
def main(*, n: int = 1000, side: int = 256, bits: int = 8, repeats: int = 3) -> None:
    """Make two sets, write them in turns, print the table."""
    place, rng, kind = Path(tempfile.mkdtemp()), np.random.default_rng(0), np.uint8 if bits == 8 else np.uint16
    smooth = np.add.outer(np.arange(side), np.arange(side)) * (2**bits - 1) / (2 * side) * 0.9  # packs as heads do
    sets: list[ImageSet] = []
    for modality in ("MR", "CT"):
        pixels: list[Any] = [(smooth + rng.random((side, side)) * 2**bits / 16).astype(kind) for _ in range(n // 2)]
        sets.append(ImageSet.open(make_set(place / modality, pixels, modality)))
    frames = [(images.rows[0].modality, images.pixels(i)) for images in sets for i in range(len(images))]

    def ours(out: Path) -> None:
        for images in sets:
            export(images.folder, out / images.folder.name, to="dicom", show=False)

    def pydicoms(out: Path) -> None:
        out.mkdir()
        for number, (modality, pixels) in enumerate(frames):
            plain(pixels, out / f"{number:06d}.dcm", modality, number, "1.2.826.0.1.3680043.8.498.1")

    sides = [lambda _, work=work: timed(work) for work in (ours, pydicoms)]
    results = [min(found) for found in in_turns(sides, repeats)]
    shutil.rmtree(place)
    header = ("what", "wall s", "CPU s", "slices/s", "times plain pydicom's wall")
    lines = [
        [name, wall, cpu, len(frames) / wall, wall / results[1][0]]
        for name, (wall, cpu) in zip(("phonybrains export", "plain pydicom"), results, strict=True)
    ]
    print(f"{len(frames)} slices of {side}×{side}, {bits} bits, {cores()} cores, {repeats} repeats in turns")
    print(table(header, lines))
