"""DICOM: mosaics of Siemens and grids of United Imaging become the slices that they were made of."""

from __future__ import annotations

import gzip
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.nicom import dicomwrappers
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from tests.support.dicom_files import clean, heights, image, read, same_values, save, with_elements

MOSAIC = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
SIEMENS = Path(nibabel.__file__).parent / "nicom/tests/data/siemens_dwi_0.dcm.gz"


def grid(volume: Any) -> Any:
    """(N, H, W) as one picture, row by row."""
    count, height, width = volume.shape
    side = math.ceil(math.sqrt(count))
    whole = np.zeros((side * height, side * width), volume.dtype)
    for index, pixels in enumerate(volume):
        top, left = index // side * height, index % side * width
        whole[top : top + height, left : left + width] = pixels
    return whole


def volume(count: int) -> Any:
    return np.arange(count * 12 * 10, dtype=np.uint16).reshape(count, 12, 10) + 100


def uih(pixels: Any, positions: Any, number: int | None = None) -> Dataset:
    """A VFRAME grid as United Imaging writes it: a private sequence with the position of each slice."""
    ds = image(pixels, "MR", ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"], SpacingBetweenSlices=4.0)
    block = ds.private_block(0x0065, "Image Private Header", create=True)
    if number is not None:
        block.add_new(0x50, "DS", str(number))
    items = [with_elements(ImagePositionPatient=list(position)) for position in positions]
    if items:
        block.add_new(0x51, "SQ", Items(items))
    return ds


@pytest.mark.skipif(not SIEMENS.is_file(), reason="nibabel was installed without its test files")
def test_a_siemens_mosaic_with_a_real_header_gives_the_slices_that_nibabel_gives(tmp_path: Path) -> None:
    """48 slices of 128×128: values, order, spacing and places are those of nibabel's MosaicWrapper."""
    ds = dcmread(BytesIO(gzip.decompress(SIEMENS.read_bytes())))
    ds.PixelData = np.random.default_rng(0).integers(0, 4000, (896, 896), np.uint16).tobytes()  # its own were wiped
    ds.save_as(tmp_path / "a")
    wrapper = dicomwrappers.wrapper_from_data(ds)
    expected = np.asarray(wrapper.get_data())
    slices = clean(tmp_path)
    assert len(slices) == 48
    same_values(slices, np.moveaxis(expected, 2, 0))
    normal = np.asarray(wrapper.slice_normal)
    first = float(np.asarray(wrapper.image_position) @ normal)
    np.testing.assert_allclose([item.order for item in slices], first + 3.0 * np.arange(48), rtol=0, atol=0.01)


def test_a_uih_grid_is_taken_apart_by_its_sequence_of_positions(tmp_path: Path) -> None:
    """Five slices in a grid of nine, numbered from head to foot: each has its own pixels at its own place."""
    true = volume(5)
    save(uih(grid(true), heights(5, -4.0)), tmp_path / "a")
    slices = clean(tmp_path)
    assert [item.order for item in slices] == [-16, -12, -8, -4, 0]
    same_values(slices, true[::-1])
    assert len({(item.low, item.high) for item in slices}) == 1


def test_a_grid_whose_number_alone_is_known_keeps_the_order_of_its_tiles(tmp_path: Path) -> None:
    """Without positions the tiles order the slices, and a warning says so."""
    true = volume(4)
    save(uih(grid(true), [], number=4), tmp_path / "a")
    slices, (notice,) = read(tmp_path)
    same_values(slices, true)
    assert [item.order for item in slices] == [0, 4, 8, 12]
    assert (notice.kind, "no position for each slice" in notice.reason) == ("warning", True)


def test_siemens_number_of_images_outside_the_csa_header_is_enough(tmp_path: Path) -> None:
    """(0019,xx0A) tells how many; the places follow from that of the grid, whose own is of its enlarged corner."""
    true = volume(3)
    ds = image(grid(true), "MR", ImageType=MOSAIC, SpacingBetweenSlices=3.0, ImagePositionPatient=[0, 0, 10.0])
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 3)
    save(ds, tmp_path / "a")
    slices = clean(tmp_path)
    assert [item.order for item in slices] == [10, 13, 16]
    same_values(slices, true)


@pytest.mark.parametrize("number", [None, 0, -3, 5, 10**9])
def test_what_cannot_be_taken_apart_is_left_out(tmp_path: Path, number: int | None) -> None:
    """No number, or one that does not fit the picture: one line, and no slice."""
    save(uih(np.arange(400, dtype=np.uint16).reshape(20, 20), [], number), tmp_path / "a")
    save(image(volume(1)[0], "MR", ImageType=MOSAIC), tmp_path / "b")
    slices, notices = read(tmp_path)
    assert not slices
    assert [(item.kind, "mosaic of many slices" in item.reason) for item in notices] == [("skipped", True)] * 2


def test_each_file_of_a_time_series_of_mosaics_is_one_time_point(tmp_path: Path) -> None:
    """Two mosaics of one series: all slices of both, ordered by place; the file is decoded once for all its tiles."""
    for point in range(2):
        save(uih(grid(volume(4) + point), heights(4, 4.0)), tmp_path / f"{point}")
    slices, notices = read(tmp_path)
    assert [item.order for item in slices] == [0, 0, 4, 4, 8, 8, 12, 12]
    assert ["8 slices lie at 4 places" in item.reason for item in notices] == [True]
