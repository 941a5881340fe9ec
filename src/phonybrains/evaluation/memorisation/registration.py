"""Lays an image over the training images that resemble it, and says how much of what is particular to them it shares.

Three steps, each for fewer candidates than the one before. Coarse: low frequencies of the locally normalised image in
every pose of a grid, mirrored ones too, against all training images: matrix products. Fine: Gauss-Newton on rotation,
scale and shift, at 32×32 pixels and then at 64×64. Last: the correlation of what is left where the main components of
the training images are taken away, so that a skull, which all have, counts for nothing; it counts for less the smaller
the part of the image is that carries it.

Local normalisation makes the search blind to gamma, contrast and, as signs are ignored, inversion.
"""

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

from ..inputs.thumbnails import COARSE, DETAIL, EDGES, SIDE, STRUCTURE, halved, local

Array = NDArray[Any]
FREQUENCY = 12.0
"""Highest frequency of the coarse search, in half waves over the image."""
ROTATIONS, SCALES, SHIFTS = (-8, -4, 0, 4, 8), (0.8, 0.88, 0.95, 1.0, 1.05), (-0.12, -0.06, 0.0, 0.06, 0.12)
CANDIDATES, FINALISTS = 48, 8
COMPONENTS = 192
"""Most main components that are taken away; of n training images, at most a sixth of n."""
BLOCKS = 8
"""The last step asks in how many of BLOCKS² parts of the image what is particular lies."""
BATCH = 32


@dataclass(frozen=True)
class Matches:
    """For each query (n,): how alike its nearest training image is, the correlation with it, and its number.

    score: correlation of what is particular, 0…1, weighed by how much of the image it rests on. correlation: the
    zero-mean correlation in the same pose, -1…1, of the grey levels less the training mean.
    """

    score: Array
    correlation: Array
    index: Array

    def part(self, numbers: Array) -> Matches:
        """Those of the queries with these numbers."""
        return Matches(self.score[numbers], self.correlation[numbers], self.index[numbers])


class CopySearch:
    """Training images, ready to be searched for what resembles a query."""

    def __init__(self, images: Tensor) -> None:
        """images: their thumbnails."""
        self.images = images
        self.mean = self.images.mean(dim=0)
        self.structure = torch.cat([halved(local(x, STRUCTURE)) for x in self.images.split(256)])
        self.waves, self.mirror = _waves()
        unit = self._unit(self.structure)
        self.unit = torch.cat([unit, unit * self.mirror])
        self.grid = F.affine_grid(POSES, [len(POSES), 1, COARSE, COARSE], align_corners=False)
        self.common = self._common()

    @torch.inference_mode()
    def nearest(self, images: Tensor, among: Tensor | None = None) -> Matches:
        """The training image most like each query, given as thumbnails; among (n, N): which may be, all if None."""
        among = torch.ones(len(images), len(self.images), dtype=torch.bool) if among is None else among
        found = [self._batch(x, which) for x, which in zip(images.split(BATCH), among.split(BATCH), strict=True)]
        return Matches(*(torch.cat(part).numpy() for part in zip(*found, strict=True)))

    def features(self, images: Tensor) -> Tensor:
        """Low frequencies of the structure in images given as thumbnails, of unit length, (n, width)."""
        parts = [self._unit(halved(local(x, STRUCTURE))) for x in images.split(256)]
        return torch.cat(parts) if len(images) else torch.empty(0, self.waves.shape[1])

    def _unit(self, structure: Tensor) -> Tensor:
        return F.normalize(structure.flatten(1) @ self.waves, dim=1)

    def _batch(self, x: Tensor, among: Tensor) -> tuple[Tensor, ...]:
        structure, edges, detail = halved(local(x, STRUCTURE)), local(x, EDGES), local(x, DETAIL)
        rows, affine = self._coarse(structure, among)
        k = rows.shape[1]
        affine, alike = refine(structure.repeat_interleave(k, dim=0), self.structure[rows.flatten()], affine, 4)
        alike = alike.view(-1, k).masked_fill(~among.gather(1, rows), -3)
        best = alike.topk(min(FINALISTS, k), dim=1).indices
        rows = rows.gather(1, best)
        affine = affine.view(-1, k, 2, 3).gather(1, best[..., None, None].expand(-1, -1, 2, 3)).flatten(0, 1)
        k, chosen = rows.shape[1], self.images[rows.flatten()]
        affine, _ = refine(edges.repeat_interleave(k, dim=0), local(chosen, EDGES), affine, 6)
        score = self._particular(detail.repeat_interleave(k, dim=0), local(chosen, DETAIL), affine)
        grey, inside = _laid(x.repeat_interleave(k, dim=0), affine)
        correlation = _correlation(grey - self.mean.flatten(), (chosen - self.mean).flatten(1), inside)
        barred, every = ~among.gather(1, rows), torch.arange(len(x))
        score = score.view(-1, k).masked_fill(barred, -1)
        correlation = correlation.view(-1, k).masked_fill(barred, -1)
        which = score.argmax(dim=1)
        return score[every, which].clamp(min=0), correlation.amax(dim=1), rows[every, which]

    def _coarse(self, structure: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
        """The training images most like each query in its best pose on the grid, (n, k), and those poses."""
        n, rows, affine = len(self.structure), [], []
        for image, allowed in zip(structure, among, strict=True):
            best, pose = torch.full((2 * n,), -1.0), torch.zeros(2 * n, dtype=torch.long)
            for start in range(0, len(POSES), 125):
                grid = self.grid[start : start + 125]
                posed = F.grid_sample(image.expand(len(grid), -1, -1, -1), grid, align_corners=False)
                alike, which = (F.normalize(posed.flatten(1) @ self.waves, dim=1) @ self.unit.T).abs().max(dim=0)
                pose = torch.where(alike > best, which + start, pose)
                best = torch.maximum(alike, best)
            plain, mirrored = best[:n], best[n:]
            alike = torch.maximum(plain, mirrored).masked_fill(~allowed, -1)
            top = alike.topk(min(CANDIDATES, n)).indices
            flip = (mirrored > plain)[top, None, None]
            rows.append(top)
            affine.append(torch.where(flip, POSES[pose[n:][top]] * MIRROR, POSES[pose[:n][top]]))
        return torch.stack(rows), torch.cat(affine)

    def _common(self) -> Tensor:
        """Mean and main components of the detail in at most 2048 training images, orthonormal: (pixels, k)."""
        some = torch.linspace(0, len(self.images) - 1, min(len(self.images), 2048)).long()
        detail = torch.cat([local(x, DETAIL) for x in self.images[some].split(256)]).flatten(1)
        mean, k = detail.mean(dim=0), min(COMPONENTS, len(some) // 6)
        vectors = torch.linalg.eigh((detail - mean) @ (detail - mean).T).eigenvectors[:, len(some) - k :]
        return torch.linalg.qr(torch.cat([mean[:, None], (detail - mean).T @ vectors], dim=1)).Q

    def _particular(self, query: Tensor, training: Tensor, affine: Tensor) -> Tensor:
        laid, inside = _laid(query, affine)
        one, two = (x - (x @ self.common) @ self.common.T for x in (laid * inside, training.flatten(1)))
        return weighed(_correlation(one, two, inside).abs(), one * inside, two * inside)


def refine(query: Tensor, training: Tensor, affine: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Turn, scale and shift each query (p, 1, h, w) until it lies over its training image; the best pose on the way.

    Regresses the training image on the query, a constant and the four derivatives of the query, so that contrast and
    its sign do not matter; returns (p, 2, 3) and the correlation without its sign, (p,).
    """
    fields = _with_derivatives(query)
    target, best, highest = training.flatten(1), affine, torch.full((len(query),), -2.0)
    for step in range(steps + 1):
        grid = F.affine_grid(affine, list(query.shape), align_corners=False)
        values = F.grid_sample(fields, grid, padding_mode="border", align_corners=False).flatten(2)
        inside = _inside(grid)
        alike = _correlation(values[:, 0], target, inside).abs()
        best = torch.where((alike > highest)[:, None, None], affine, best)
        highest = torch.maximum(alike, highest)
        if step < steps:
            affine = _moved(affine, _step(values, grid - affine[:, None, None, :, 2], target, inside))
    return best, highest


def _with_derivatives(query: Tensor) -> Tensor:
    """The image and its derivatives to the right and down, in affine_grid's units, (p, 3, h, w)."""
    h, w = query.shape[2:]
    right = F.pad(query[..., 2:] - query[..., :-2], (1, 1, 0, 0)) * (w / 4)
    down = F.pad(query[:, :, 2:] - query[:, :, :-2], (0, 0, 1, 1)) * (h / 4)
    return torch.cat([query, right, down], dim=1)


def _step(values: Tensor, places: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """One Gauss-Newton step: rotation, growth and shift of each query, (p, 4), at most 0.08 each."""
    (value, right, down), (x, y) = values.unbind(1), places.flatten(1, 2).unbind(2)
    columns = [value, torch.ones_like(value), down * x - right * y, right * x + down * y, right, down]
    design = torch.stack(columns, dim=1) * inside[:, None]
    normal = design @ design.mT
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * 1e-3 + 1e-6)
    found = torch.linalg.solve(normal, design @ target[..., None])[..., 0]
    contrast = found[:, :1]
    contrast = torch.where(contrast < 0, contrast.clamp(max=-1e-2), contrast.clamp(min=1e-2))
    return (found[:, 2:] / contrast).clamp(-0.08, 0.08)


def _moved(affine: Tensor, step: Tensor) -> Tensor:
    turn, growth, shift = step[:, 0], 1 + step[:, 1], step[:, 2:, None]
    matrix = torch.stack([torch.stack([growth, -turn], dim=1), torch.stack([turn, growth], dim=1)], dim=1)
    return torch.cat([matrix @ affine[:, :, :2], affine[:, :, 2:] + shift], dim=2)


def _laid(images: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Images over their training images, (p, pixels), and where they reach."""
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).flatten(1), _inside(grid)


def _inside(grid: Tensor) -> Tensor:
    return (grid.abs().amax(dim=-1) <= 1).flatten(1).float()


def _correlation(one: Tensor, two: Tensor, inside: Tensor) -> Tensor:
    """Zero-mean correlation over the pixels inside, (p,); 0 where less than half of the image is."""
    n = inside.sum(dim=1, keepdim=True).clamp_min(1)
    one, two = ((x - (x * inside).sum(dim=1, keepdim=True) / n) * inside for x in (one, two))
    found = (one * two).sum(dim=1) / (one.square().sum(dim=1) * two.square().sum(dim=1)).sqrt().clamp_min(1e-6)
    return torch.where(n[:, 0] >= inside.shape[1] / 2, found, 0.0)


def weighed(correlation: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Correlations (p,), 0…1, as they would be worth if half of the image carried them.

    A few bright edges agree by chance more easily than a whole brain does. Fisher's z, whose standard error is
    1/√n, times √(n / half of the blocks), where n is how many blocks each of both images (p, SIDE²) has its energy in:
    (Σe)²/Σe², the geometric mean of the two.
    """
    energy = [F.avg_pool2d(x.square().view(-1, 1, SIDE, SIDE), SIDE // BLOCKS).flatten(1) for x in (one, two)]
    n = [e.sum(dim=1).square() / e.square().sum(dim=1).clamp_min(1e-12) for e in energy]
    share = (n[0] * n[1]).sqrt() / BLOCKS**2
    return torch.tanh(torch.atanh(correlation.clamp(max=1 - 1e-6)) * (2 * share).sqrt())


def _waves() -> tuple[Tensor, Tensor]:
    """Cosines up to FREQUENCY over COARSE² pixels, orthonormal, (pixels, k), and their signs in the mirror, (k,)."""
    pairs = [(u, v) for u, v in itertools.product(range(COARSE), repeat=2) if 0 < math.hypot(u, v) <= FREQUENCY]
    places = (np.arange(COARSE) + 0.5) * np.pi / COARSE
    cosines = [np.cos(k * places) * math.sqrt((2 if k else 1) / COARSE) for k in range(COARSE)]
    waves = np.stack([np.outer(cosines[u], cosines[v]).ravel() for u, v in pairs], axis=1)
    return torch.tensor(waves, dtype=torch.float32), torch.tensor([(-1.0) ** v for _, v in pairs])


def _pose(degrees: float, scale: float, right: float, down: float) -> list[list[float]]:
    cos, sin = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    return [[cos, -sin, cos * right - sin * down], [sin, cos, sin * right + cos * down]]


def _poses() -> Tensor:
    """The grid of the coarse search; what shrinks a query, as a crop needs, also moves it farther."""
    grid = itertools.product(ROTATIONS, SCALES, SHIFTS, SHIFTS)
    far = {scale: 1.8 if scale < 0.9 else 1.0 for scale in SCALES}
    return torch.tensor([_pose(turn, scale, far[scale] * x, far[scale] * y) for turn, scale, x, y in grid])


POSES = _poses()
MIRROR = torch.tensor([-1.0, 1.0, 1.0])
