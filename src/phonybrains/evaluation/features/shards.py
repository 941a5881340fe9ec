"""Features of an image set, read in shards that a stopped run leaves behind and the next one takes up."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...files import write_whole
from ...imageset import ImageSet
from ..arrays import Array
from ..score import Progress, silent
from .extractors import Extractor

SHARD, CHUNK = 1024, 64
"""Images in a file of features, and images in memory at a time."""


def pixels_of(images: ImageSet, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """The images with these numbers, (n, H, W), in 8 bits."""
    stack = np.stack([images.pixels(i) for i in numbers])
    return (stack >> (images.bits - 8)).astype(np.uint8)


def features_of(
    images: ImageSet,
    numbers: Sequence[int],
    extractor: Extractor,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Array:
    """Features of the images with these numbers, (n, width) float32; memory beyond that is CHUNK images.

    folder: where shards are kept, each under the SHA-256 of the extractor's identity and its images' SHA-256s: equal
    images are never measured twice, changed ones always are. A shard is whole or not there.
    """
    found, what = np.empty((len(numbers), extractor.width), np.float32), f"features {extractor.name}"
    for start in range(0, len(numbers), SHARD):
        shard = numbers[start : start + SHARD]
        here = found[start : start + SHARD]
        path = folder / _name(images, shard, extractor) if folder else None
        if path and (kept := _read(path, here.shape)) is not None:
            here[:] = kept
            progress(what, start + len(shard), len(numbers))
            continue
        for first in range(0, len(shard), CHUNK):
            chunk = shard[first : first + CHUNK]
            here[first : first + CHUNK] = extractor(pixels_of(images, chunk))
            progress(what, start + first + len(chunk), len(numbers))
        if path:
            _write(path, here)
    return found


def _name(images: ImageSet, shard: Sequence[int], extractor: Extractor) -> str:
    digest = hashlib.sha256(extractor.identity.encode())
    for i in shard:
        digest.update(bytes.fromhex(images.rows[i].sha256))
    return f"{re.sub(r'[^a-z0-9]+', '-', extractor.name.lower())}-{digest.hexdigest()[:32]}.npy"


def _read(path: Path, shape: tuple[int, ...]) -> Array | None:
    """A shard; None where there is none that is whole."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float32 else None


def _write(path: Path, features: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, features)
    write_whole(path, buffer.getbuffer(), sync=False)
