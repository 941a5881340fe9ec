"""Two ways of searching training images for what resembles an image: by registration, and by a network's features."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...files import write_whole
from ...imageset import ImageSet
from ..features.extractors import Extractor, Images
from ..features.shards import features_of
from ..inputs.thumbnails import close_ups, is_small, thumbnails_of
from ..score import Progress, silent
from .registration import CopySearch, Matches

Array = NDArray[Any]
SHARD = 256
"""Images whose matches are kept in one file, and in memory at a time."""
DIRECTIONS, RIDGE = 256, 0.003
"""Directions of features that count, and what is added to the variance along each, as a share of the largest."""


class Search(Protocol):
    """Training images, ready to be searched. `name`: as scores show it; `certain`: likeness of a copy beyond doubt;
    `features_name`: what made its `views`."""

    name: str
    features_name: str
    certain: float

    def found(
        self, images: ImageSet, numbers: Sequence[int], progress: Progress = silent, among: Array | None = None
    ) -> Matches:
        """The training image most like each of the images with these numbers; among (n, N): of which, all if None."""
        ...

    def part(self, numbers: Array) -> Search:
        """The search among these training images alone, which keep no numbers but their places among them."""
        ...

    def views(self, images: ImageSet, numbers: Sequence[int]) -> tuple[Array, Array]:
        """What the search sees of images and of their mirror images, each (n, width) of unit length."""
        ...


class ByRegistration:
    """Lays each image over the training images; see registration.py. What is found is kept in `folder`.

    What is drawn small in its frame is laid close up over close-ups of the training images as well.
    """

    name, features_name, certain = "registration-3", "structure-1", 0.95

    @classmethod
    def of(cls, training: ImageSet, folder: Path | None = None) -> ByRegistration:
        hashes = [row.sha256 for row in training.rows]
        return cls(thumbnails_of(training), thumbnails_of(training, make=close_ups), hashes, folder)

    def __init__(self, thumbnails: Tensor, close: Tensor, hashes: Sequence[str], folder: Path | None) -> None:
        self.search, self.close, self.hashes, self.folder = CopySearch(thumbnails), close, hashes, folder
        self.stock = _digest([self.name, *hashes])[:16]

    def part(self, numbers: Array) -> ByRegistration:
        hashes = [self.hashes[int(i)] for i in numbers]
        which = torch.from_numpy(numbers)
        return ByRegistration(self.search.images[which], self.close[which], hashes, self.folder)

    @cached_property
    def closely(self) -> CopySearch:
        """The search among close-ups, made when the first small image comes."""
        return CopySearch(self.close)

    def views(self, images: ImageSet, numbers: Sequence[int]) -> tuple[Array, Array]:
        shards = [numbers[start : start + SHARD] for start in range(0, len(numbers), SHARD)]
        parts = [self.search.features(thumbnails_of(images, shard)).numpy() for shard in shards]
        plain = np.concatenate(parts) if parts else np.empty((0, self.search.waves.shape[1]), np.float32)
        return plain, plain * self.search.mirror.numpy()

    def found(
        self, images: ImageSet, numbers: Sequence[int], progress: Progress = silent, among: Array | None = None
    ) -> Matches:
        parts: list[Array] = []
        for start in range(0, len(numbers), SHARD):
            shard, which = numbers[start : start + SHARD], None if among is None else among[start : start + SHARD]
            asked = [images.rows[i].sha256 for i in shard] + ([] if which is None else [which.tobytes().hex()])
            name = f"matches-{self.stock}-{_digest(asked)[:32]}.npy"
            parts.append(self._shard(images, shard, self.folder / name if self.folder else None, which))
            progress("looking for copies", start + len(shard), len(numbers))
        score, correlation, index = np.concatenate(parts, axis=1) if parts else np.empty((3, 0))
        return Matches(score, correlation, index.astype(int))

    def _shard(self, images: ImageSet, shard: Sequence[int], path: Path | None, among: Array | None = None) -> Array:
        """Score, correlation and number of the nearest, (3, n): those kept, else new ones, which are kept."""
        try:
            kept = np.load(path, allow_pickle=False) if path else None
        except (OSError, ValueError, EOFError):
            kept = None  # not there, or half written
        if kept is not None and kept.shape == (3, len(shard)):
            return kept
        thumbnails, which = thumbnails_of(images, shard), None if among is None else torch.from_numpy(among)
        match = self.search.nearest(thumbnails, which)
        made = np.stack([match.score, match.correlation, match.index]).astype(np.float64)
        if small := np.flatnonzero(is_small(thumbnails).numpy()).tolist():
            closer = thumbnails_of(images, [shard[i] for i in small], close_ups)
            match = self.closely.nearest(closer, None if which is None else which[small])
            close = np.stack([match.score, match.correlation, match.index])
            made[:, small] = np.where(close[0] > made[0, small], close, made[:, small])
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, made)
            write_whole(path, buffer.getbuffer(), sync=False)
        return made


class Mirrored:
    """An extractor that sees images in the mirror."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor, self.width, self.name = extractor, extractor.width, f"{extractor.name} mirrored"

    @property
    def identity(self) -> str:
        return f"{self.extractor.identity} mirrored"

    def __call__(self, images: Images) -> Array:
        return self.extractor(np.ascontiguousarray(images[:, :, ::-1]))


class ByFeatures:
    """The cosine of a network's features along their main directions among the training images, all made as wide.

    Mirrored images too. Cheap, and blind to noise, blur and what else the network was not taught to look through: it
    stands beside the registration and does not replace it.
    """

    certain = 0.995

    @classmethod
    def of(
        cls, training: ImageSet, extractor: Extractor, folder: Path | None = None, progress: Progress = silent
    ) -> ByFeatures:
        return cls(features_of(training, range(len(training)), extractor, folder, progress), extractor, folder)

    def __init__(self, raw: Array, extractor: Extractor, folder: Path | None) -> None:
        self.raw, self.extractor, self.folder = raw, extractor, folder
        self.name = self.features_name = extractor.identity
        self.mean = raw.mean(axis=0)
        spread, directions = np.linalg.eigh(np.cov(raw - self.mean, rowvar=False) + 1e-9 * np.eye(raw.shape[1]))
        spread, directions = (x[..., -min(DIRECTIONS, max(1, len(raw) // 4)) :] for x in (spread, directions))
        self.white = (directions / np.sqrt(spread + RIDGE * spread[-1])).astype(np.float32)
        self.stock = self._unit(raw)

    def part(self, numbers: Array) -> ByFeatures:
        return ByFeatures(self.raw[numbers], self.extractor, self.folder)

    def views(self, images: ImageSet, numbers: Sequence[int]) -> tuple[Array, Array]:
        plain, mirrored = (
            self._unit(features_of(images, numbers, extractor, self.folder))
            for extractor in (self.extractor, Mirrored(self.extractor))
        )
        return plain, mirrored

    def found(
        self, images: ImageSet, numbers: Sequence[int], progress: Progress = silent, among: Array | None = None
    ) -> Matches:
        score, index = np.full(len(numbers), -1.0), np.zeros(len(numbers), dtype=int)
        for extractor in (self.extractor, Mirrored(self.extractor)):
            features = features_of(images, numbers, extractor, self.folder, progress)
            for start in range(0, len(numbers), SHARD):
                alike = self._unit(features[start : start + SHARD]) @ self.stock.T
                rows = slice(start, start + SHARD)
                alike = alike if among is None else np.where(among[rows], alike, -1)
                best = alike.max(axis=1)
                index[rows] = np.where(best > score[rows], alike.argmax(axis=1), index[rows])
                score[rows] = np.maximum(best, score[rows])
        return Matches(score, score, index)

    def _unit(self, features: Array) -> Array:
        x = np.nan_to_num(features - self.mean) @ self.white
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
