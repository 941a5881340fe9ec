"""The training image that most resembles an image, mirrored, turned, scaled and shifted ones included."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
SIDE = 64
"""Images are compared at this size."""


@dataclass(frozen=True)
class Pose:
    """How an image is laid over another: mirrored, turned (degrees), scaled, shifted (pixels of SIDE)."""

    mirrored: bool = False
    degrees: float = 0.0
    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def matrix(self) -> list[list[float]]:
        """Where each output pixel is taken from, in affine_grid's coordinates -1…1."""
        angle, flip = math.radians(self.degrees), -1.0 if self.mirrored else 1.0
        cos, sin = math.cos(angle) / self.scale, math.sin(angle) / self.scale
        x, y = -2 * self.right / SIDE, -2 * self.down / SIDE
        return [[flip * cos, flip * -sin, flip * (cos * x - sin * y)], [sin, cos, sin * x + cos * y]]

    def around(self) -> list[Pose]:
        """This pose and finer ones beside it: ±2°, ±2.5 %, ±1 pixel."""
        steps = itertools.product((-2, 0, 2), (-0.025, 0, 0.025), (-1, 0, 1), (-1, 0, 1))
        return [
            Pose(self.mirrored, self.degrees + a, self.scale + s, self.right + x, self.down + y) for a, s, x, y in steps
        ]


GRID = [
    Pose(*values)
    for values in itertools.product((False, True), (-8, -4, 0, 4, 8), (0.95, 1.0, 1.05), (-2, 0, 2), (-2, 0, 2))
]


@dataclass(frozen=True)
class Nearest:
    """For each query (n,): the highest correlation, -1…1, with which image, and in which pose."""

    correlation: Array
    index: Array
    poses: list[Pose]


class SearchedImages:
    """Images to be compared with: small, without their mean image, each of zero mean and unit length."""

    def __init__(self, images: Array) -> None:
        small = reduced(prepared(images), [Pose()])
        self.mean = small.mean(dim=0)
        self.unit = self._unit(small)

    def _unit(self, small: Tensor) -> Tensor:
        flat = (small - self.mean).flatten(1)
        return F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)

    @torch.inference_mode()
    def nearest(self, images: Array, candidates: int = 5) -> Nearest:
        """The image most like each query, (n, H, W) uint8: a coarse search over GRID, then a fine one of the best."""
        queries = prepared(images)
        best = torch.full((len(queries), len(self.unit)), -2.0)
        pose = torch.zeros(best.shape, dtype=torch.int16)
        for number, each in enumerate(GRID):
            found = self._unit(reduced(queries, [each])) @ self.unit.T
            pose = torch.where(found > best, number, pose)
            best = torch.maximum(found, best)
        top = best.topk(min(candidates, best.shape[1]), dim=1).indices
        results = [
            self._refine(query, row, [GRID[k] for k in p[row].tolist()])
            for query, row, p in zip(queries, top, pose, strict=True)
        ]
        correlation, index, poses = zip(*results, strict=True)
        return Nearest(np.array(correlation), np.array(index), list(poses))

    def _refine(self, query: Tensor, rows: Tensor, starts: list[Pose]) -> tuple[float, int, Pose]:
        poses = list(dict.fromkeys(pose for start in starts for pose in start.around()))
        found = self._unit(reduced(query.expand(len(poses), -1, -1, -1), poses)) @ self.unit[rows].T
        which, column = divmod(int(found.argmax()), len(rows))
        return float(found[which, column]), int(rows[column]), poses[which]


def prepared(images: Array) -> Tensor:
    """Images (n, H, W) as (n, 1, H', W') in 0…1, averaged over the area that a pixel of SIDE covers."""
    x, k = torch.from_numpy(images).float()[:, None] / 255, max(1, images.shape[1] // SIDE)
    return F.avg_pool2d(x, k, stride=1, padding=k // 2, count_include_pad=False) if k > 1 else x


def reduced(x: Tensor, poses: list[Pose]) -> Tensor:
    """Prepared images, each in its pose or all in the same, (n, SIDE, SIDE); the border goes on outwards."""
    matrices = torch.tensor([pose.matrix() for pose in poses])
    grid = F.affine_grid(matrices, [len(poses), 1, SIDE, SIDE], align_corners=False).expand(len(x), -1, -1, -1)
    corners = x.shape[-1] % 2 == 1  # averaging over an even width leaves values at the corners of the pixels
    return F.grid_sample(x, grid, padding_mode="border", align_corners=corners)[:, 0]
