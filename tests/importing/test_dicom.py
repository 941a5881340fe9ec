"""DICOM: values in HU, multi-frame images, compression, DICOMDIR, and the real series in ../shared/data."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import gdcm
import highdicom
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.fileset import FileSet

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.dicom import reader as dicom
from phonybrains.importing.dicom import volume as dicom_volume
from phonybrains.importing.slices import Slice
from tests.support.dicom_files import (
    clean,
    enhanced_mr,
    heights,
    image,
    read,
    same_values,
    save,
    stack,
    with_elements,
    write,
)
from tests.support.places import SHARED
from tests.support.volume_files import read as read_volumes
from tests.support.volume_files import volume as save_nifti


def picture(rows: int = 24, columns: int = 20, dtype: Any = np.int16, offset: int = 0) -> Any:
    """An image without symmetry, between 100 and 1000."""
    y, x = np.mgrid[:rows, :columns]
    return (100 + offset + 37 * y + 2 * x).astype(dtype)


def test_ct_values_are_hu(tmp_path: Path) -> None:
    """Slope and intercept are applied, whether the file stores HU + 1024 without sign or HU with sign."""
    hu = picture() - 500
    hu[0, 0] = -1000
    write(tmp_path / "a", (hu + 1024).astype(np.uint16))
    write(tmp_path / "b", hu, RescaleIntercept=0, SeriesInstanceUID="1.2.3")
    write(tmp_path / "c", hu * 2, RescaleIntercept=0, RescaleSlope=0.5, SeriesInstanceUID="1.2.4")
    slices = clean(tmp_path)
    same_values(slices, [hu] * 3)
    assert {(item.values.dtype.name, item.modality, item.unit, item.low, item.high) for item in slices} == {
        ("float32", "CT", "HU", 0.0, 80.0)
    }


@pytest.mark.parametrize(("bits", "highest"), [(16, -1024 + 65535), (8, 3071)])
def test_the_range_without_a_window_keeps_each_hu(tmp_path: Path, bits: int, highest: int) -> None:
    """16 bits: -1024…64511, so that the slope is 1; 8 bits: the 12-bit range."""
    write(tmp_path / "a", picture())
    item = read(tmp_path, window=None, bits=bits)[0][0]
    assert (item.low, item.high) == (-1024, highest)


def test_padding_and_values_below_air_become_air(tmp_path: Path) -> None:
    """PixelPaddingValue, its range, and what lies below -1024 HU are -1024 HU; a padding value of tissue is not."""
    pixels = picture()
    pixels[0], pixels[1], pixels[2] = -2000, 5000, -1990
    padded = {"RescaleIntercept": 0, "PixelPaddingValue": 5000, "PixelRepresentation": 1}
    write(tmp_path / "a", pixels, **padded)
    write(tmp_path / "b", pixels, SeriesInstanceUID="1.2.3", **(padded | {"PixelPaddingValue": int(pixels[9, 9])}))
    high, tissue = (item.values for item in read(tmp_path)[0])
    assert high[:3].min() == high[:3].max() == -1024
    np.testing.assert_array_equal(high[3:], pixels[3:])
    assert tissue[1].max() == 5000
    assert tissue[9, 9] == pixels[9, 9]


def test_mr_padding_is_dark(tmp_path: Path) -> None:
    """In MR, padding becomes the darkest value of the slice and has no part in the percentiles."""
    pixels = picture(dtype=np.uint16)
    pixels[0] = 60000
    write(tmp_path / "a", pixels, "MR", PixelPaddingValue=59000, PixelPaddingRangeLimit=61000)
    item = read(tmp_path)[0][0]
    assert item.values[0].max() == pixels[1:].min()
    assert item.high <= 1000


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    """12 of 16 bits: overlays in the upper bits are cleared, and negative values get their sign (PS3.5 8.1.1)."""
    pixels = picture()
    twelve = {"BitsStored": 12, "HighBit": 11}
    write(tmp_path / "a", pixels.astype(np.uint16) | 0xA000, RescaleIntercept=0, **twelve)
    write(tmp_path / "b", (-pixels) & 0x0FFF, RescaleIntercept=0, SeriesInstanceUID="1.2.3", **twelve)
    same_values(read(tmp_path)[0], [pixels, -pixels])


def test_padding_beyond_the_stored_bits_is_recognised(tmp_path: Path) -> None:
    """-2000 in an unsigned 12-bit image is padding, not the bone that its lower 12 bits would be."""
    pixels = picture(dtype=np.uint16)
    pixels[0] = 65536 - 2000
    write(tmp_path / "a", pixels, BitsStored=12, HighBit=11, PixelPaddingValue=65536 - 2000)
    values = read(tmp_path)[0][0].values
    assert values[0].max() == -1024
    np.testing.assert_array_equal(values[1:], pixels[1:] - 1024.0)


def test_a_modality_lut_is_applied(tmp_path: Path) -> None:
    """A table in place of slope and intercept maps stored values (PS3.3 C.11.1)."""
    lut = with_elements(LUTDescriptor=[4, 10, 16], ModalityLUTType="HU", LUTData=[0, 100, 50, 7])
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    pixels = np.tile(np.array([[9, 10, 11], [12, 13, 14]], np.uint16), (4, 4))
    write(tmp_path / "a", pixels, ModalityLUTSequence=[lut])
    np.testing.assert_array_equal(read(tmp_path)[0][0].values[:2, :3], [[0, 0, 100], [50, 7, 7]])


def test_monochrome1_mr_is_inverted_and_hu_are_not(tmp_path: Path) -> None:
    """MR that shows low values white is turned round over the volume; HU mean the same however they are shown."""
    true = [picture(dtype=np.uint16) * (k + 1) for k in range(3)]
    true[0][0, 0] = 0
    stack(tmp_path / "mr", [4095 - x for x in true], heights(3), "MR", PhotometricInterpretation="MONOCHROME1")
    same_values(read(tmp_path / "mr")[0], true)
    write(tmp_path / "ct" / "a", true[0], PhotometricInterpretation="MONOCHROME1")
    same_values(read(tmp_path / "ct")[0], [true[0].astype(int) - 1024])


def test_mr_range_is_that_of_the_volume(tmp_path: Path) -> None:
    """All slices of a series share low and high, percentiles of the head, however small it is."""
    volume = np.zeros((4, 40, 40), np.uint16)
    volume[:, 18:22, 18:22] = np.arange(100, 500, 100)[:, None, None] + np.arange(4)
    volume[:, 0, :8] = 3
    stack(tmp_path, volume, heights(4), "MR")
    slices = clean(tmp_path, percentiles=(0, 100))
    assert {(item.low, item.high, item.unit) for item in slices} == {(100.0, 403.0, "a.u.")}


def test_enhanced_mr_frames_are_ordered_and_rescaled_each(tmp_path: Path) -> None:
    """Position and slope come from each frame's functional group, spacing from the shared one."""
    volume = np.stack([picture(offset=k) for k in range(5)])
    order = [3, 0, 4, 1, 2]
    save(enhanced_mr(volume, [heights(5)[k] for k in order], [k + 1.0 for k in range(5)]), tmp_path / "e")
    slices = clean(tmp_path)
    assert [item.order for item in slices] == [0, 5, 10, 15, 20]
    assert {(item.spacing_mm, item.attributes["slice_thickness_mm"]) for item in slices} == {((2.0, 0.5), 4.0)}
    same_values(slices, [volume[frame].astype(np.float32) * (frame + 1) for frame in np.argsort(order)])


UNSAID = """PatientName PatientBirthDate PatientSex StudyID AccessionNumber StudyDate StudyTime ReferringPhysicianName
    Manufacturer ContentDate ContentTime PositionReferenceIndicator"""


def test_a_legacy_converted_ct_gives_the_slices_it_was_made_of(tmp_path: Path) -> None:
    """highdicom's multi-frame image of a series reads as the series itself: values, order, spacing, attributes."""
    stack(tmp_path / "classic", [picture(offset=k) for k in range(4)], heights(4), PixelSpacing=[0.5, 0.7], KVP=120)
    series = [dcmread(path) for path in (tmp_path / "classic").iterdir()]
    for ds in series:
        for name in UNSAID.split():
            setattr(ds, name, "")
        ds.FrameOfReferenceUID, ds.SeriesNumber, ds.AcquisitionNumber = "1.2.3.4", 1, 1
    converted = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        series, series_instance_uid="1.2.3.5", series_number=2, sop_instance_uid="1.2.3.6", instance_number=1
    )
    save(converted, tmp_path / "multi" / "all")
    classic, multi = read(tmp_path / "classic")[0], read(tmp_path / "multi")[0]
    same_values(multi, [item.values for item in classic])
    facts = [
        [(item.order, item.spacing_mm, item.unit, item.attributes["plane"]) for item in of] for of in (classic, multi)
    ]
    assert facts[0] == facts[1] == [(5.0 * k, (0.5, 0.7), "HU", "axial") for k in range(4)]


def test_a_plain_multi_frame_image_is_taken_in_the_order_of_its_frames(tmp_path: Path) -> None:
    """Without a position for each frame, the frame's number orders, and a warning says so."""
    volume = np.stack([picture(offset=k) for k in range(3)])
    write(tmp_path / "a", volume, SpacingBetweenSlices=2.5)
    slices, (notice,) = read(tmp_path)
    assert [item.order for item in slices] == [0, 2.5, 5]
    same_values(slices, volume - 1024.0)
    assert (notice.kind, "frame number" in notice.reason) == ("warning", True)


def by_gdcm(path: Path, kind: int) -> None:
    """Compress a file in place with gdcm, for which pydicom has no encoder."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


GDCM_KINDS = {
    uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    uid.JPEGBaseline8Bit: gdcm.TransferSyntax.JPEGBaselineProcess1,
}


def compressed(path: Path, syntax: uid.UID, **options: Any) -> None:
    """Write a file again in another transfer syntax."""
    if syntax in GDCM_KINDS:
        by_gdcm(path, GDCM_KINDS[syntax])
    else:
        ds = dcmread(path)
        if syntax.is_encapsulated:
            ds.compress(syntax, generate_instance_uid=False, **options)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax


LOSSLESS = """JPEG2000Lossless JPEGLSLossless RLELossless DeflatedExplicitVRLittleEndian ImplicitVRLittleEndian
    JPEGLossless JPEGLosslessSV1"""


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", LOSSLESS.split())
def test_lossless_transfer_syntaxes_give_the_same_hu(tmp_path: Path, syntax: str, signed: bool) -> None:
    """Each one decodes to exactly the HU of the uncompressed file, negative ones too."""
    hu = picture(64, 48) - 600
    hu[0, 0] = -1000
    pixels = hu if signed else (hu + 1024).astype(np.uint16)
    compressed(write(tmp_path / "a", pixels, RescaleIntercept=0 if signed else -1024), getattr(uid, syntax))
    same_values(clean(tmp_path), [hu])


@pytest.mark.parametrize(
    ("syntax", "options"),
    [("JPEG2000", {"j2k_cr": [5]}), ("JPEGLSNearLossless", {"jls_error": 2}), ("JPEGBaseline8Bit", {})],
)
def test_lossy_transfer_syntaxes_give_nearly_the_same_values(tmp_path: Path, syntax: str, options: Any) -> None:
    """Lossy compression decodes to within a few grey levels."""
    pixels = (picture(64, 48) // 16).astype(np.uint8)
    compressed(write(tmp_path / "a", pixels, "MR"), getattr(uid, syntax), **options)
    (found,) = clean(tmp_path)
    assert np.abs(found.values - pixels).max() <= 6


def test_compressed_multi_frame_images_are_read_frame_by_frame(tmp_path: Path) -> None:
    """Each frame of an encapsulated image is found."""
    volume = np.stack([picture(offset=100 * k) for k in range(4)])
    ds = enhanced_mr(volume, heights(4))
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    save(ds, tmp_path / "a")
    same_values(read(tmp_path)[0], volume)


def test_a_dicomdir_is_a_list_of_files(tmp_path: Path) -> None:
    """The files it lists are read once, also if it is the only file given; missing ones are reported, itself is not."""
    files = FileSet()
    for k in range(3):
        ds = image(picture(offset=k), ImagePositionPatient=[0, 0, 5.0 * k], InstanceNumber=k + 1, SeriesNumber=1)
        ds.PatientName = ds.StudyID = ds.AccessionNumber = "1"
        ds.StudyDate, ds.StudyTime = "20200101", "120000"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        files.add(ds)
    files.write(tmp_path)
    assert len(clean(tmp_path)) == 3
    listed, notices = read(tmp_path, [tmp_path / "DICOMDIR"])
    assert ([item.order for item in listed], notices) == ([0, 5, 10], [])
    next(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "DICOMDIR").unlink()
    slices, (notice,) = read(tmp_path, [tmp_path / "DICOMDIR"])
    assert len(slices) == 2
    assert "of 3 files that it lists, 1 is not in its folder" in notice.reason


def test_pixels_are_read_series_by_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first slice comes, one file's pixels have been read: a large folder is never in memory."""
    for name in "abcd":
        write(tmp_path / name, picture(), SeriesInstanceUID=f"1.2.{ord(name)}")
    loaded: list[Path] = []
    load = dicom_volume.load
    monkeypatch.setattr(dicom_volume, "load", lambda path: (loaded.append(path), load(path))[1])
    slices = dicom.read_dicom(tmp_path, sorted(tmp_path.iterdir()), ImportConfig())
    next(slices)
    assert len(loaded) == 1
    assert len(list(slices)) == 3


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0.96, -0.28), (-1, 0, 0, 0, -1, 0)])
def test_dicom_and_nifti_of_one_volume_give_the_same_slices(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    """The same voxels as a DICOM series and as NIfTI, whose affine is DICOM's times diag(-1, -1, 1, 1)."""
    volume = np.random.default_rng(0).integers(-900, 1500, (6, 24, 20), dtype=np.int16)
    volume[:, :2, :2] = -1000
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal, origin = np.cross(row, column), np.array([-31.0, 12.5, 7.0])
    positions = [origin + 4.0 * k * normal for k in range(6)]
    told = {"RescaleIntercept": 0, "PixelSpacing": [0.8, 0.6], "ImageOrientationPatient": list(orientation)}
    stack(tmp_path / "d", volume, positions, **told)
    affine = np.eye(4)
    affine[:3] = np.stack([0.6 * row, 0.8 * column, 4.0 * normal, origin], axis=1)
    path = save_nifti(tmp_path / "a_ct.nii.gz", volume.transpose(2, 1, 0), np.diag([-1.0, -1, 1, 1]) @ affine)
    classic, (others, _) = clean(tmp_path / "d"), read_volumes(tmp_path, [path], empty_below=0)
    same_values(classic, [item.values for item in others])
    for one, other in zip(classic, others, strict=True):
        assert one.spacing_mm == pytest.approx(other.spacing_mm)
        assert (one.low, one.high, one.unit, one.modality) == (other.low, other.high, other.unit, other.modality)
        assert one.attributes["plane"] == other.attributes["plane"]


@pytest.mark.needs("real images")
def test_the_real_series_are_three_volumes_with_right_hu() -> None:
    """28 + 28 + 95 slices; air, brain and bone have their HU in both CTs; summaries, tilt, an empty slice are told."""
    slices, notices = read(SHARED / "data" / "dicom")
    volumes: dict[str, list[Slice]] = defaultdict(list)
    for item in slices:
        volumes[item.file.split("/")[1]].append(item)
    assert {name: len(items) for name, items in volumes.items()} == {"ct-head": 28, "ct-phantom": 28, "mr-head": 95}
    assert len({item.series for item in slices}) == 3
    skipped = sorted(item.file for item in notices if item.kind == "skipped")
    assert skipped == [f"dicom/not-slices/summary{k}" for k in range(3)]
    (warning,) = (item.reason for item in notices if item.kind == "warning")
    assert "18.5°" in warning
    assert "from 1.08 to 7.00 mm" in warning
    for name in ("ct-head", "ct-phantom"):
        values = np.stack([item.values for item in volumes[name]])
        assert values.min() == -1024
        assert abs(np.median(values[(values > -1023) & (values < -800)]) + 1000) < 10
        assert 0.02 < (values > 300).mean() < 0.1
    brain = volumes["ct-head"][9].values[216:296, 206:306]
    assert 20 < np.median(brain) < 45
    assert {item.attributes["plane"] for item in slices} == {"axial"}
    assert all(20 < item.high < 250 for item in volumes["mr-head"])
