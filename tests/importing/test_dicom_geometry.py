"""DICOM: slices in their order in space, turned as they are displayed, irregular stacks reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonybrains.importing.dicom.geometry import as_displayed, plane_of
from tests.support.dicom_files import read, stack, write

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
PIXELS[2, 3] = -1000  # air


def flat(count: int) -> Any:
    """Slices that differ in one value only."""
    volume = np.broadcast_to(PIXELS, (count, 3, 4)) + 1024
    volume[:, 0, 0] += np.arange(count)
    return volume


def test_slices_are_ordered_by_place_not_by_name_or_number(tmp_path: Path) -> None:
    """Names and instance numbers are random; the order is that along the normal, in mm."""
    heights = [-12.5, -7.5, -2.5, 2.5, 7.5]
    stack(tmp_path, np.stack([PIXELS + 100 * k for k in range(5)]), [(3.0, 4.0, z) for z in heights])
    slices, notices = read(tmp_path)
    assert not notices
    assert [item.order for item in slices] == heights
    assert [int(item.values[0, 0]) for item in slices] == [100 * k - 1024 for k in range(5)]


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
@given(swap=st.booleans(), mirror=st.tuples(st.booleans(), st.booleans()), degrees=st.floats(-40, 40))
def test_slices_are_turned_to_the_radiological_convention(
    right: tuple[int, ...], down: tuple[int, ...], swap: bool, mirror: tuple[bool, bool], degrees: float
) -> None:
    """Stored mirrored, turned by 90° or tilted, a slice comes out with the patient's sides where they belong."""
    image, spacing = PIXELS.astype(np.float32), (0.5, 2.0)
    along_row, along_column = np.array(right, float), np.array(down, float)
    tilted = np.cos(np.radians(degrees)) * along_column + np.sin(np.radians(degrees)) * np.cross(
        along_row, along_column
    )
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


def warning(folder: Path, positions: Any, **elements: Any) -> str:
    """The text of the one warning that a stack of slices gives, "" if it gives none; all its slices must be there."""
    stack(folder, flat(len(positions)), positions, **elements)
    slices, notices = read(folder)
    assert len(slices) == len(positions)
    assert [item.order for item in slices] == sorted(item.order for item in slices)
    assert all(item.kind == "warning" for item in notices)
    assert len(notices) <= 1
    return notices[0].reason if notices else ""


def test_regular_stacks_give_no_warning(tmp_path: Path) -> None:
    """Positions that are rounded, run down, or are those of an oblique but straight stack are regular."""
    assert warning(tmp_path / "a", [(0, 0, -round(0.625 * k, 1)) for k in range(20)]) == ""
    normal = np.array([0, 0.6, 0.8])
    oblique = [10 + 3.3 * k * normal for k in range(5)]
    assert warning(tmp_path / "b", oblique, ImageOrientationPatient=[1, 0, 0, 0, 0.8, -0.6]) == ""
    assert warning(tmp_path / "c", [(0, 0, 0)]) == ""


def test_uneven_distances_are_reported_with_numbers(tmp_path: Path) -> None:
    """4 mm, then 7 mm slices in one series, as in older head CT."""
    text = warning(tmp_path, [(0, 0, z) for z in (0, 4, 8, 12, 19, 26)])
    assert "from 4.00 to 7.00 mm (median 4.00 mm)" in text
    assert "missing" not in text


def test_missing_slices_are_counted(tmp_path: Path) -> None:
    """Distances that are multiples of the usual one mean lost files."""
    assert "3 slices seem to be missing" in warning(tmp_path, [(0, 0, 5.0 * k) for k in (0, 1, 2, 4, 5, 8, 9)])


def test_gantry_tilt_is_reported_in_degrees(tmp_path: Path) -> None:
    """Slices that are tilted against the direction in which they are stacked; order is along the normal."""
    tilt = np.radians(12.0)
    text = warning(
        tmp_path, [(0, 0, 5.0 * k) for k in range(6)], ImageOrientationPatient=[1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)]
    )
    assert "sheared by 12.0°" in text
    assert "distances" not in text
    assert [item.order for item in read(tmp_path)[0]] == pytest.approx([5 * k * np.cos(tilt) for k in range(6)])


def test_slices_at_one_place_are_kept_with_a_warning(tmp_path: Path) -> None:
    """Time points of one series: nothing is dropped, and the distances are those between places."""
    text = warning(tmp_path, [(0, 0, z) for z in (0, 0, 5, 5, 10, 10)])
    assert "6 slices lie at 3 places" in text
    assert "distances" not in text


def test_echoes_and_orientations_of_a_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    """Both echoes of each place, and a second orientation, under one SeriesInstanceUID: three regular volumes."""
    for echo, gain in ((10, 1), (90, 3)):
        bright = flat(4) * gain
        stack(tmp_path / str(echo), bright, [(0, 0, 5.0 * k) for k in range(4)], "MR", EchoTime=echo, EchoNumbers=1)
    stack(
        tmp_path / "c", flat(3), [(0, 5.0 * k, 0) for k in range(3)], "MR", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
    )
    slices, notices = read(tmp_path)
    assert not notices
    volumes = {item.series: [i for i in slices if i.series == item.series] for item in slices}
    assert sorted(len(items) for items in volumes.values()) == [3, 4, 4]
    first, second = (next(i for i in slices if i.attributes.get("echo_time_ms") == echo) for echo in (10.0, 90.0))
    assert second.high == pytest.approx(3 * first.high)


def test_nearly_equal_orientations_are_one_volume(tmp_path: Path) -> None:
    """Rounding of the cosines from slice to slice does not split a series."""
    for k in range(4):
        angle = np.radians(0.005 * k)
        cosines = [1, 0, 0, 0, float(np.cos(angle)), float(-np.sin(angle))]
        write(tmp_path / f"{k}", PIXELS, ImagePositionPatient=[0, 0, 5 * k], ImageOrientationPatient=cosines)
    slices, notices = read(tmp_path)
    assert not notices
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
    assert sorted((item.kind, Path(item.file).name) for item in notices) == [
        ("skipped", "d"),
        ("skipped", "e"),
        ("warning", "b"),
    ]


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
