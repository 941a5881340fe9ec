"""Where an exported slice lies: in millimetres and in the directions of DICOM, as far as its set knows.

Directions are x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1). A set shows its slices as a
radiologist sees them (docs/import.md), so that the plane of a slice says where its rows and columns point. There is no
common origin: the middle of a slice is put at x = y = z = 0, but for its distance along the stack where that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..imageset import Row

Vector = tuple[float, float, float]
LEFT, BACK, DOWN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)
SHOWN: dict[str, tuple[Vector, Vector]] = {"sagittal": (BACK, DOWN), "coronal": (LEFT, DOWN), "axial": (LEFT, BACK)}
"""What a row of pixels points along, and what a column does, by plane."""
FIELD_OF_VIEW, THICKNESS = "field_of_view_mm", "slice_thickness_mm"
STACK, POSITION = "stack", "slice_position_mm"
"""Columns of a set that place its slices: width of the image, thickness, and of a stack which, and where along it."""


@dataclass(frozen=True)
class Geometry:
    """spacing_mm: of rows and columns alike; along: directions of a row and a column; each None where not known."""

    shape: tuple[int, int]
    spacing_mm: float | None
    along: tuple[Vector, Vector] | None
    thickness_mm: float | None
    position_mm: float | None

    @classmethod
    def of(cls, row: Row, shape: tuple[int, int], width_mm: float | None, thickness_mm: float | None) -> Geometry:
        """That of a row of a set; width and thickness are taken where the row has none of its own."""
        width, thickness, position = (_number(row[name]) for name in (FIELD_OF_VIEW, THICKNESS, POSITION))
        width = width or width_mm
        along = SHOWN.get(str(row["plane"]))
        return cls(shape, width / shape[1] if width else None, along, thickness or thickness_mm, position)

    @property
    def directions(self) -> tuple[Vector, Vector]:
        """What a row and a column point along; as in an axial slice where the plane is not known."""
        return self.along or SHOWN["axial"]

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector along which slices of this plane are stacked (3,)."""
        return np.cross(*self.directions)

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


def are_even(positions_mm: Sequence[float]) -> bool:
    """Whether slices, in the order of their places, are equally far apart, to within a hundredth of that."""
    steps = np.diff(positions_mm)
    return bool(len(steps) and steps.min() > 0 and np.ptp(steps) <= 0.01 * np.median(steps))
