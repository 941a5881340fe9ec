"""Masks as DICOM segmentations: the same to the bit, with terms that others know."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread

from phonybrains.exporting.stage import export
from tests.support.exported_sets import MODEL, PLACED, dicom_files, errors_of, make_set, noise

BOX = {"lesion_x": 0.5, "lesion_y": 0.25, "lesion_width": 0.25, "lesion_height": 0.125}


@pytest.mark.needs("dicom3tools")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_mask_comes_back_bit_for_bit(tmp_path: Path, modality: str):
    """highdicom reads the mask that was written, an empty one too; codes, program, image and validator agree."""
    masks = [np.random.default_rng(0).random((32, 32)) < 0.3, np.zeros((32, 32), np.bool_)]
    units = {"unit": "HU"} if modality == "CT" else {}
    made = make_set(tmp_path / "set", noise(2), modality, masks=masks, **units)
    out = export(made, tmp_path / "out", to="dicom", show=False)
    for mask, path, image in zip(masks, dicom_files(out, masks=True), dicom_files(out), strict=True):
        found = highdicom.seg.segread(path)
        np.testing.assert_array_equal(found.pixel_array.reshape(32, 32).astype(bool), mask)
        segment = found.SegmentSequence[0]
        assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("tumour", "AUTOMATIC")
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("heads", MODEL["sha256"])
        source = dcmread(image)
        assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert (found.PatientID, found.SyntheticData) == (source.PatientID, "YES")
        assert found.SeriesDescription.startswith("SYNTHETIC")
        assert errors_of(path) == []


def test_a_box_is_a_filled_rectangle(tmp_path: Path):
    """Where there is no mask, the box of the lesion is outlined, and called one; an image without one has nothing."""
    made = make_set(tmp_path / "set", noise(2), attributes=[{**PLACED, **BOX}, PLACED])
    out = export(made, tmp_path / "out", to="dicom", show=False)
    (path,) = dicom_files(out, masks=True)
    found = highdicom.seg.segread(path)
    expected = np.zeros((32, 32), bool)
    expected[6:10, 12:20] = True
    np.testing.assert_array_equal(found.pixel_array.reshape(32, 32).astype(bool), expected)
    assert found.SegmentSequence[0].SegmentLabel == "lesion box"
    without = export(made, tmp_path / "without", to="dicom", masks=False, show=False)
    assert dicom_files(without, masks=True) == []


@pytest.mark.needs("dicom3tools")
def test_a_segmentation_needs_no_known_place(tmp_path: Path):
    """Of an image of unknown size and plane it has neither, and a validator has nothing to say against that."""
    made = make_set(tmp_path / "set", noise(1), attributes=[{}], masks=[np.eye(32, dtype=np.bool_)])
    (path,) = dicom_files(export(made, tmp_path / "out", to="dicom", show=False), masks=True)
    assert errors_of(path) == []


@pytest.mark.needs("dicom3tools")
@pytest.mark.parametrize("thickness", [{}, {"slice_thickness_mm": 4}])
def test_a_segmentation_opens_whether_or_not_the_thickness_is_known(tmp_path: Path, thickness: dict[str, float]):
    """Of an image of known width and plane: highdicom opens none whose pixel measures lack a thickness."""
    known = {key: PLACED[key] for key in ("plane", "field_of_view_mm")}
    mask = np.eye(32, dtype=np.bool_)
    made = make_set(tmp_path / "set", noise(1), attributes=[known | thickness], masks=[mask])
    (path,) = dicom_files(export(made, tmp_path / "out", to="dicom", show=False), masks=True)
    found = highdicom.seg.segread(path)
    np.testing.assert_array_equal(found.pixel_array.reshape(32, 32).astype(bool), mask)
    assert ("PixelMeasuresSequence" in found.SharedFunctionalGroupsSequence[0]) == bool(thickness)
    assert errors_of(path) == []


def test_another_export_gives_the_same_segmentation(tmp_path: Path):
    """No id and no time of it is that of the moment."""
    made = make_set(tmp_path / "set", noise(1), masks=[np.eye(32, dtype=np.bool_)])
    outs = [export(made, tmp_path / name, to="dicom", show=False) for name in ("a", "b")]
    one, two = (dicom_files(out, masks=True)[0].read_bytes() for out in outs)
    assert one == two
