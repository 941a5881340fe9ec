"""The head of the phantoms: a table of ellipsoids, cut by one plane into a map of tissue labels.

Coordinates are millimetres in the head's own frame: x to the patient's left, y forward, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FIELD_OF_VIEW_MM = 240.0
PLANES = ("axial", "coronal", "sagittal")
HEMORRHAGES = ("epidural", "subdural", "subarachnoid", "intraparenchymal", "intraventricular")
TUMOURS = ("glioma", "meningioma", "pituitary")

TISSUES = (
    "air", "scalp", "muscle", "bone", "marrow", "csf", "gray", "white", "ventricle", "dura", "tumour", "necrosis",
    "edema", "blood", "ventricle blood",
)  # fmt: skip
AIR, SCALP, MUSCLE, BONE, MARROW, CSF, GRAY, WHITE, VENTRICLE, DURA, TUMOUR, NECROSIS, EDEMA, BLOOD, VENTRICLE_BLOOD = (
    range(len(TISSUES))
)
MR_INTENSITY = np.array([2, 165, 75, 12, 85, 28, 92, 128, 22, 110, 205, 45, 78, 140, 120], np.float32)
CT_HU = np.array([-1000, -40, 45, 1000, 500, 10, 37, 28, 8, 50, 50, 18, 20, 66, 62], np.float32)

# Tissue, centre and radii in mm; "sides" are drawn left and right. Later rows are painted over earlier ones.
Ellipsoid = tuple[int, tuple[float, float, float], tuple[float, float, float]]
CAVITY: Ellipsoid = (CSF, (0, 0, 15), (67, 84, 65))
CEREBRUM: Ellipsoid = (WHITE, (0, 0, 15), (65, 82, 63))
HEAD: tuple[Ellipsoid, ...] = (
    (SCALP, (0, -28, -100), (52, 54, 95)),
    (MUSCLE, (0, -28, -100), (47, 49, 90)),
    (SCALP, (0, 97, -42), (12, 13, 17)),
    (SCALP, (0, 36, -48), (60, 58, 72)),
    (MUSCLE, (0, 36, -48), (55, 52, 66)),
    (SCALP, (0, 0, 15), (79, 97, 78)),
    (BONE, (0, 0, 15), (74, 91, 73)),
    (MARROW, (0, 0, 15), (72, 89, 71)),
    (BONE, (0, 0, 15), (69.5, 86.5, 68)),
)
FACE: tuple[Ellipsoid, ...] = (
    (AIR, (0, 62, -48), (14, 22, 20)),
    (MUSCLE, (0, 60, -86), (22, 26, 12)),
    (BONE, (0, 66, -70), (30, 24, 5)),
    (BONE, (0, 66, -106), (28, 16, 9)),
    (BONE, (0, -46, -100), (16, 12, 60)),
)
ORBITS: tuple[Ellipsoid, ...] = (
    (SCALP, (31, 60, -24), (18, 26, 17)),
    (MUSCLE, (31, 74, -24), (12, 12, 12)),
    (CSF, (31, 74, -24), (11, 11, 11)),
)  # sides
HINDBRAIN: tuple[Ellipsoid, ...] = (
    (CSF, (0, -40, -30), (56, 38, 28)),
    (CSF, (0, -14, -62), (13, 14, 55)),
    (GRAY, (0, -42, -28), (50, 33, 23)),
    (WHITE, (0, -40, -28), (34, 20, 12)),
    (WHITE, (0, -10, -32), (13, 13, 22)),
    (WHITE, (0, -16, -90), (7, 7, 65)),
)
DEEP_GRAY: tuple[Ellipsoid, ...] = (
    (GRAY, (8, -6, 5), (7, 13, 9)),
    (GRAY, (15, 20, 12), (5, 10, 10)),
    (GRAY, (26, 6, 4), (6, 17, 10)),
    (CSF, (50, 12, 0), (14, 2.5, 12)),
)  # sides
LATERAL_VENTRICLES: tuple[Ellipsoid, ...] = (
    (VENTRICLE, (8, 24, 12), (4.5, 14, 9)),
    (VENTRICLE, (11, 0, 21), (6, 28, 7)),
    (VENTRICLE, (20, -30, 10), (7, 16, 11)),
    (VENTRICLE, (21, -50, 8), (4, 14, 5)),
)  # sides
MIDLINE_VENTRICLES: tuple[Ellipsoid, ...] = (
    (VENTRICLE, (0, -2, 0), (2.2, 13, 9)),
    (VENTRICLE, (0, -30, -34), (6, 5, 8)),
)


@dataclass(frozen=True)
class Patient:
    """One head: what all its slices share. lesion is "none", one of TUMOURS (MR) or one of HEMORRHAGES (CT)."""

    modality: str
    age_years: int
    sex: str
    scale: float
    ventricle_scale: float
    sulcus_width: float
    lesion: str
    centre: tuple[float, float, float]
    radius: float
    contrast: float


@dataclass(frozen=True)
class Cut:
    """A plane through a head: x, y, z in mm, one of them a number and two of them (size, size) float32."""

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
        parts = ((self.x - np.float32(side * cx)) / np.float32(rx), (self.y - np.float32(cy)) / np.float32(ry),
                 (self.z - np.float32(cz)) / np.float32(rz))  # fmt: skip
        fixed = {"sagittal": 0, "coronal": 1, "axial": 2}[self.plane]
        first, second = (parts[i] for i in range(3) if i != fixed)
        return first * first + (second * second + parts[fixed] * parts[fixed])


def cut_plane(
    plane: str, level_mm: float, size: int, scale: float, turn: float = 0.0, shift_mm: tuple[float, float] = (0, 0)
) -> Cut:
    """Lay a plane at a level, as a radiologist sees it: patient's right on the left; sagittal faces left."""
    axis = (np.arange(size) + 0.5) * FIELD_OF_VIEW_MM / size - FIELD_OF_VIEW_MM / 2
    across, down = (axis - shift_mm[0])[None, :] / scale, (axis - shift_mm[1])[:, None] / scale
    right = (np.cos(turn) * across + np.sin(turn) * down).astype(np.float32)
    up = (np.sin(turn) * across - np.cos(turn) * down).astype(np.float32)
    level = np.asarray(level_mm, np.float32)
    if plane == "axial":
        return Cut(plane, right, up, level)
    if plane == "coronal":
        return Cut(plane, right, level, up - np.float32(12))
    if plane == "sagittal":
        return Cut(plane, level, -right, up - np.float32(12))
    raise ValueError(f"plane must be one of {', '.join(PLANES)}, not {plane!r}")


def paint_labels(rng: np.random.Generator, patient: Patient, cut: Cut) -> Labels:
    """Paint the tissues of a head, then its lesion: (size, size) uint8, indices into TISSUES."""
    labels = np.zeros(np.broadcast_shapes(cut.x.shape, cut.y.shape, cut.z.shape), np.uint8)
    _fill(labels, cut, HEAD)
    if cut.plane != "axial" or float(cut.z) < 0:
        _fill(labels, cut, FACE)
        _fill(labels, cut, ORBITS, sides=True)
    cavity = cut.inside(CAVITY)
    floor = np.maximum(cut.y + 20, 0) * np.float32(0.3) - 26
    below = cut.z < floor
    labels[cavity & ~below] = CSF
    _fill(labels, cut, HINDBRAIN)
    folds = _folds(rng, cut, labels.shape[0])
    _paint_cerebrum(labels, cut, patient, folds, below)
    wall = cavity & ~below
    _paint_lesion(labels, cut, patient, folds, wall)
    return labels


def _fill(labels: Labels, cut: Cut, table: tuple[Ellipsoid, ...], *, sides: bool = False, grow: float = 1.0) -> None:
    for ellipsoid in table:
        for side in (1, -1) if sides else (1,):
            labels[cut.inside(ellipsoid, side=side, grow=grow)] = ellipsoid[0]


def _paint_cerebrum(labels: Labels, cut: Cut, patient: Patient, folds: Grid, below: Mask) -> None:
    depth = cut.distance(CEREBRUM)
    brain = (depth < 1) & ~below
    fold = np.abs(folds)
    outer = depth > (0.5 if cut.plane != "sagittal" else 0.42)
    labels[brain] = WHITE
    labels[brain & ((depth > 0.88) | (outer & (fold < 0.55)))] = GRAY
    _fill_within(labels, brain, cut, DEEP_GRAY, sides=True)
    labels[brain & (depth > 0.56) & (fold < patient.sulcus_width)] = CSF
    if cut.plane != "sagittal":
        middle = np.abs(cut.x + 0 * depth)
        split = brain & (depth > 0.34) & (cut.z > -8)
        labels[split & (middle < 4.5)] = GRAY
        labels[split & (middle < 1.0 + 2 * patient.sulcus_width)] = CSF
        labels[split & (middle < 0.7)] = DURA
    _fill_within(labels, brain, cut, LATERAL_VENTRICLES, sides=True, grow=patient.ventricle_scale)
    _fill(labels, cut, MIDLINE_VENTRICLES, grow=patient.ventricle_scale)


def _fill_within(labels, where, cut, table, *, sides=False, grow=1.0):
    for ellipsoid in table:
        for side in (1, -1):
            labels[where & cut.inside(ellipsoid, side=side, grow=grow)] = ellipsoid[0]


def _paint_lesion(labels: Labels, cut: Cut, patient: Patient, folds: Grid, cavity: Mask) -> None:
    kind, (cx, cy, cz), radius = patient.lesion, patient.centre, patient.radius
    if kind == "none":
        return
    side = 1 if cx >= 0 else -1
    blob = cut.distance((TUMOUR, (cx, cy, cz), (radius, 1.15 * radius, radius))) * (1 + 0.12 * folds)
    tissue = np.isin(labels, (GRAY, WHITE, CSF, DURA)) & cavity
    if kind == "glioma":
        labels[tissue & (blob < 2.4) & (labels == WHITE)] = EDEMA
        tissue &= labels != CSF
        labels[tissue & (blob < 1)] = TUMOUR
        labels[tissue & (blob < 0.45)] = NECROSIS
    elif kind == "meningioma":
        labels[tissue & (blob < 1)] = TUMOUR
    elif kind == "pituitary":
        labels[(labels != AIR) & (blob < 1)] = TUMOUR
    elif kind == "intraparenchymal":
        tissue &= labels != CSF
        labels[tissue & (blob < 1.5)] = EDEMA
        labels[tissue & (blob < 1)] = BLOOD
    elif kind == "epidural":
        labels[cavity & _lens(cut, patient)] = BLOOD
    elif kind == "subdural":
        inward = (BLOOD, (-side * 0.6 * radius, 0, 15), (67, 92, 65))
        labels[cavity & (side * cut.x > 4) & ~cut.inside(inward)] = BLOOD
    elif kind == "subarachnoid":
        near = cut.distance((BLOOD, (cx, cy, cz), (3 * radius, 3 * radius, 3 * radius))) < 1
        labels[cavity & near & (labels == CSF)] = BLOOD
    elif kind == "intraventricular":
        labels[(labels == VENTRICLE) & (cut.y < -32 + 2 * radius)] = VENTRICLE_BLOOD


def _lens(cut: Cut, patient: Patient) -> Mask:
    """An ellipsoid centred on the inner table, flat along it: cut by the cavity it is a biconvex lens."""
    cx, cy, cz = patient.centre
    normal = np.array([cx / 67**2, cy / 84**2])
    nx, ny = normal / np.hypot(*normal)
    along = (cut.x - cx) * -ny + (cut.y - cy) * nx
    inward = (cut.x - cx) * nx + (cut.y - cy) * ny
    high = cut.z - cz
    length = 2.2 * patient.radius
    return (along / length) ** 2 + (inward / patient.radius) ** 2 + (high / length) ** 2 < 1


def _folds(rng: np.random.Generator, cut: Cut, size: int) -> Grid:
    """A signed field whose zeros run like sulci: spokes around the middle, bent by smooth noise. About -1…1."""
    u, v = (
        (cut.x, cut.y)
        if cut.plane == "axial"
        else (cut.x, cut.z - 20)
        if cut.plane == "coronal"
        else (cut.y, cut.z - 10)
    )
    bend = smooth_noise(rng, size, 3, 14)
    fine = smooth_noise(rng, size, 10, 22)
    angle = np.arctan2(v, u)
    return np.sin(13 * angle + 2.2 * bend) * np.float32(0.6) + np.float32(0.55) * fine


def smooth_noise(rng: np.random.Generator, size: int, low: int, high: int) -> Grid:
    """A random field of unit variance made of the cosines with low ≤ half-waves < high: (size, size) float32."""
    basis = _cosines(size, high)
    weights = rng.standard_normal((high, high), dtype=np.float32)
    order = np.hypot(np.arange(high)[:, None], np.arange(high)[None, :])
    weights[(order < low) | (order >= high)] = 0
    weights /= 0.5 * np.sqrt((weights * weights).sum())
    return basis @ weights @ basis.T


@lru_cache(maxsize=8)
def _cosines(size: int, count: int) -> Grid:
    position = (np.arange(size) + 0.5) / size
    return np.cos(np.pi * position[:, None] * np.arange(count)).astype(np.float32)
