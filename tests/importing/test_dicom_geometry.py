"""DICOM: slices in their order in space, turned as they are displayed, irregular stacks reported."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonybrains.importing.dicom.geometry import as_displayed, plane_of
from tests.support.dicom_files import clean, heights, read, stack, write
from tests.support.imports import told

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
PIXELS[2, 3] = -1000  # air


def flat(count: int) -> Any:
    """Slices that differ in one value only."""
    volume = np.broadcast_to(PIXELS, (count, 3, 4)) + 1024
    volume[:, 0, 0] += np.arange(count)
    return volume


def test_slices_are_ordered_by_place_not_by_name_or_number(tmp_path: Path) -> None:
    """Names and instance numbers are random; the order is that along the normal, in mm."""
    places = [-12.5, -7.5, -2.5, 2.5, 7.5]
    stack(tmp_path, np.stack([PIXELS + 100 * k for k in range(5)]), [(3.0, 4.0, z) for z in places])
    found = [(item.order, int(item.values[0, 0])) for item in clean(tmp_path)]
    assert found == [(place, 100 * k - 1024) for k, place in enumerate(places)]


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((1, 0, 0, 0, 0.948, -0.317), "axial"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((0.9848, 0.1736, 0, 0, 0, -1), "coronal"),
        ((1, 0, 0, 0, 0.707, -0.707), "oblique"),
    ],
)
def test_the_plane_is_that_of_the_normal(tmp_path: Path, orientation: tuple[float, ...], plane: str) -> None:
    """Up to 30° off, a slice still counts as axial, coronal or sagittal; beyond, as oblique."""
    write(tmp_path / "a", PIXELS, ImageOrientationPatient=list(orientation))
    assert read(tmp_path)[0][0].attributes["plane"] == plane


AXIAL, CORONAL, SAGITTAL = ((1, 0, 0), (0, 1, 0)), ((1, 0, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1))


@pytest.mark.parametrize(("right", "down"), [AXIAL, CORONAL, SAGITTAL])
@settings(max_examples=40)
@given(swap=st.booleans(), mirror=st.tuples(st.booleans(), st.booleans()), degrees=st.floats(-40, 40))
def test_slices_are_turned_to_the_radiological_convention(
    right: tuple[int, ...], down: tuple[int, ...], swap: bool, mirror: tuple[bool, bool], degrees: float
) -> None:
    """Stored mirrored, turned by 90° or tilted, a slice comes out with the patient's sides where they belong."""
    image, spacing = PIXELS.astype(np.float32), (0.5, 2.0)
    along_row, along_column = np.array(right, float), np.array(down, float)
    angle = np.radians(degrees)
    tilted = np.cos(angle) * along_column + np.sin(angle) * np.cross(along_row, along_column)
    stored, cosines, sizes = image, [along_row, tilted], spacing
    if mirror[0]:
        stored, cosines = stored[:, ::-1], [-cosines[0], cosines[1]]
    if mirror[1]:
        stored, cosines = stored[::-1], [cosines[0], -cosines[1]]
    if swap:
        stored, cosines, sizes = stored.T, cosines[::-1], spacing[::-1]
    orientation: Any = tuple(np.concatenate(cosines))
    shown, shown_spacing = as_displayed(stored, sizes, orientation)
    np.testing.assert_array_equal(shown, image)
    assert shown_spacing == spacing
    assert plane_of(orientation) in ("axial", "coronal", "sagittal", "oblique")


def warning(folder: Path, places: Any, **elements: Any) -> str:
    """The text of the one warning that a stack of slices gives, "" if it gives none; all its slices must be there."""
    positions = [(0, 0, place) if np.isscalar(place) else place for place in places]
    stack(folder, flat(len(positions)), positions, **elements)
    slices, notices = read(folder)
    assert len(slices) == len(positions)
    assert [item.order for item in slices] == sorted(item.order for item in slices)
    assert [item.kind for item in notices] in ([], ["warning"])
    return "".join(item.reason for item in notices)


def test_regular_stacks_give_no_warning(tmp_path: Path) -> None:
    """Positions that are rounded, run down, or are those of an oblique but straight stack are regular."""
    assert warning(tmp_path / "a", [-round(0.625 * k, 1) for k in range(20)]) == ""
    oblique = [10 + 3.3 * k * np.array([0, 0.6, 0.8]) for k in range(5)]
    assert warning(tmp_path / "b", oblique, ImageOrientationPatient=[1, 0, 0, 0, 0.8, -0.6]) == ""
    assert warning(tmp_path / "c", [0]) == ""


@pytest.mark.parametrize(
    ("places", "said", "unsaid"),
    [
        ((0, 4, 8, 12, 19, 26), "from 4.00 to 7.00 mm (median 4.00 mm)", "missing"),
        ((0, 5, 10, 20, 25, 40, 45), "3 slices seem to be missing", "places"),
        ((0, 0, 5, 5, 10, 10), "6 slices lie at 3 places", "distances"),
    ],
    ids=["uneven", "missing", "time points"],
)
def test_irregular_stacks_are_kept_and_told_with_numbers(tmp_path: Path, places: Any, said: str, unsaid: str) -> None:
    """4 mm, then 7 mm in one series, as in older head CT; distances that are multiples of the usual one, which mean
    lost files; time points of one series, between whose places the distances are."""
    text = warning(tmp_path, places)
    assert said in text
    assert unsaid not in text


def test_gantry_tilt_is_reported_in_degrees(tmp_path: Path) -> None:
    """Slices that are tilted against the direction in which they are stacked; order is along the normal."""
    tilt = np.radians(12.0)
    orientation = [1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)]
    text = warning(tmp_path, [5.0 * k for k in range(6)], ImageOrientationPatient=orientation)
    assert "sheared by 12.0°" in text
    assert "distances" not in text
    assert [item.order for item in read(tmp_path)[0]] == pytest.approx([5 * k * np.cos(tilt) for k in range(6)])


def test_echoes_and_orientations_of_a_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    """Both echoes of each place, and a second orientation, under one SeriesInstanceUID: three regular volumes."""
    for echo, gain in ((10, 1), (90, 3)):
        stack(tmp_path / str(echo), flat(4) * gain, heights(4), "MR", EchoTime=echo, EchoNumbers=1)
    coronal = [(0, 5.0 * k, 0) for k in range(3)]
    stack(tmp_path / "c", flat(3), coronal, "MR", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    slices = clean(tmp_path)
    assert sorted(Counter(item.series for item in slices).values()) == [3, 4, 4]
    high = {item.attributes.get("echo_time_ms"): item.high for item in slices}
    assert high[90.0] == pytest.approx(3 * high[10.0])


def test_nearly_equal_orientations_are_one_volume(tmp_path: Path) -> None:
    """Rounding of the cosines from slice to slice does not split a series."""
    for k in range(4):
        angle = np.radians(0.005 * k)
        cosines = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]
        write(tmp_path / f"{k}", PIXELS, ImagePositionPatient=[0, 0, 5 * k], ImageOrientationPatient=cosines)
    slices = clean(tmp_path)
    assert len({item.series for item in slices}) == 1
    assert [item.order for item in slices] == pytest.approx([0, 5, 10, 15], abs=0.01)


def test_series_names_are_opaque_and_stable(tmp_path: Path) -> None:
    """Nothing of the SeriesInstanceUID is in the name of a series, and a second import gives the same name."""
    write(tmp_path / "a", PIXELS)
    write(tmp_path / "b", PIXELS, SeriesInstanceUID="1.2.3.4.5678")
    first, second = ([item.series for item in read(tmp_path)[0]] for _ in range(2))
    assert first == second
    assert len(set(first)) == 2
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in first)


def test_slice_location_stands_in_for_a_missing_position(tmp_path: Path) -> None:
    """Without ImagePositionPatient SliceLocation orders, with a warning; without both a file is left out."""
    for name, location in (("a", 10.0), ("b", -5.0), ("c", 2.5)):
        write(tmp_path / name, PIXELS, ImagePositionPatient=None, SliceLocation=location)
    write(tmp_path / "d", PIXELS, ImagePositionPatient=None)
    write(tmp_path / "e", PIXELS, ImageOrientationPatient=[0, 0, 0, 0, 0, 0], SeriesInstanceUID="1.2.3")
    slices, notices = read(tmp_path)
    assert [item.order for item in slices] == [-5.0, 2.5, 10.0]
    assert told(notices) == [("skipped", "d"), ("skipped", "e"), ("warning", "b")]


def test_missing_pixel_spacing_is_a_warning(tmp_path: Path) -> None:
    """Square pixels are assumed, and the report says so."""
    write(tmp_path / "a", PIXELS, PixelSpacing=None)
    slices, notices = read(tmp_path)
    assert slices[0].spacing_mm == (1.0, 1.0)
    assert "square pixels assumed" in notices[0].reason


def test_spacing_is_of_rows_then_columns(tmp_path: Path) -> None:
    """The first number of PixelSpacing is the distance of rows (PS3.3 10.7.1.3)."""
    write(tmp_path / "a", PIXELS, PixelSpacing=[0.4, 0.9])
    assert read(tmp_path)[0][0].spacing_mm == (0.4, 0.9)
