"""DICOM: values in HU, multi-frame images, compression, DICOMDIR, and the real series in ../shared/data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gdcm
import highdicom
import nibabel
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence as Items

from phonybrains.importing.config import ImportConfig
from phonybrains.importing.dicom import reader as dicom
from phonybrains.importing.dicom import volume as dicom_volume
from phonybrains.importing.slices import Slice
from phonybrains.importing.volumes.reader import read_volumes
from tests.support.dicom_files import enhanced_mr, image, read, save, stack, write
from tests.support.places import SHARED

DATA = SHARED / "data" / "dicom"


def picture(rows: int = 24, columns: int = 20, dtype: Any = np.int16, offset: int = 0) -> Any:
    """An image without symmetry, between 100 and 1000."""
    y, x = np.mgrid[:rows, :columns]
    return (100 + offset + 37 * y + 2 * x).astype(dtype)


def places(count: int, step: float = 5.0) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, step * k) for k in range(count)]


def test_ct_values_are_hu(tmp_path: Path) -> None:
    """Slope and intercept are applied, whether the file stores HU + 1024 without sign or HU with sign."""
    hu = picture() - 500
    hu[0, 0] = -1000
    write(tmp_path / "a", (hu + 1024).astype(np.uint16))
    write(tmp_path / "b", hu, RescaleIntercept=0, SeriesInstanceUID="1.2.3")
    write(tmp_path / "c", hu * 2, RescaleIntercept=0, RescaleSlope=0.5, SeriesInstanceUID="1.2.4")
    slices, notices = read(tmp_path)
    assert not notices
    assert len(slices) == 3
    for item in slices:
        np.testing.assert_array_equal(item.values, hu)
        assert item.values.dtype == np.float32
        assert (item.modality, item.unit, item.low, item.high) == ("CT", "HU", 0.0, 80.0)


def test_the_range_without_a_window_keeps_each_hu(tmp_path: Path) -> None:
    """16 bits: -1024…64511, so that the slope is 1; 8 bits: the 12-bit range."""
    write(tmp_path / "a", picture())
    assert (read(tmp_path, window=None, bits=16)[0][0].low, read(tmp_path, window=None, bits=16)[0][0].high) == (
        -1024,
        -1024 + 65535,
    )
    assert (read(tmp_path, window=None, bits=8)[0][0].low, read(tmp_path, window=None, bits=8)[0][0].high) == (
        -1024,
        3071,
    )


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
    unsigned, signed = (item.values for item in read(tmp_path)[0])
    np.testing.assert_array_equal(unsigned, pixels)
    np.testing.assert_array_equal(signed, -pixels)


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
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [4, 10, 16], "HU", [0, 100, 50, 7]
    ds = image(np.tile(np.array([[9, 10, 11], [12, 13, 14]], np.uint16), (4, 4)))
    ds.ModalityLUTSequence = Items([lut])
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "US"
    save(ds, tmp_path / "a")
    np.testing.assert_array_equal(read(tmp_path)[0][0].values[:2, :3], [[0, 0, 100], [50, 7, 7]])


def test_monochrome1_mr_is_inverted_and_hu_are_not(tmp_path: Path) -> None:
    """MR that shows low values white is turned round over the volume; HU mean the same however they are shown."""
    true = [picture(dtype=np.uint16) * (k + 1) for k in range(3)]
    true[0][0, 0] = 0
    stack(tmp_path / "mr", [4095 - x for x in true], places(3), "MR", PhotometricInterpretation="MONOCHROME1")
    for item, expected in zip(read(tmp_path / "mr")[0], true, strict=True):
        np.testing.assert_array_equal(item.values, expected)
    write(tmp_path / "ct" / "a", true[0], PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(tmp_path / "ct")[0][0].values, true[0].astype(int) - 1024)


def test_mr_range_is_that_of_the_volume(tmp_path: Path) -> None:
    """All slices of a series share low and high, percentiles of the head, however small it is."""
    volume = np.zeros((4, 40, 40), np.uint16)
    volume[:, 18:22, 18:22] = np.arange(100, 500, 100)[:, None, None] + np.arange(4)
    volume[:, 0, :8] = 3
    stack(tmp_path, volume, places(4), "MR")
    slices, notices = read(tmp_path, percentiles=(0, 100))
    assert not notices
    assert {(item.low, item.high, item.unit) for item in slices} == {(100.0, 403.0, "a.u.")}


def test_enhanced_mr_frames_are_ordered_and_rescaled_each(tmp_path: Path) -> None:
    """Position and slope come from each frame's functional group, spacing from the shared one."""
    volume = np.stack([picture(offset=k) for k in range(5)])
    order = [3, 0, 4, 1, 2]
    save(enhanced_mr(volume, [places(5)[k] for k in order], [k + 1.0 for k in range(5)]), tmp_path / "e")
    slices, notices = read(tmp_path)
    assert not notices
    assert [item.order for item in slices] == [0, 5, 10, 15, 20]
    assert {item.spacing_mm for item in slices} == {(2.0, 0.5)}
    assert {item.attributes["slice_thickness_mm"] for item in slices} == {4.0}
    for place, item in enumerate(slices):
        frame = order.index(place)
        np.testing.assert_array_equal(item.values, volume[frame].astype(np.float32) * (frame + 1))


def test_a_legacy_converted_ct_gives_the_slices_it_was_made_of(tmp_path: Path) -> None:
    """highdicom's multi-frame image of a series reads as the series itself: values, order, spacing, attributes."""
    stack(tmp_path / "classic", [picture(offset=k) for k in range(4)], places(4), PixelSpacing=[0.5, 0.7], KVP=120)
    series = [dcmread(path) for path in (tmp_path / "classic").iterdir()]
    for ds in series:
        ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ds.StudyID = ds.AccessionNumber = ""
        ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ds.Manufacturer = ds.ContentDate = ds.ContentTime = ""
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.3.4", ""
        ds.SeriesNumber = ds.AcquisitionNumber = 1
    converted = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        series, series_instance_uid="1.2.3.5", series_number=2, sop_instance_uid="1.2.3.6", instance_number=1
    )
    save(converted, tmp_path / "multi" / "all")
    classic, multi = read(tmp_path / "classic")[0], read(tmp_path / "multi")[0]
    assert len(multi) == 4
    for one, other in zip(classic, multi, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert (one.order, one.spacing_mm, one.unit) == (other.order, other.spacing_mm, "HU")
        assert one.attributes["plane"] == other.attributes["plane"] == "axial"


def test_a_plain_multi_frame_image_is_taken_in_the_order_of_its_frames(tmp_path: Path) -> None:
    """Without a position for each frame, the frame's number orders, and a warning says so."""
    volume = np.stack([picture(offset=k) for k in range(3)])
    write(tmp_path / "a", volume, SpacingBetweenSlices=2.5)
    slices, notices = read(tmp_path)
    assert [item.order for item in slices] == [0, 2.5, 5]
    np.testing.assert_array_equal([item.values for item in slices], volume - 1024.0)
    assert [(item.kind, "frame number" in item.reason) for item in notices] == [("warning", True)]


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


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [
        uid.JPEG2000Lossless,
        uid.JPEGLSLossless,
        uid.RLELossless,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ImplicitVRLittleEndian,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
    ],
    ids=lambda syntax: syntax.keyword,
)
def test_lossless_transfer_syntaxes_give_the_same_hu(tmp_path: Path, syntax: uid.UID, signed: bool) -> None:
    """Each one decodes to exactly the HU of the uncompressed file, negative ones too."""
    hu = picture(64, 48) - 600
    hu[0, 0] = -1000
    pixels = hu if signed else (hu + 1024).astype(np.uint16)
    path = write(tmp_path / "a", pixels, RescaleIntercept=0 if signed else -1024)
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        kinds = gdcm.TransferSyntax
        by_gdcm(path, kinds.JPEGLosslessProcess14 if syntax == uid.JPEGLossless else kinds.JPEGLosslessProcess14_1)
    else:
        ds = dcmread(path)
        if syntax.is_encapsulated:
            ds.compress(syntax, generate_instance_uid=False)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    slices, notices = read(tmp_path)
    assert not notices
    np.testing.assert_array_equal(slices[0].values, hu)


@pytest.mark.parametrize(
    "syntax", [uid.JPEG2000, uid.JPEGLSNearLossless, uid.JPEGBaseline8Bit], ids=lambda s: s.keyword
)
def test_lossy_transfer_syntaxes_give_nearly_the_same_values(tmp_path: Path, syntax: uid.UID) -> None:
    """Lossy compression decodes to within a few grey levels."""
    pixels = (picture(64, 48) // 16).astype(np.uint8)
    path = write(tmp_path / "a", pixels, "MR")
    if syntax == uid.JPEGBaseline8Bit:
        by_gdcm(path, gdcm.TransferSyntax.JPEGBaselineProcess1)
    else:
        options = {"j2k_cr": [5]} if syntax == uid.JPEG2000 else {"jls_error": 2}
        ds = dcmread(path)
        ds.compress(syntax, generate_instance_uid=False, **options)
        ds.save_as(path)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    slices, notices = read(tmp_path)
    assert not notices
    assert np.abs(slices[0].values - pixels).max() <= 6


def test_compressed_multi_frame_images_are_read_frame_by_frame(tmp_path: Path) -> None:
    """Each frame of an encapsulated image is found."""
    volume = np.stack([picture(offset=100 * k) for k in range(4)])
    ds = enhanced_mr(volume, places(4), [1.0] * 4)
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    save(ds, tmp_path / "a")
    np.testing.assert_array_equal([item.values for item in read(tmp_path)[0]], volume)


def test_a_dicomdir_is_a_list_of_files(tmp_path: Path) -> None:
    """The files it lists are read once, also if it is the only file given; missing ones are reported, itself is not."""
    files = FileSet()
    for k in range(3):
        ds = image(picture(offset=k), ImagePositionPatient=[0, 0, 5.0 * k], InstanceNumber=k + 1, SeriesNumber=1)
        ds.PatientName = ds.StudyID = ds.AccessionNumber = "1"
        ds.StudyDate, ds.StudyTime = "20200101", "120000"
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
            ds.SOPClassUID,
            ds.SOPInstanceUID,
        )
        files.add(ds)
    files.write(tmp_path)
    assert len(read(tmp_path)[0]) == 3
    assert not read(tmp_path)[1]
    listed, notices = read(tmp_path, [tmp_path / "DICOMDIR"])
    assert [item.order for item in listed] == [0, 5, 10]
    assert not notices
    Path(next(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "DICOMDIR")).unlink()
    slices, notices = read(tmp_path, [tmp_path / "DICOMDIR"])
    assert len(slices) == 2
    assert ["1 of the 3 files" in item.reason for item in notices] == [True]


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
    stack(
        tmp_path / "d",
        volume,
        positions,
        RescaleIntercept=0,
        PixelSpacing=[0.8, 0.6],
        ImageOrientationPatient=list(orientation),
    )
    affine = np.eye(4)
    affine[:3] = np.stack([0.6 * row, 0.8 * column, 4.0 * normal, origin], axis=1)
    nifti = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-1.0, -1, 1, 1]) @ affine)
    nibabel.save(nifti, tmp_path / "a_ct.nii.gz")
    classic, notices = read(tmp_path / "d")
    assert not notices
    others = list(read_volumes(tmp_path, [tmp_path / "a_ct.nii.gz"], ImportConfig(empty_below=0)))
    for one, other in zip(classic, others, strict=True):
        assert isinstance(other, Slice)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.spacing_mm == pytest.approx(other.spacing_mm)
        assert (one.low, one.high, one.unit, one.modality) == (other.low, other.high, other.unit, other.modality)
        assert one.attributes["plane"] == other.attributes["plane"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real DICOM series are not in ../shared/data/dicom")
def test_the_real_series_are_three_volumes_with_right_hu() -> None:
    """28 + 28 + 95 slices; air, brain and bone have their HU in both CTs; summaries, tilt, an empty slice are told."""
    slices, notices = read(DATA)
    volumes: dict[str, list[Slice]] = {}
    for item in slices:
        volumes.setdefault(item.file.split("/")[1], []).append(item)
    assert {name: len(items) for name, items in volumes.items()} == {"ct-head": 28, "ct-phantom": 28, "mr-head": 95}
    assert len({item.series for item in slices}) == 3
    assert sorted(item.file for item in notices if item.kind == "skipped") == [
        f"dicom/not-slices/summary{k}" for k in range(3)
    ]
    warning = [item.reason for item in notices if item.kind == "warning"]
    assert len(warning) == 1
    assert "18.5°" in warning[0]
    assert "from 1.08 to 7.00 mm" in warning[0]
    for name in ("ct-head", "ct-phantom"):
        values = np.stack([item.values for item in volumes[name]])
        assert values.min() == -1024
        assert abs(np.median(values[(values > -1023) & (values < -800)]) + 1000) < 10
        assert 0.02 < (values > 300).mean() < 0.1
    brain = volumes["ct-head"][9].values[216:296, 206:306]
    assert 20 < np.median(brain) < 45
    assert {item.attributes["plane"] for item in slices} == {"axial"}
    assert all(20 < item.high < 250 for item in volumes["mr-head"])
