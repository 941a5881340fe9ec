"""DICOM: what other programs read in it is what the set holds, and nobody takes it for a scan."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from phonybrains.errors import ImageSetError
from phonybrains.exporting.stage import export
from phonybrains.imageset import ImageSet
from phonybrains.importing.config import ImportConfig
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.record import read_record
from tests.support.exported_sets import MODEL, PLACED, dicom_files, errors_of, make_set, noise
from tests.support.imports import run

HU: dict[str, Any] = {"slope": 80 / 255, "intercept": 0.0, "unit": "HU"}
WIDE_HU: dict[str, Any] = {"slope": 1.0, "intercept": -1024.0, "unit": "HU"}


def exported(source: Path, **options: Any) -> list[Any]:
    """The images of a set as DICOM datasets, in its order."""
    out = export(source, source.with_name(f"{source.name}-dicom"), to="dicom", show=False, **options)
    return [dcmread(path) for path in dicom_files(out)]


@pytest.mark.needs("dicom3tools")
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_validator_finds_no_error(tmp_path: Path, modality: str, bits: int):
    """dciodvfy, which knows the modules of MR and CT images, has nothing to say against a set that knows its places."""
    units = {} if modality == "MR" else HU
    told = [{**PLACED, "sex": "F", "age_years": 1.5, "diagnosis": "glioma"}]
    made = make_set(tmp_path / "set", noise(1, bits), modality, attributes=told, **units)
    out = export(made, tmp_path / "out", to="dicom", show=False)
    assert [errors_of(path) for path in dicom_files(out)] == [[]]


@pytest.mark.parametrize("kind", ["synthetic", "edited"])
def test_a_synthetic_image_says_so_wherever_one_looks(tmp_path: Path, kind: str):
    """Tag, equipment with the hash of the model, type, ids and descriptions: the list of the plan."""
    edit = {"edit": "denoise", "edit_of_kind": "real"} if kind == "edited" else {}
    made = make_set(tmp_path / "set", noise(1), attributes=[{**PLACED, **edit}], patient_id="P-0123456789ab")
    if edit:
        with pytest.raises(ImageSetError, match="row 2: an edit of a real scan"):
            exported(made)
    (image,) = exported(made, real=bool(edit))
    assert image.SyntheticData == "YES"
    assert list(image.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    (equipment,) = image.ContributingEquipmentSequence
    purpose = equipment.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
    assert (equipment.Manufacturer, equipment.ManufacturerModelName) == ("phonybrains", "heads")
    assert equipment.DeviceSerialNumber == image.DeviceSerialNumber == MODEL["sha256"]
    assert image.PatientID.startswith("SYN-")
    assert str(image.PatientName).startswith("SYNTHETIC^")
    assert image.SeriesDescription.startswith("SYNTHETIC")
    assert image.StudyDescription.startswith("SYNTHETIC")
    assert ("real scan" in image.DerivationDescription) == (kind == "edited")
    assert image.get("BurnedInAnnotation") == (None if kind == "edited" else "NO")
    assert b"0123456789ab" not in Path(image.filename).read_bytes()


@pytest.mark.parametrize(
    ("modality", "units", "bits"),
    [
        ("MR", {}, 8),
        ("MR", {}, 16),
        ("CT", HU, 8),
        ("CT", {**HU, "slope": 80 / 65535}, 16),
        ("CT", WIDE_HU, 16),
        ("CT", {}, 8),
        ("CT", {}, 16),
    ],
)
def test_export_and_import_give_the_same_pixels(tmp_path: Path, modality: str, units: dict[str, Any], bits: int):
    """To the bit, through the real import; so do their units, their width and that they are synthetic."""
    made = ImageSet.open(make_set(tmp_path / "set", noise(4, bits), modality, **units))
    images = exported(made.folder)
    window = "none" if units is WIDE_HU else (40.0, 80.0)
    config = ImportConfig(size=32, bits=bits, window=window)
    run(Path(images[0].filename).parents[1], tmp_path / "back", config)
    back = ImageSet.open(tmp_path / "back")
    assert {one.tobytes() for one in map(back.pixels, range(4))} == {made.pixels(i).tobytes() for i in range(4)}
    assert {(row.synthetic, row.modality, row.unit, row["field_of_view_mm"]) for row in back.rows} == {
        (True, modality, made.rows[0].unit, 240.0)
    }
    np.testing.assert_allclose(back.rows[0].slope, made.rows[0].slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("plane", "across", "down"),
    [("axial", (1, 0, 0), (0, 1, 0)), ("coronal", (1, 0, 0), (0, 0, -1)), ("sagittal", (0, 1, 0), (0, 0, -1))],
)
def test_simpleitk_reads_values_spacing_and_orientation(tmp_path: Path, plane: str, across: Any, down: Any):
    """HU, mm and the directions of rows and columns; the middle of a slice without a place is the origin."""
    made = ImageSet.open(make_set(tmp_path / "set", noise(1), "CT", attributes=[{**PLACED, "plane": plane}], **HU))
    (image,) = exported(made.folder)
    read = SimpleITK.ReadImage(image.filename)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read)[0], made.values(0), atol=1e-4)
    assert read.GetSpacing()[:2] == (7.5, 7.5)
    np.testing.assert_array_equal(np.reshape(read.GetDirection(), (3, 3))[:, :2], np.transpose([across, down]))
    middle = read.TransformContinuousIndexToPhysicalPoint((15.5, 15.5, 0.0))
    np.testing.assert_allclose(middle, 0, atol=1e-5)


@pytest.mark.needs("dcm2niix", "dcmtk")
def test_a_stack_becomes_a_volume_in_its_place(tmp_path: Path):
    """dcm2niix builds from a series the volume that the set is, HU and affine, though its rows are in no order."""
    nibabel = pytest.importorskip("nibabel")
    places = [10.0, 0.0, 5.0]
    told = [{**PLACED, "stack": 1.0, "slice_position_mm": place} for place in places]
    made = ImageSet.open(make_set(tmp_path / "set", noise(3), "CT", attributes=told, **HU))
    files = exported(made.folder)
    subprocess.run(["dcmdump", "-q", files[0].filename], check=True, capture_output=True)
    words = ["dcm2niix", "-f", "volume", "-o", str(tmp_path), str(Path(files[0].filename).parent)]
    subprocess.run(words, check=True, capture_output=True)
    volume = nibabel.as_closest_canonical(nibabel.load(tmp_path / "volume.nii"))
    values = np.stack([made.values(index)[::-1, ::-1].T for index in np.argsort(places)], axis=-1)
    np.testing.assert_allclose(volume.get_fdata(), values, atol=1e-4)
    np.testing.assert_allclose(volume.affine[:3], [[7.5, 0, 0, -116.25], [0, 7.5, 0, -116.25], [0, 0, 5, 0]], atol=1e-4)


@pytest.mark.needs("dicom3tools")
def test_what_a_set_does_not_know_is_absent_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """No width, no plane: nothing is made up; one warning each, also in the record; the width can be given."""
    made = make_set(tmp_path / "set", noise(2), attributes=[{"plane": "axial"}, {}])
    first, second = exported(made)
    assert "PixelSpacing" not in first
    assert "ImagePositionPatient" not in first
    assert "ImageOrientationPatient" in first
    assert "ImageOrientationPatient" not in second
    said = capsys.readouterr().err
    assert "Of 2 images, 2 have no known size in mm" in said
    assert "Of 2 images, 1 has no plane" in said
    assert len(read_record(Path(first.filename).parents[1])["results"]["doubts"]) == 2
    missing = {line.partition("Element=<")[2].partition(">")[0] for line in errors_of(Path(first.filename))}
    assert missing == {"PixelSpacing", "ImagePositionPatient"}
    out = export(made, tmp_path / "given", to="dicom", field_of_view_mm=320, show=False)
    assert list(dcmread(dicom_files(out)[0]).PixelSpacing) == [10, 10]


def test_what_the_record_of_a_corpus_says_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Phantoms have no column for their width, but their record states it: 240 mm."""
    images = exported(make_phantoms(2, tmp_path / "set", size=32))
    assert list(images[0].PixelSpacing) == [7.5, 7.5]
    assert "MR images are taken to be 240 mm wide, as the record says of the corpus." in capsys.readouterr().err


def test_grey_levels_without_unit_are_not_called_hu(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A CT of unknown window has values of unspecified type and is said to; with --window it has HU."""
    made = make_set(tmp_path / "set", noise(1), "CT")
    (image,) = exported(made)
    assert (image.RescaleType, image.RescaleSlope, image.RescaleIntercept) == ("US", 1, 0)
    assert "Of 1 image, 1 is CT whose grey levels have no known unit" in capsys.readouterr().err
    out = export(made, tmp_path / "given", to="dicom", window=(40, 100), show=False)
    image = dcmread(dicom_files(out)[0])
    assert (image.RescaleType, image.WindowCenter, image.WindowWidth) == ("HU", 40, 100)
    values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    assert (values.min(), round(values.max(), 6)) == (-10, 90)


def test_a_person_is_of_one_age_and_sex_and_in_one_study(tmp_path: Path):
    """Images of other ages are of other patients, and what is said of a study is the same in all its series."""
    ages = [{**PLACED, "age_years": 30.0, "sex": "F"}, {**PLACED, "age_years": 70.0, "plane": "coronal"}]
    ages.append({**PLACED, "age_years": 70.0})
    images = exported(make_set(tmp_path / "set", noise(3), attributes=ages))
    assert [(image.PatientAge, image.PatientSex) for image in images] == [("030Y", "F"), ("070Y", ""), ("070Y", "")]
    assert images[1].PatientID == images[2].PatientID != images[0].PatientID
    assert images[1].StudyInstanceUID == images[2].StudyInstanceUID != images[0].StudyInstanceUID
    assert len({image.SeriesInstanceUID for image in images}) == 3
    assert len({(image.StudyID, image.StudyDescription, image.StudyDate) for image in images[1:]}) == 1


def test_each_stack_is_a_series(tmp_path: Path):
    """Two volumes of one person in one plane are not mixed, though both are axial; what is in none is a third."""
    told = [{**PLACED, "stack": stack, "slice_position_mm": place} for stack in (1.0, 2.0) for place in (0.0, 5.0)]
    images = exported(make_set(tmp_path / "set", noise(5), attributes=[*told, PLACED]))
    series = [image.SeriesInstanceUID for image in images]
    assert series[0] == series[1] != series[2] == series[3] != series[4] != series[0]
    assert [image.InstanceNumber for image in images] == [1, 2, 1, 2, 1]
    assert len({image.StudyInstanceUID for image in images}) == 1


def test_names_may_have_any_letters(tmp_path: Path):
    """What a model was asked for is written in UTF-8, and read as that by others."""
    told = [{**PLACED, "diagnosis": "Gliom Grad Ⅳ, Größe 3 µm", "note": "Ångström 頭"}]
    (image,) = exported(make_set(tmp_path / "größe 頭", noise(1), attributes=told))
    assert image.SpecificCharacterSet == "ISO_IR 192"
    assert image.AdmittingDiagnosesDescription == "Gliom Grad Ⅳ, Größe 3 µm"
    assert "note=Ångström 頭" in image.ImageComments


def test_scans_of_people_leave_only_if_that_is_said(tmp_path: Path):
    """Refused without --real; with it they keep the pseudonym of their import and are not called synthetic."""
    made = make_set(tmp_path / "set", noise(1), patient_id="P-0123456789ab", synthetic=False)
    with pytest.raises(ImageSetError, match=r"row 2: a real scan.*--real"):
        exported(made)
    (image,) = exported(made, real=True)
    assert (image.PatientID, image.SyntheticData, image.PatientIdentityRemoved) == ("P-0123456789ab", "NO", "YES")
    assert not {"ContributingEquipmentSequence", "BurnedInAnnotation"} & {element.keyword for element in image}
    named = make_set(tmp_path / "named", noise(1), patient_id="Doe, Jane", synthetic=False)
    with pytest.raises(ImageSetError, match="row 2: its patient_id is no pseudonym"):
        exported(named, real=True)


def test_another_export_gives_the_same_bytes_and_another_set_other_ids(tmp_path: Path):
    """UIDs come from the set's record: they do not depend on the hour or the folder, and no two sets share one."""
    made = make_set(tmp_path / "set", noise(3))
    other = make_set(tmp_path / "other", noise(3, seed=1))
    outs = [export(made, tmp_path / name / "out", to="dicom", show=False) for name in ("a", "b")]
    outs.append(export(other, tmp_path / "c", to="dicom", show=False))
    one, two, three = ([path.read_bytes() for path in dicom_files(out)] for out in outs)
    assert one == two
    ids = [{dcmread(path)[k].value for path in dicom_files(out) for k in UIDS} for out in (outs[0], outs[2])]
    assert not ids[0] & ids[1]
    assert one != three


UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID")


def test_a_set_without_modality_is_refused(tmp_path: Path):
    """The row is named, before anything is written."""
    with pytest.raises(ImageSetError, match=r"row 2: no modality\. Write MR or CT"):
        exported(make_set(tmp_path / "set", noise(1), ""))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
