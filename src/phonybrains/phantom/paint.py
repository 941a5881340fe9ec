"""Cutting the phantom's head by a plane and painting its tissues: the label map, the truth of every attribute."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import anatomy
from .anatomy import FIELD_OF_VIEW_MM, PLANES, Ellipsoid, Patient, Tissue

Grid = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """A plane through a head: x, y, z in mm, the one along its normal a number, the others (size, size) float32."""

    plane: str
    x: Grid
    y: Grid
    z: Grid

    def inside(self, ellipsoid: Ellipsoid, *, side: int = 1, grow: float = 1.0) -> Mask:
        """Which pixels lie in an ellipsoid; side -1 mirrors it to the right, grow multiplies its radii."""
        return self.distance(ellipsoid, side=side) < np.float32(grow * grow)

    def distance(self, ellipsoid: Ellipsoid, *, side: int = 1) -> Grid:
        """Squared distance from the centre in radii: 1 on the surface."""
        _, (cx, cy, cz), (rx, ry, rz) = ellipsoid
        x = (self.x - np.float32(side * cx)) * np.float32(1 / rx)
        y = (self.y - np.float32(cy)) * np.float32(1 / ry)
        z = (self.z - np.float32(cz)) * np.float32(1 / rz)
        first, second, normal = sorted((x, y, z), key=np.size, reverse=True)
        squared = np.square(first)
        squared += np.square(second) + np.square(normal)
        return squared

    def paint(
        self,
        labels: Labels,
        table: tuple[Ellipsoid, ...],
        where: Mask | bool = True,
        sides: bool = False,
        grow: float = 1,
    ) -> None:
        """Paint ellipsoids in their order, only `where`; with sides, on the left and on the right."""
        normal = {"sagittal": 0, "coronal": 1, "axial": 2}[self.plane]
        level = float((self.x, self.y, self.z)[normal])
        for ellipsoid in table:
            _, centre, radii = ellipsoid
            for side in (1, -1) if sides else (1,):
                away = level - (side if normal == 0 else 1) * centre[normal]
                if abs(away) >= grow * radii[normal]:
                    continue  # the plane misses it
                labels[self.inside(ellipsoid, side=side, grow=grow) & where] = ellipsoid[0]


def cut_head(rng: np.random.Generator, scale: float, plane: str, level_mm: float, size: int, move: float) -> Cut:
    """Lay a plane at a level as a radiologist sees it (patient's right on the left; sagittal faces left).

    The head is bent by smooth noise of about 1 mm, and turned and shifted a little times `move`.
    """
    if plane not in PLANES:
        raise ValueError(f"plane must be one of {', '.join(PLANES)}, not {plane!r}")
    turn, aside, down = rng.normal(0, (0.05, 3, 3)) * move
    axis = (np.arange(size) + 0.5) * FIELD_OF_VIEW_MM / size - FIELD_OF_VIEW_MM / 2
    columns, rows = (axis - aside)[None, :] / scale, (axis - down)[:, None] / scale
    right = (np.cos(turn) * columns + np.sin(turn) * rows).astype(np.float32)
    up = (np.sin(turn) * columns - np.cos(turn) * rows).astype(np.float32)
    right += np.float32(1.2) * smooth_noise(rng, size, 1, 6)
    up += np.float32(1.2) * smooth_noise(rng, size, 1, 6)
    level = np.asarray(level_mm, np.float32)
    if plane == "axial":
        return Cut(plane, right, up, level)
    up -= np.float32(12)
    return Cut(plane, right, level, up) if plane == "coronal" else Cut(plane, level, -right, up)


def paint_labels(rng: np.random.Generator, patient: Patient, cut: Cut, size: int) -> Labels:
    """Paint the tissues of a head, then its lesion: (size, size) uint8, values of Tissue."""
    labels = np.zeros((size, size), np.uint8)
    cut.paint(labels, anatomy.HEAD)
    if cut.plane != "axial" or float(cut.z) < 0:
        cut.paint(labels, anatomy.FACE)
        cut.paint(labels, anatomy.ORBITS, sides=True)
    cerebrum_room = cut.inside(anatomy.CAVITY) & (cut.z > _floor(cut))
    labels[cerebrum_room] = Tissue.CSF
    cut.paint(labels, anatomy.HINDBRAIN, where=~cerebrum_room)
    folds = _folds(rng, cut, size)
    _paint_cerebrum(labels, cut, patient, folds, cerebrum_room)
    _paint_lesion(labels, cut, patient, folds, cerebrum_room)
    return labels


def _floor(cut: Cut) -> Grid:
    """Height in mm of what carries the cerebrum: orbital roof in front, sella in the middle, tentorium behind."""
    central = np.abs(cut.x) < 18
    middle = np.where(central, np.float32(-12), np.float32(-60))
    behind = np.float32(-4) - np.abs(cut.x) * np.float32(0.25)
    return np.where(cut.y > 34, np.float32(-6), np.where(cut.y > -16, middle, behind))


def _paint_cerebrum(labels: Labels, cut: Cut, patient: Patient, folds: Grid, room: Mask) -> None:
    depth = cut.distance(anatomy.CEREBRUM)
    brain, fold = (depth < 1) & room, np.abs(folds)
    labels[brain] = Tissue.WHITE
    labels[brain & ((depth > 0.89) | ((depth > 0.42) & (fold < 0.5)))] = Tissue.GRAY
    cut.paint(labels, anatomy.DEEP_GRAY, where=brain, sides=True)
    labels[brain & (depth > 0.56) & (fold < patient.sulcus_width)] = Tissue.CSF
    if cut.plane != "sagittal":
        from_middle = np.abs(cut.x)
        split = brain & (depth > 0.34) & (cut.z > 0)
        labels[split & (from_middle < 4.5)] = Tissue.GRAY
        labels[split & (from_middle < 1.0 + 2 * patient.sulcus_width)] = Tissue.CSF
        labels[split & (from_middle < 0.7)] = Tissue.DURA
    cut.paint(labels, anatomy.LATERAL_VENTRICLES, where=brain, sides=True, grow=patient.ventricle_scale)
    cut.paint(labels, anatomy.MIDLINE_VENTRICLES, grow=patient.ventricle_scale)


def _paint_lesion(labels: Labels, cut: Cut, patient: Patient, folds: Grid, room: Mask) -> None:
    """Paint the patient's lesion where the plane meets it; ventricles keep their area."""
    kind, (x, y, z), r = patient.lesion, patient.centre, patient.radius
    blob = cut.distance((Tissue.TUMOUR, (x, y, z), (r, 1.15 * r, r))) * (1 + np.float32(0.12) * folds)
    solid = (labels == Tissue.WHITE) | (labels == Tissue.GRAY)
    if kind == "glioma":
        labels[(labels == Tissue.WHITE) & (blob < 2.4)] = Tissue.EDEMA
        labels[solid & (blob < 1)] = Tissue.TUMOUR
        labels[solid & (blob < 0.5)] = Tissue.NECROSIS
    elif kind == "meningioma":
        labels[room & (labels != Tissue.VENTRICLE) & (blob < 1)] = Tissue.TUMOUR
    elif kind == "pituitary":
        labels[(labels != Tissue.AIR) & (labels != Tissue.VENTRICLE) & (blob < 1)] = Tissue.TUMOUR
    elif kind == "intraparenchymal":
        labels[solid & (blob < 1.5)] = Tissue.EDEMA
        labels[solid & (blob < 1)] = Tissue.BLOOD
    elif kind == "epidural":
        labels[room & _lens(cut, patient)] = Tissue.BLOOD
    elif kind == "subdural":
        side = 1 if x > 0 else -1
        brain_moved_inward = (Tissue.BLOOD, (-0.6 * side * r, 0.0, 15.0), (67.0, 92.0, 65.0))
        labels[room & (side * cut.x > 4) & ~cut.inside(brain_moved_inward)] = Tissue.BLOOD
    elif kind == "subarachnoid":
        labels[room & (labels == Tissue.CSF) & (blob < 9)] = Tissue.BLOOD
    elif kind == "intraventricular":
        labels[(labels == Tissue.VENTRICLE) & (cut.y < 2 * r - 32)] = Tissue.VENTRICLE_BLOOD


def _lens(cut: Cut, patient: Patient) -> Mask:
    """An ellipsoid centred on the inner table and flat along it: what the skull leaves of it is a biconvex lens."""
    x, y, z = patient.centre
    _, _, (rx, ry, _) = anatomy.CAVITY
    steep = np.hypot(x / rx**2, y / ry**2)
    nx, ny = np.float32(x / rx**2 / steep), np.float32(y / ry**2 / steep)
    along = (cut.x - np.float32(x)) * -ny + (cut.y - np.float32(y)) * nx
    inward = (cut.x - np.float32(x)) * nx + (cut.y - np.float32(y)) * ny
    length, thickness = np.float32(2.2 * patient.radius), np.float32(patient.radius)
    return (along / length) ** 2 + (inward / thickness) ** 2 + ((cut.z - np.float32(z)) / length) ** 2 < 1


def _folds(rng: np.random.Generator, cut: Cut, size: int) -> Grid:
    """A signed field of about -1…1 whose zeros run like sulci: spokes around the middle, bent by smooth noise."""
    across, up = {"axial": (cut.x, cut.y), "coronal": (cut.x, cut.z - 20), "sagittal": (cut.y, cut.z - 10)}[cut.plane]
    spokes = np.sin(np.float32(13) * np.arctan2(up, across) + np.float32(2.2) * smooth_noise(rng, size, 3, 14))
    return (0.6 * spokes + 0.55 * smooth_noise(rng, size, 10, 22)).astype(np.float32, copy=False)


def smooth_noise(rng: np.random.Generator, size: int, low: int, high: int) -> Grid:
    """A random field of unit variance, the sum of the cosines with low ≤ half-waves < high: (size, size) float32."""
    basis = _cosines(size, high)
    weights = rng.standard_normal((high, high), dtype=np.float32)
    order = np.hypot(np.arange(high)[:, None], np.arange(high)[None, :])
    weights[(order < low) | (order >= high)] = 0
    weights /= np.float32(0.5) * np.sqrt(np.square(weights).sum())
    return basis @ weights @ basis.T


@lru_cache(maxsize=8)
def _cosines(size: int, count: int) -> Grid:
    position = (np.arange(size) + 0.5) / size
    return np.cos(np.pi * position[:, None] * np.arange(count)).astype(np.float32)
