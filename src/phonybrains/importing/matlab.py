"""Read MATLAB 7.3 files of J. Cheng's brain tumor dataset, one MR slice in each; `phonybrains fetch` brings it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import ImportConfig
from .intensity import mr_range
from .reader import NO_MASKS, FormatReader, Masks
from .resize import box_around
from .slices import Notice, Slice, name_below, reason_of

DIAGNOSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FIELDS = ("label", "PID", "image", "tumorMask")


class Matlab(FormatReader):
    """MATLAB files, of which only those of the brain tumor dataset hold what is known to be a slice."""

    kind = "mat"
    formats = "MATLAB"
    extensions = (".mat",)

    def takes(self, head: bytes) -> bool:
        return head.startswith((b"MATLAB 7.3 MAT-file", b"MATLAB 5.0 MAT-file"))

    def read(
        self, root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
    ) -> Iterator[Slice | Notice]:
        """Yield the MR slices of the brain tumor dataset: one per MATLAB 7.3 file with a struct `cjdata`.

        The patient is `PID`; the attributes are `diagnosis` and the box of `tumorMask`: lesion_x, lesion_y (centre),
        lesion_width, lesion_height, as fractions. Black and white are percentiles of the image itself. `tumorMask` is
        the slice's mask where `masks` names the file. Any other file is skipped with a notice.
        """
        for number, path in enumerate(files):
            name = name_below(root, path)
            if path.name == "cvind.mat":
                yield Notice(name, "note", "the folds of a cross-validation, not an image")
                continue
            try:
                found, mask = _slice(root, path, number, config)
                yield replace(found, mask=mask) if path in masks else found
            except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
                yield Notice(name, "skipped", f"not a slice of the brain tumor dataset ({reason_of(error)})")


def _slice(root: Path, path: Path, number: int, config: ImportConfig) -> tuple[Slice, NDArray[np.bool_]]:
    import h5py

    with h5py.File(path) as file:
        label, patient, image, mask = (np.asarray(file[f"cjdata/{name}"]) for name in FIELDS)
    diagnosis = DIAGNOSES.get(int(label.item()))
    if diagnosis is None:
        raise ValueError(f"label {int(label.item())} is not 1, 2 or 3")
    values, mask = image.T.astype(np.float32), mask.T > 0  # MATLAB writes columns first
    if values.ndim != 2 or mask.shape != values.shape:
        raise ValueError(f"image {values.shape} and tumorMask {mask.shape} do not match")
    low, high = mr_range([values], config.percentiles)
    found = Slice(
        values,
        low,
        high,
        "MR",
        series=root.name,
        order=float(path.stem) if path.stem.isdecimal() else float(number),
        source=root.name,
        patient="".join(chr(code) for code in patient.ravel()).strip(),
        attributes=config.kept({"diagnosis": diagnosis, **box_around(mask)}),
        file=name_below(root, path),
    )
    return found, mask
