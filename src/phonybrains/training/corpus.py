"""A corpus as training needs it: pixels in one memory-mapped array, conditions as a tensor, row numbers by split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import TrainingError
from ..imageset import ImageSet, to_unit_range
from ..model.conditions import Conditions


@dataclass(frozen=True)
class Corpus:
    """Images (N, H, W) on disk, their conditions (N, width), modalities, and the rows to train and validate on."""

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    conditions: Conditions
    encoded: Tensor
    modalities: tuple[str, ...]
    train: Tensor
    validation: Tensor

    @classmethod
    def open(cls, images: ImageSet, names: tuple[str, ...], work: Path, write: bool = True) -> Corpus:
        """Prepare an image set. Raises TrainingError or ConfigError if it cannot be trained on, naming the reason."""
        splits = [row.split for row in images.rows]
        train = [i for i, split in enumerate(splits) if split == "train"]
        validation = [i for i, split in enumerate(splits) if split == "validation"]
        if not train:
            raise TrainingError(f"{images.folder}: no image is in the split 'train'. Import it again with a split.")
        if images.height % 32 or images.width != images.height:
            raise TrainingError(f"{images.folder}: images are {images.width}×{images.height}; training needs squares "
                                "whose side is a multiple of 32. Import again with --size.")  # fmt: skip
        conditions = Conditions.fit([images.rows[i] for i in train], names)
        path = work / "pixels.npy"
        if write and not path.is_file():
            _write_pixels(images, path)
        return cls(np.load(path, mmap_mode="r"), conditions, conditions.encode(images.rows),
                   tuple(row.modality for row in images.rows), torch.tensor(train),
                   torch.tensor(validation or train))  # fmt: skip

    def images(self, index: Tensor) -> Tensor:
        """Images by row number: (B, 1, H, W) float32 in -1…1."""
        return torch.from_numpy(to_unit_range(self.pixels[index.numpy()]))[:, None]


def _write_pixels(images: ImageSet, path: Path) -> None:
    partial = path.with_suffix(".partial")
    dtype = np.uint8 if images.bits == 8 else np.uint16
    array = np.lib.format.open_memmap(partial, "w+", dtype, (len(images), images.height, images.width))
    for i in range(len(images)):
        array[i] = images.pixels(i)
    array.flush()
    partial.rename(path)
