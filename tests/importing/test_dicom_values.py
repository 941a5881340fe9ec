"""DICOM: what the values of pixels are, where a header says too little of them, or says it unusually."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import dcmread, uid

from phonybrains.importing.dicom import volume as dicom_volume
from phonybrains.importing.readers import kind_of
from tests.support.dicom_files import clean, enhanced_mr, heights, image, read, same_values, save, write
from tests.support.imports import told

JPEG12 = Path(pydicom.__file__).parent / "data/test_files/JPGExtended.dcm"


def head(low: int, high: int, dtype: Any = np.int16) -> Any:
    """A disc of tissue that rises from left to right, in air of `low`, 40×40."""
    y, x = np.mgrid[:40, :40]
    disc = (x - 20) ** 2 + (y - 20) ** 2 < 15**2
    return np.where(disc, high // 2 + x * high // 80, low).astype(dtype)


def outside(pixels: Any) -> Any:
    """What lies outside a round field of view."""
    y, x = np.mgrid[:40, :40]
    return (x - 20) ** 2 + (y - 20) ** 2 > 19**2


def test_a_ct_without_air_is_doubted(tmp_path: Path) -> None:
    """Values that begin at 0 where 1024 was not taken off again: a warning with the lowest of them."""
    write(tmp_path / "bad", head(24, 1100), RescaleIntercept=0)
    write(tmp_path / "good", head(24, 1100), SeriesInstanceUID="1.2.3")
    slices, notices = read(tmp_path)
    assert len(slices) == 2
    assert told(notices) == [("warning", "bad")]
    assert notices[0].reason == "no air among its values (the lowest is 24): they may not be HU"


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_below_air_is_no_air(tmp_path: Path, padding: int, tagged: bool) -> None:
    """Padding does not hide that a CT has no air, and is as dark as air where it has."""
    bad, good = head(24, 1100), head(-1000, 80)
    bad[outside(bad)] = good[outside(good)] = padding
    told: dict[str, Any] = {"RescaleIntercept": 0} | ({"PixelPaddingValue": padding} if tagged else {})
    write(tmp_path / "bad", bad, **told)
    write(tmp_path / "good", good, SeriesInstanceUID="1.2.3", **told)
    slices, (notice,) = read(tmp_path)
    assert Path(notice.file).name == "bad"
    assert "the lowest is 24" in notice.reason
    for item in slices:
        assert set(item.values[outside(bad)].tolist()) == {-1024}


@pytest.mark.parametrize("padding", [32767, 4095])
def test_unmarked_padding_above_all_values_is_no_bone(tmp_path: Path, padding: int) -> None:
    """A circle of the highest value that a pixel can have becomes air, and tissue stays as it is."""
    pixels = head(-1000, 80)
    pixels[outside(pixels)] = padding
    write(tmp_path / "a", pixels, RescaleIntercept=0)
    item = read(tmp_path)[0][0]
    assert item.values[outside(pixels)].max() == -1024
    np.testing.assert_array_equal(item.values[~outside(pixels)], pixels[~outside(pixels)])


@pytest.mark.parametrize(("padding", "dtype"), [(32767, np.int16), (65535, np.uint16), (-2000, np.int16)])
def test_unmarked_padding_has_no_part_in_the_range_of_mr(tmp_path: Path, padding: int, dtype: Any) -> None:
    """Black and white of an MR volume are those of the same volume without the padding around it."""
    plain = head(0, 900, dtype)
    padded = plain.copy()
    padded[outside(plain)] = padding
    write(tmp_path / "plain", plain, "MR")
    write(tmp_path / "padded", padded, "MR", SeriesInstanceUID="1.2.3")
    padded_one, plain_one = sorted(read(tmp_path)[0], key=lambda item: item.file)
    assert (padded_one.low, padded_one.high) == pytest.approx((plain_one.low, plain_one.high), rel=0.01)
    same_values([padded_one], [plain_one.values])


def test_saturated_tissue_at_the_edge_is_no_padding(tmp_path: Path) -> None:
    """Fat beside the coil that reaches the highest value of 12 bits has neighbours in value, and stays."""
    pixels = np.minimum(np.tile(np.linspace(0, 6000, 40), (40, 1)), 4095).astype(np.uint16)
    write(tmp_path / "a", pixels, "MR", BitsStored=12, HighBit=11)
    same_values(read(tmp_path)[0], [pixels])


def write_rgb(path: Path, channels: Any, planar: int) -> None:
    """Three channels, interleaved or (planar) one after the other."""
    more = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": planar}
    pixels = np.stack(channels, axis=0 if planar else -1)
    write(path, channels[0], "MR", PixelData=pixels.tobytes(), **more)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("dtype", "brightest"), [(np.uint8, 200), (np.uint16, 40_000)])
def test_rgb_that_is_gray_is_read_as_gray(tmp_path: Path, planar: int, dtype: Any, brightest: int) -> None:
    """Three equal channels, interleaved or one after the other, of 8 or 16 bits, are one; all 16 bits count."""
    gray = head(0, brightest, dtype)
    write_rgb(tmp_path / "a", [gray] * 3, planar)
    same_values(clean(tmp_path), [gray])


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_that_is_coloured_is_left_out(tmp_path: Path, planar: int) -> None:
    """A colour FA map is no gray image, however its channels lie."""
    gray = head(0, 40_000, np.uint16)
    write_rgb(tmp_path / "a", [gray, gray // 2, gray // 3], planar)
    slices, (notice,) = read(tmp_path)
    assert not slices
    assert "colour image" in notice.reason


def test_pixel_aspect_ratio_stands_in_for_spacing(tmp_path: Path) -> None:
    """Height over width of a pixel (PS3.3 C.7.6.3.1.7), with a warning; PixelSpacing goes before it."""
    write(tmp_path / "a", head(0, 900), "MR", PixelSpacing=None, PixelAspectRatio=[2, 1])
    write(tmp_path / "b", head(0, 900), "MR", PixelAspectRatio=[2, 1], SeriesInstanceUID="1.2.3")
    slices, notices = read(tmp_path)
    assert {Path(item.file).name: item.spacing_mm for item in slices} == {"a": (2.0, 1.0), "b": (1.0, 1.0)}
    assert ["PixelAspectRatio" in item.reason for item in notices] == [True]


def test_blank_slices_are_left_out_and_told(tmp_path: Path) -> None:
    """An even slice, or one that is all padding, is no picture; the range is that of the others."""
    write(tmp_path / "a", head(0, 900), "MR")
    for place, (name, value) in enumerate((("b", 500), ("c", -2000)), start=1):
        even = np.full((40, 40), value, np.int16)
        write(tmp_path / name, even, "MR", PixelPaddingValue=-2000, ImagePositionPatient=[0, 0, place])
    slices, notices = read(tmp_path)
    assert [Path(item.file).name for item in slices] == ["a"]
    assert told(notices) == [("note", "b"), ("note", "c")]


def test_one_instance_uid_on_different_pixels_is_as_many_images(tmp_path: Path) -> None:
    """The pixels decide what is a copy: six images with one SOPInstanceUID stay six; a true copy goes."""
    for n in range(6):
        write(tmp_path / str(n), head(0, 800 + n), "MR", SOPInstanceUID="1.2.3.4", ImagePositionPatient=[0, 0, n])
    shutil.copy(tmp_path / "3", tmp_path / "copy")
    slices, notices = read(tmp_path)
    assert len(slices) == 6
    assert told(notices) == [("duplicate", "copy"), ("warning", "0")]
    assert "6 images with different pixels share its SOPInstanceUID" in notices[-1].reason


def test_instance_numbers_order_what_has_no_place(tmp_path: Path) -> None:
    """Neither position nor SliceLocation: InstanceNumber orders, with a warning; without that a file is left out."""
    for name, number in (("a", 10), ("b", 2), ("c", 0)):
        write(tmp_path / name, head(0, 800 + number), "MR", ImagePositionPatient=None, InstanceNumber=number)
    write(tmp_path / "d", head(0, 900), "MR", ImagePositionPatient=None, SeriesInstanceUID="1.2.3")
    slices, notices = read(tmp_path)
    assert [Path(item.file).name for item in slices] == ["c", "b", "a"]
    assert told(notices) == [("skipped", "d"), ("warning", "c")]
    assert any("ordered by InstanceNumber" in item.reason for item in notices)


def test_frames_without_a_place_keep_their_order(tmp_path: Path) -> None:
    """An enhanced image whose functional groups tell no position: its frames follow each other, with a warning."""
    volume = np.stack([head(0, 900 - 50 * n) for n in range(4)])
    ds = enhanced_mr(volume, heights(4))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    save(ds, tmp_path / "a")
    slices, (notice,) = read(tmp_path)
    same_values(slices, volume)
    assert [item.order for item in slices] == [0, 1, 2, 3]
    assert "ordered by SliceLocation or frame number" in notice.reason


@pytest.mark.skipif(not JPEG12.is_file(), reason="pydicom was installed without its test files")
def test_twelve_bit_jpeg_is_decoded(tmp_path: Path) -> None:
    """Process 4 with 12 bits, which pydicom has no decoder for: the values are those of DCMTK and libjpeg."""
    ds = dcmread(JPEG12)
    ds.SOPClassUID, ds.Modality, ds.ImageType = uid.MRImageStorage, "MR", ["ORIGINAL", "PRIMARY", "M"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    save(ds, tmp_path / "a")
    slices, notices = read(tmp_path)
    assert not [item for item in notices if item.kind == "skipped"]
    assert slices[0].values.shape == (1024, 256)
    assert (slices[0].values[420, 140], slices[0].values[230, 120]) == (244, 95)


def test_each_file_of_interleaved_frames_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four enhanced files with one time point each, frames at the same places: four loads, all in order of place."""
    for point in range(4):
        volume = np.stack([head(0, 500 + 50 * n + 9 * point) for n in range(6)])
        save(enhanced_mr(volume, heights(6)), tmp_path / str(point))
    loaded: list[Path] = []
    load = dicom_volume.load
    monkeypatch.setattr(dicom_volume, "load", lambda path: (loaded.append(path), load(path))[1])
    slices, _ = read(tmp_path)
    assert len(loaded) == 4
    assert [item.order for item in slices] == sorted([0, 5, 10, 15, 20, 25] * 4)
    same_values(slices, [head(0, 500 + 10 * int(item.order) + 9 * int(Path(item.file).name)) for item in slices])


def test_slices_that_wait_on_disk_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume larger than what is kept in memory comes out as one that is smaller."""
    for n in range(5):
        elements = {"ImagePositionPatient": [0, 0, -n], "PhotometricInterpretation": "MONOCHROME1"}
        write(tmp_path / str(n), head(0, 800 + n), "MR", **elements)
    in_memory, _ = read(tmp_path)
    monkeypatch.setattr(dicom_volume, "IN_MEMORY", 100)
    on_disk, _ = read(tmp_path)
    same_values(on_disk, [item.values for item in in_memory])
    facts = [[(item.low, item.high, item.order) for item in slices] for slices in (in_memory, on_disk)]
    assert facts[0] == facts[1]


def test_a_dicom_file_may_begin_like_a_tiff(tmp_path: Path) -> None:
    """DICM at byte 128 decides, whatever the 128 free bytes before it hold (PS3.10 7.1)."""
    for start in (b"II*\0", b"MM\0*", b"\x89PNG\r\n", b"BM", b"\xff\xd8\xff", b"\x1f\x8b", b"PK"):
        ds = image(head(24, 1100))
        ds.preamble = start + bytes(128 - len(start))
        path = save(ds, tmp_path / "a")
        assert kind_of(path.read_bytes()[:512], path.name) == "dicom"
