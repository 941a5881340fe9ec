"""How fast DICOM frames are read, beside pydicom reading the same files with dcmread and pixel_array, and nothing else.

    python -m bench import_dicom                    # 400 frames as classic, enhanced, interleaved, compressed, mosaic
    python -m bench import_dicom --frames 1600      # four times as many: the time per frame should stay

"interleaved" is one enhanced file for each of ten time points, all at the same places, with 60 items of other macros in
each frame, as Siemens XA writes them. Seconds are CPU seconds of this process, the least of the repeats; what ours does
more is to read all headers first, order the frames, look for copies, and scale them. `loads` counts how often a file is
loaded whole.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.dicom import volume as dicom_volume
from phonybrains.importing.dicom.reader import read_dicom
from phonybrains.importing.slices import Slice
from tests.support import dicom_files  # pyright: ignore[reportMissingImports]  # of the tests

from .options import measurement
from .timing import cores, in_turns, table

app = measurement(__name__, __doc__)
SIDE = 128


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def classic(pixels: Any, folder: Path, files: int) -> None:
    """One file a frame."""
    for number, frame in enumerate(pixels):
        elements = {"InstanceNumber": number, "ImagePositionPatient": [0, 0, 3.0 * number], "SliceThickness": 3}
        dicom_files.write(folder / f"{number:05d}", frame, "MR", **elements)


def enhanced(pixels: Any, folder: Path, files: int, compress: bool = False) -> None:
    """`files` enhanced images, each with a frame at every place, and sequences of undefined length."""
    for number, frames in enumerate(np.array_split(pixels, files)):
        places = [(0, 0, 3.0 * place) for place in range(len(frames))]
        dataset = dicom_files.enhanced_mr(frames, places, [1.0] * len(frames))
        dataset.InstanceNumber = number
        rest = [item(CodeValue=str(i), CodeMeaning="x" * 40, EffectiveEchoTime=2.3) for i in range(60)]
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence = Sequence(rest)
        undefined_lengths(dataset)
        if compress:
            dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
        dicom_files.save(dataset, folder / f"{number:05d}")


def mosaic(pixels: Any, folder: Path, files: int) -> None:
    """`files` Siemens mosaics."""
    for number, slices in enumerate(np.array_split(pixels, files)):
        side = int(np.ceil(np.sqrt(len(slices))))
        whole = np.zeros((side, side, SIDE, SIDE), np.uint16)
        whole.reshape(-1, SIDE, SIDE)[: len(slices)] = slices
        elements = {"InstanceNumber": number, "SpacingBetweenSlices": 3, "SliceThickness": 3}
        elements |= {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}
        tiles = whole.transpose(0, 2, 1, 3).reshape(side * SIDE, side * SIDE)
        dataset = dicom_files.image(tiles, "MR", **elements)
        dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", len(slices))
        dicom_files.save(dataset, folder / f"{number:05d}")


def undefined_lengths(dataset: Dataset) -> None:
    """As scanners write them: such sequences must be parsed to be passed over."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for part in element.value:
                part.is_undefined_length_sequence_item = True
                undefined_lengths(part)


def ours(folder: Path) -> int:
    files = sorted(folder.iterdir())
    return sum(isinstance(found, Slice) for found in read_dicom(folder, files, ImportConfig()))


def pydicoms(folder: Path) -> int:
    return sum(dcmread(path).pixel_array.size // SIDE**2 for path in sorted(folder.iterdir()))


def seconds(read: Callable[[Path], int], folder: Path) -> float:
    begin = time.process_time()
    read(folder)
    return time.process_time() - begin


@app.default
def main(*, frames: int = 400, files: int = 10, repeats: int = 3) -> None:
    """Write the files, read them in turns, print the table."""
    pixels = np.random.default_rng(0).integers(0, 500, (frames, SIDE, SIDE), np.uint16)
    kinds: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
        "classic": (classic, {"files": frames}),
        "enhanced, one file": (enhanced, {"files": 1}),
        "enhanced, interleaved": (enhanced, {"files": files}),
        "enhanced, JPEG-LS": (enhanced, {"files": 1, "compress": True}),
        "mosaic": (mosaic, {"files": files}),
    }
    rows: list[list[object]] = []
    loads: list[Path] = []
    load = dicom_volume.load
    dicom_volume.load = lambda path: (loads.append(path), load(path))[1]
    for name, (write, options) in kinds.items():
        folder = Path(tempfile.mkdtemp())
        write(pixels, folder, **options)
        loads.clear()
        found, count = ours(folder), len(list(folder.iterdir()))
        per_file = len(loads) / count
        sides = [lambda _, read=read, folder=folder: seconds(read, folder) for read in (ours, pydicoms)]
        mine, peer = map(min, in_turns(sides, repeats))
        rows.append([name, count, found, mine, found / mine, found / peer, mine / peer, per_file])
        shutil.rmtree(folder)
    print(f"{frames} frames of {SIDE}×{SIDE}, {cores()} cores, {repeats} repeats in turns")
    header = ("kind", "files", "slices", "CPU s", "slices/s", "pydicom's", "times pydicom's CPU", "loads per file")
    print(table(header, rows))
