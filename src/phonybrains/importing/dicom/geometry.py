"""Where a slice lies in the patient: its plane, its place along the normal, and whether a stack is regular.

Directions are those of DICOM: x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.spatial import get_normal_vector
from numpy.typing import NDArray

from ...wording import count_of

Orientation = tuple[float, float, float, float, float, float]

PLANES = ("sagittal", "coronal", "axial")  # by the axis of the normal
OBLIQUE_DEGREES = 30.0
TILT_DEGREES = 1.0
SAME_PLACE_MM = 0.01
ROUNDING_MM = 0.11  # some scanners write positions to a tenth of a millimetre
LEFT, BACK, DOWN = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
SHOWN = {"sagittal": (BACK, DOWN), "coronal": (LEFT, DOWN), "axial": (LEFT, BACK)}  # what points right and down


def is_orientation(values: Sequence[float]) -> bool:
    """Whether six numbers are two perpendicular unit vectors, to within a hundredth."""
    along_row, along_column = np.array(values[:3]), np.array(values[3:])
    lengths = np.array([np.linalg.norm(along_row), np.linalg.norm(along_column)])
    return bool(np.all(np.abs(lengths - 1) < 0.01) and abs(along_row @ along_column) < 0.01)


def same_orientation(a: Orientation | None, b: Orientation | None) -> bool:
    """Whether rows and columns of two slices point the same way, to within about 2.5°, or neither is known."""
    if a is None or b is None:
        return a is b
    return bool(np.dot(a[:3], b[:3]) > 0.999 and np.dot(a[3:], b[3:]) > 0.999)


def plane_of(orientation: Orientation) -> str:
    """axial, coronal or sagittal, or `oblique` if the normal is more than 30° off each of them."""
    normal = np.abs(get_normal_vector(orientation))
    return "oblique" if normal.max() < np.cos(np.radians(OBLIQUE_DEGREES)) else PLANES[int(normal.argmax())]


def distance_along_normal(position: Sequence[float], orientation: Orientation) -> float:
    """The place of a slice in its stack, in mm: its position projected on the normal of its plane."""
    return float(np.dot(get_normal_vector(orientation), position))


def place_as_shown(position: Sequence[float], orientation: Orientation) -> float:
    """The same along the normal of the slice as displayed: to the head, the back or, of a sagittal one, the right."""
    normal = get_normal_vector(orientation)
    right, down = SHOWN[PLANES[int(np.abs(normal).argmax())]]
    return distance_along_normal(position, orientation) * float(np.sign(normal @ np.cross(right, down)))


def as_displayed(
    values: NDArray[np.float32], spacing_mm: tuple[float, float], orientation: Orientation
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Turn or mirror (H, W) values to the radiological convention, without resampling; gives values and spacing.

    Axial: front up, the patient's right on the left; coronal: head up, right on the left; sagittal: head up, front on
    the left. Oblique slices as the plane they are nearest to. Scanners mostly store slices so; then nothing changes.
    """
    nearest = PLANES[int(np.abs(get_normal_vector(orientation)).argmax())]
    right, down = SHOWN[nearest]
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    if abs(along_row @ right) < abs(along_column @ right):
        values, spacing_mm = values.T, (spacing_mm[1], spacing_mm[0])
        along_row, along_column = along_column, along_row
    if along_row @ right < 0:
        values = values[:, ::-1]
    if along_column @ down < 0:
        values = values[::-1]
    return np.ascontiguousarray(values), spacing_mm


def irregularities(positions: Sequence[Sequence[float]], orientation: Orientation) -> list[str]:
    """What keeps a stack from being a regular volume, in words with numbers: empty for a regular one.

    Recognises several slices at one place, varying distances, gaps of missing slices, and a stack that is not
    perpendicular to its slices, as a tilted gantry makes it.
    """
    points = np.array(positions, np.float64)
    places = points @ get_normal_vector(orientation)
    points, places = points[np.argsort(places, kind="stable")], np.sort(places)
    first = np.concatenate([[True], np.diff(places) > SAME_PLACE_MM])
    found: list[str] = []
    if not first.all():
        found.append(
            f"{len(places)} slices lie at {count_of(int(first.sum()), 'place')} (several time points?); all are kept"
        )
    steps = np.diff(places[first])
    if len(steps) > 1:
        found += _uneven_steps(steps)
    if len(steps) > 0:
        found += _tilt(points[-1] - points[0], places[-1] - places[0])
    return found


def _uneven_steps(steps: NDArray[np.float64]) -> list[str]:
    """In words, if distances differ by more than 5 % of the median (and more than positions are rounded by)."""
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() <= max(0.05 * usual, ROUNDING_MM):
        return []
    text = f"distances between slices vary from {steps.min():.2f} to {steps.max():.2f} mm (median {usual:.2f} mm)"
    multiples = np.rint(steps / usual)
    if multiples.min() >= 1 and np.abs(steps - multiples * usual).max() <= 0.05 * usual:
        text += f": {count_of(int((multiples - 1).sum()), 'slice seems', 'slices seem')} to be missing"
    return [text]


def _tilt(stack: NDArray[np.float64], height_mm: float) -> list[str]:
    """In words, if the direction of stacking is more than 1° off the normal of the slices."""
    sideways = np.sqrt(max(float(stack @ stack) - height_mm**2, 0.0))
    degrees = float(np.degrees(np.arctan2(sideways, height_mm)))
    return [f"the stack is sheared by {degrees:.1f}° (gantry tilt)"] if degrees > TILT_DEGREES else []
