"""The head of the phantoms: a table of ellipsoids, cut by one plane into a map of tissue labels.

Coordinates are millimetres in the head's own frame: x to the patient's left, y forward, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

FIELD_OF_VIEW_MM = 240.0
PLANES = ("axial", "coronal", "sagittal")
HEMORRHAGES = ("epidural", "subdural", "subarachnoid", "intraparenchymal", "intraventricular")
TUMOURS = ("glioma", "meningioma", "pituitary")


class Tissue(IntEnum):
    """What a pixel of the label map shows."""

    AIR = 0
    SCALP = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    CSF = 5
    GRAY = 6
    WHITE = 7
    VENTRICLE = 8
    DURA = 9
    TUMOUR = 10
    NECROSIS = 11
    EDEMA = 12
    BLOOD = 13
    VENTRICLE_BLOOD = 14


MR_INTENSITY = np.array([2, 165, 75, 12, 85, 28, 92, 128, 22, 110, 205, 45, 78, 140, 120], np.float32)
CT_HU = np.array([-1000, -40, 45, 1000, 500, 10, 37, 28, 8, 50, 50, 18, 20, 66, 62], np.float32)

# Tissue, centre and radii in mm; "sides" are drawn left and right. Later rows are painted over earlier ones.
Ellipsoid = tuple[int, tuple[float, float, float], tuple[float, float, float]]
CAVITY: Ellipsoid = (Tissue.CSF, (0, 0, 15), (67, 84, 65))
CEREBRUM: Ellipsoid = (Tissue.WHITE, (0, 0, 15), (65, 82, 63))
HEAD: tuple[Ellipsoid, ...] = (
    (Tissue.SCALP, (0, 97, -40), (12, 13, 17)),
    (Tissue.SCALP, (0, -28, -100), (52, 54, 95)),
    (Tissue.SCALP, (0, 36, -48), (62, 60, 74)),
    (Tissue.SCALP, (0, 0, 15), (79, 97, 78)),
    (Tissue.MUSCLE, (0, -28, -100), (47, 49, 90)),
    (Tissue.MUSCLE, (0, 36, -48), (57, 55, 66)),
    (Tissue.BONE, (0, 0, 15), (74, 91, 73)),
    (Tissue.MARROW, (0, 0, 15), (72, 89, 71)),
    (Tissue.BONE, (0, 0, 15), (69.5, 86.5, 68)),
    (Tissue.MARROW, (0, 0, 15), (67, 84, 65)),
)
FACE: tuple[Ellipsoid, ...] = (
    (Tissue.AIR, (0, 66, -46), (14, 24, 17)),
    (Tissue.AIR, (0, 24, -60), (9, 9, 22)),
    (Tissue.MUSCLE, (0, 58, -84), (24, 28, 13)),
    (Tissue.BONE, (0, 62, -68), (30, 26, 4)),
    (Tissue.MARROW, (0, 78, -108), (24, 14, 10)),
    (Tissue.BONE, (0, -46, -110), (14, 10, 60)),
    (Tissue.MARROW, (0, 0, -110), (14, 9, 70)),
)
ORBITS: tuple[Ellipsoid, ...] = (
    (Tissue.SCALP, (31, 60, -24), (18, 26, 17)),
    (Tissue.MUSCLE, (31, 74, -24), (12.5, 12.5, 12.5)),
    (Tissue.CSF, (31, 74, -24), (11, 11, 11)),
)  # sides
HINDBRAIN: tuple[Ellipsoid, ...] = (
    (Tissue.CSF, (0, -40, -20), (54, 38, 26)),
    (Tissue.CSF, (0, -20, -70), (13, 13, 65)),
    (Tissue.GRAY, (0, -44, -22), (49, 33, 21)),
    (Tissue.WHITE, (0, -38, -22), (32, 20, 10)),
    (Tissue.WHITE, (0, -11, -26), (13, 13, 22)),
    (Tissue.WHITE, (0, -20, -80), (6, 6, 65)),
)
DEEP_GRAY: tuple[Ellipsoid, ...] = (
    (Tissue.GRAY, (8, -6, 5), (7, 13, 9)),
    (Tissue.GRAY, (15, 20, 12), (5, 10, 10)),
    (Tissue.GRAY, (26, 6, 4), (6, 17, 10)),
    (Tissue.CSF, (50, 12, 0), (14, 2.5, 12)),
)  # sides
LATERAL_VENTRICLES: tuple[Ellipsoid, ...] = (
    (Tissue.VENTRICLE, (8, 24, 12), (4.5, 14, 9)),
    (Tissue.VENTRICLE, (11, 0, 21), (6, 28, 7)),
    (Tissue.VENTRICLE, (20, -30, 10), (7, 16, 11)),
    (Tissue.VENTRICLE, (21, -50, 8), (4, 14, 5)),
)  # sides
MIDLINE_VENTRICLES: tuple[Ellipsoid, ...] = (
    (Tissue.VENTRICLE, (0, -2, 0), (2.2, 13, 9)),
    (Tissue.VENTRICLE, (0, -27, -26), (6, 5, 8)),
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
