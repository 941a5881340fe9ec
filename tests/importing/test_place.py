"""Where slices lie: their width, stack and place survive the import, as far as the source knows them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from phonybrains.imageset import ImageSet
from phonybrains.importing.config import ImportConfig
from phonybrains.record import read_record
from tests.support.dicom_files import stack, write
from tests.support.imports import run

CONFIG = ImportConfig(size=32, modality="MR", empty_below=0)
CORONAL_FROM_BEHIND = [-1.0, 0, 0, 0, 0, -1.0]


def pictures(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Slices of which no two are alike, (N, H, W)."""
    return np.random.default_rng(0).integers(1, 1000, (n, *shape)).astype(np.uint16)


def imported(folder: Path) -> ImageSet:
    run(folder, folder.with_name("set"), CONFIG)
    return ImageSet.open(folder.with_name("set"))


@pytest.mark.parametrize("orientation", [[1.0, 0, 0, 0, 0, -1.0], CORONAL_FROM_BEHIND])
def test_dicom_slices_keep_width_and_place(tmp_path: Path, orientation: list[float]):
    """The width is that of the padded square; places count to the back, also where the file's count to the front."""
    places = [(0.0, 4.0 * n, 0.0) for n in range(3)]
    stack(
        tmp_path / "in", pictures(3, (32, 16)), places, "MR", ImageOrientationPatient=orientation, PixelSpacing=[2, 2]
    )
    found = imported(tmp_path / "in")
    assert {(row["field_of_view_mm"], row["stack"], row["plane"]) for row in found.rows} == {(64.0, 1.0, "coronal")}
    assert sorted(row["slice_position_mm"] for row in found.rows) == [0, 4, 8]
    assert read_record(found.folder)["results"]["field_of_view_mm"] == {"MR": 64.0}


def test_volumes_keep_width_and_place(tmp_path: Path):
    """NIfTI's axes run to the front, so places of coronal slices fall as they go on; another volume is stack 2."""
    (tmp_path / "in").mkdir()
    for name in ("a_T1w.nii", "b_T1w.nii"):
        volume = pictures(12, (12, 12)).transpose(1, 0, 2)[:, :4] * (1 + (name[0] == "b"))
        nibabel.save(nibabel.Nifti1Image(volume.astype(np.int16), np.diag([2.0, 5.0, 2.0, 1])), tmp_path / "in" / name)
    found = imported(tmp_path / "in")
    first = [row for row in found.rows if row["stack"] == 1]
    assert (len(found), len(first)) == (8, 4)
    assert {row["field_of_view_mm"] for row in found.rows} == {24.0}
    assert [row["slice_position_mm"] for row in first] == [0, -5, -10, -15]


def test_what_no_source_says_is_in_no_column(tmp_path: Path):
    """DICOM without PixelSpacing and place gives neither column nor a line in the record."""
    for n, pixels in enumerate(pictures(2, (16, 16))):
        gone = dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"))
        write(tmp_path / "in" / str(n), pixels, "MR", InstanceNumber=n, **gone)
    found = imported(tmp_path / "in")
    assert not {"field_of_view_mm", "stack", "slice_position_mm"} & set(found.rows[0].attributes)
    assert "field_of_view_mm" not in read_record(found.folder)["results"]


def test_sets_that_are_joined_keep_their_stacks_apart(tmp_path: Path):
    """Stack 1 of one set is not stack 1 of another."""
    for name in "ab":
        values = pictures(2, (16, 16)) + ord(name)
        stack(tmp_path / f"in-{name}", values, [(0, 0, 0), (0, 0, 3)], "MR", SeriesInstanceUID=f"1.2.{ord(name)}")
        run(tmp_path / f"in-{name}", tmp_path / name, CONFIG)
    run([tmp_path / "a", tmp_path / "b"], tmp_path / "both", CONFIG)
    rows = ImageSet.open(tmp_path / "both").rows
    assert [(row["stack"], row["slice_position_mm"]) for row in rows] == [(1, 0), (1, 3), (2, 0), (2, 3)]
