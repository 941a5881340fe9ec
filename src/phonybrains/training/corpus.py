"""A corpus as training needs it: pixels in one memory-mapped array, conditions as a tensor, row numbers by split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError, TrainingError
from ..files import whole, write_whole
from ..held_out import held_out
from ..imageset import ImageSet
from ..model.fitting import fit_conditions
from ..networks.conditions import Conditions, Withdrawn
from ..networks.masks import encode_masks
from ..record import sha256_file
from .augment import augment_masks

RESIDENT_BYTES = 4 * 2**30
"""A corpus smaller than this is kept on the GPU."""
MISSING = 2
"""Stands in masks where an image has none."""


@dataclass(frozen=True)
class Corpus:
    """Images (N, H, W), mapped from disk or on the GPU, their conditions (N, width), modalities, and rows by split.

    masks: (N, H, W) of 0 and 1, MISSING in all of an image that has none; None where a model is not told of them.
    """

    pixels: Tensor
    conditions: Conditions
    encoded: Tensor
    modalities: tuple[str, ...]
    train: Tensor
    validation: Tensor
    """Held-out ones; those of train where there are none."""
    masks: Tensor | None = None

    @classmethod
    def open(
        cls, images: ImageSet, conditions: Conditions, work: Path, device: torch.device, masks: bool = False
    ) -> Corpus:
        """Prepare a checked image set; its pixels, and masks if they are wanted, are copied into `work` once."""
        train, validation = rows_in(images, "train"), held_out(images.rows, "validation")
        pixels = _stored(work / "pixels.npy", images, images.bits, images.pixels)
        outlined = _stored(work / "masks.npy", images, 8, partial(_mask, images)) if masks else None
        if device.type == "cuda" and pixels.nbytes < RESIDENT_BYTES:
            pixels = pixels.to(device)
        modalities, shown = tuple(row.modality for row in images.rows), torch.tensor(train)
        held = torch.tensor(validation) if validation else shown
        return cls(pixels, conditions, conditions.encode(images.rows), modalities, shown, held, outlined)

    @property
    def held_out(self) -> bool:
        """Whether validation images are others than training images."""
        return self.validation is not self.train

    def images(self, rows: Tensor) -> Tensor:
        """Images by row number: (B, 1, H, W) float32 in -1…1."""
        return self._unit(self.pixels[rows.to(self.pixels.device)])

    def crops(self, rows: Tensor, corners: Tensor, mirrored: Tensor, size: int) -> Tensor:
        """Squares of images, cut at (y, x) corners (B, 2) and some mirrored: (B, 1, size, size) float32 in -1…1."""
        along = torch.arange(size)
        across = torch.where(mirrored[:, None], along.flip(0), along) + corners[:, 1:]
        place = rows[:, None, None], (corners[:, :1] + along)[:, :, None], across[:, None, :]
        return self._unit(self.pixels[tuple(index.to(self.pixels.device) for index in place)])

    def encoded_masks(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """What a denoiser is told of the masks of images augmented with these parameters: (B, MASK_CHANNELS, h, w)."""
        assert self.masks is not None
        stored = self.masks[rows][:, None].to(parameters.device)
        said, inside = stored[:, :, :1, :1] != MISSING, stored == 1
        return encode_masks(augment_masks(inside.float(), parameters)) * said

    def _unit(self, pixels: Tensor) -> Tensor:
        return (pixels.float() / (torch.iinfo(pixels.dtype).max / 2) - 1)[:, None]


def rows_in(images: ImageSet, split: str) -> list[int]:
    return [i for i, row in enumerate(images.rows) if row.split == split]


def check_corpus(
    images: ImageSet, names: tuple[str, ...], crop: int, withdrawn: Sequence[Withdrawn] = (), min_patients: int = 0
) -> Conditions:
    """The conditions of a corpus. Raises TrainingError or ConfigError if it cannot be trained on, naming the reason."""
    train = rows_in(images, "train")
    if not train:
        raise TrainingError(f"{images.folder}: no image is in the split 'train'. Import it again with a split.")
    if images.height % 32 or images.width != images.height:
        raise TrainingError(
            f"{images.folder}: images are {images.width}×{images.height}; training needs squares "
            "whose side is a multiple of 32. Import again with --size."
        )
    if crop > images.height:
        raise ConfigError(
            f"autoencoder.crop is {crop}, but the images of {images.folder} are only {images.width}×"
            f"{images.height}. Set it to {images.height} or less."
        )
    return fit_conditions([images.rows[i] for i in train], names, withdrawn, min_patients)


def _stored(path: Path, images: ImageSet, bits: int, read: Callable[[int], NDArray[Any]]) -> Tensor:
    """What is read of all images as one array, (N, H, W), mapped from a file that is written once."""
    seal = path.with_suffix(".sha256")
    if not (path.is_file() and seal.is_file() and sha256_file(path).encode() == seal.read_bytes()):
        write_whole(seal, _write_pixels(images, path, bits, read).encode())
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _mask(images: ImageSet, i: int) -> NDArray[Any]:
    mask = images.mask(i)
    return np.full((images.height, images.width), MISSING, np.uint8) if mask is None else mask


def _write_pixels(images: ImageSet, path: Path, bits: int, read: Callable[[int], NDArray[Any]]) -> str:
    """Write what is read of all images as one array; returns the SHA-256 of the file."""
    shape, dtype = (len(images), images.height, images.width), "|u1" if bits == 8 else "<u2"
    with whole(path) as partial, partial.open("wb") as file:  # mapped, a full disk would be a bus error, no OSError
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        for i in range(len(images)):
            file.write(read(i).astype(dtype).tobytes())
    return sha256_file(path)
