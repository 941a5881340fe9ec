"""Where an exported slice lies: in millimetres and in the directions of DICOM, as far as its set knows.

Directions are x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1). A set shows its slices as a
radiologist sees them (docs/import.md), so that the plane of a slice says where its rows and columns point. There is no
common origin: the middle of a slice is put at x = y = z = 0, but for its distance along the stack where that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..imageset import Row

Vector = tuple[float, float, float]
LEFT, BACK, DOWN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)
SHOWN: dict[str, tuple[Vector, Vector]] = {"sagittal": (BACK, DOWN), "coronal": (LEFT, DOWN), "axial": (LEFT, BACK)}
"""What a row of pixels points along, and what a column does, by plane."""
FIELD_OF_VIEW, THICKNESS, POSITION = "field_of_view_mm", "slice_thickness_mm", "slice_position_mm"
"""Columns of a set that place its slices: width of the image, thickness, and place along the normal of the plane."""


@dataclass(frozen=True)
class Geometry:
    """spacing_mm: of rows and columns alike; along: directions of a row and a column; each None where not known."""

    shape: tuple[int, int]
    spacing_mm: float | None
    along: tuple[Vector, Vector] | None
    thickness_mm: float | None
    position_mm: float | None

    @classmethod
    def of(cls, row: Row, shape: tuple[int, int], field_of_view_mm: float | None) -> Geometry:
        """That of a row of a set; field_of_view_mm is taken where the row has none of its own."""
        width, thickness, position = (_number(row[name]) for name in (FIELD_OF_VIEW, THICKNESS, POSITION))
        width = width or field_of_view_mm
        along = SHOWN.get(str(row["plane"]))
        return cls(shape, width / shape[1] if width else None, along, thickness, position)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector along which slices of this plane are stacked (3,); z where the plane is not known."""
        along = self.along or SHOWN["axial"]
        return np.cross(*along)

    @property
    def corner_mm(self) -> NDArray[np.float64] | None:
        """The middle of the first pixel (3,); None where plane or spacing is not known."""
        if self.along is None or self.spacing_mm is None:
            return None
        across, down = (np.array(one) for one in self.along)
        height, width = self.shape
        middle = self.normal * (self.position_mm or 0.0)
        return middle - self.spacing_mm * (across * (width - 1) / 2 + down * (height - 1) / 2)


def _number(value: object) -> float | None:
    return value if isinstance(value, float) and np.isfinite(value) else None
