"""DICOM: nothing that can identify a patient leaves the header, and what leaves it is checked."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from phonybrains.importing.dicom.selection import why_left_out
from tests.support.dicom_files import image, read, save, write

PIXELS = np.arange(400, dtype=np.int16).reshape(20, 20) + 1024
SECRETS = {
    "AE": "JANEAE",
    "AS": "093Y",
    "CS": "JANECS",
    "DA": "19331224",
    "DT": "19331224131415.123",
    "LO": "DOE^JANE",
    "LT": "Jane Doe, 12 Rose Lane",
    "PN": "DOE^JANE",
    "SH": "JANEDOE",
    "ST": "Jane Doe",
    "TM": "131415.123",
    "UC": "Jane Doe",
    "UI": "1.2.276.19331224",
    "UR": "http://jane.doe",
    "UT": "Jane Doe",
}
FORBIDDEN = ("JANE", "DOE", "ROSE", "19331224", "131415", "1.2.276", "93", "4711", "0815")
KEPT = {"SOPClassUID", "SOPInstanceUID", "Modality", "PhotometricInterpretation", "TransferSyntaxUID", "PixelData"}
SELECTS = {"ImageType", "BurnedInAnnotation", "SyntheticData", "RescaleType"}
"""Elements by which a file would be left out."""


def stuffed() -> Dataset:
    """An image in which every text, date and UID element of the dictionary identifies the patient."""
    ds = image(PIXELS)
    for keyword, tag in keyword_dict.items():
        if not keyword or keyword in KEPT | SELECTS or tag < 0x00080000 or "1" not in dictionary_VM(tag):
            continue
        secret = SECRETS.get(dictionary_VR(tag))
        if secret:
            ds.add_new(tag, dictionary_VR(tag), secret)
    ds.PatientID, ds.PatientWeight, ds.InstanceNumber = "4711-JANE", "93", "4711"
    block = ds.private_block(0x0011, "JANE DOE PRIVATE", create=True)
    block.add_new(1, "LO", "DOE^JANE")
    block.add_new(2, "PN", "DOE^JANE")
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "0815", "TEXT"
    ds.OtherPatientIDsSequence = Items([item])
    return ds


def test_no_identifying_text_gets_into_a_slice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With name, dates, ids, UIDs and free text in every element, also in allowed ones, only `patient` knows them.

    `patient` and `file` are left out here: the stage replaces the one and writes the other only beside the set. The
    values are looked at by number, and `series`, a hash, in a test of its own. Nothing is printed or logged.
    """
    ds = stuffed()
    assert len(ds) > 1500
    save(ds, tmp_path / "DOE^JANE" / "19331224.dcm")
    caplog.clear()
    with warnings.catch_warnings(action="error"):
        slices, notices = read(tmp_path)
    assert len(slices) == 1
    assert not caplog.records
    hidden = ("patient", "file", "series", "values")
    published = [getattr(slices[0], name) for name in slices[0].__slots__ if name not in hidden]
    np.testing.assert_array_equal(slices[0].values, PIXELS - 1024.0)
    for secret in FORBIDDEN:
        assert secret not in repr(published).upper()
    assert slices[0].patient == "4711-JANE"
    assert slices[0].attributes == {
        "plane": "axial",
        "slice_thickness_mm": 1.0,
        "age_years": 90.0,
        "manufacturer": "other",
        "contrast": "yes",
    }
    for notice in notices:
        assert not any(secret in notice.reason.upper() for secret in FORBIDDEN)


@pytest.mark.parametrize("keyword", [*sorted(SELECTS), "SOPClassUID", "Modality", "PhotometricInterpretation"])
def test_no_identifying_text_gets_into_a_reason(tmp_path: Path, keyword: str) -> None:
    """A file that is left out because of a name in the wrong element is reported without that name."""
    ds = stuffed()
    with warnings.catch_warnings(action="ignore"):
        setattr(ds, keyword, "1.2.276.19331224" if keyword == "SOPClassUID" else "DOE^JANE")
    save(ds, tmp_path / "a")
    for item in read(tmp_path)[1]:
        assert not any(secret in item.reason.upper() for secret in FORBIDDEN)


def test_values_of_the_wrong_kind_are_missing_and_unquoted(tmp_path: Path) -> None:
    """A name where a number belongs neither raises nor is repeated, in the slice or in the report."""
    ds = image(PIXELS)
    numbers = ("SliceThickness", "KVP", "MagneticFieldStrength", "EchoTime", "SliceLocation", "PixelPaddingValue")
    path = save(ds, tmp_path / "a")
    for keyword in numbers:
        ds.add_new(keyword, "LO", "DOE^JANE")
    save(ds, path)
    slices, _ = read(tmp_path)
    assert slices[0].attributes == {"plane": "axial"}
    ds.add_new("RescaleSlope", "LO", "DOE^JANE")
    save(ds, path)
    slices, notices = read(tmp_path)
    assert not slices
    assert "JANE" not in notices[0].reason


def attributes(folder: Path, modality: str = "CT", **elements: Any) -> Any:
    write(folder / "a", PIXELS, modality, **elements)
    slices, _ = read(folder)
    return slices[0].attributes


@pytest.mark.parametrize(
    ("elements", "name", "value"),
    [
        ({"PatientAge": "045Y"}, "age_years", 45.0),
        ({"PatientAge": "089Y"}, "age_years", 89.0),
        ({"PatientAge": "090Y"}, "age_years", 90.0),
        ({"PatientAge": "104Y"}, "age_years", 90.0),
        ({"PatientAge": "018M"}, "age_years", 1.5),
        ({"PatientAge": "002W"}, "age_years", 0.0),
        ({"PatientAge": "45"}, "age_years", None),
        ({"PatientSex": "F"}, "sex", "F"),
        ({"PatientSex": "FEMALE"}, "sex", None),
        ({"BodyPartExamined": "HEAD"}, "body_part", "head"),
        ({"BodyPartExamined": "JANE"}, "body_part", None),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, "manufacturer", "GE"),
        ({"Manufacturer": "SIEMENS Healthineers"}, "manufacturer", "Siemens"),
        ({"Manufacturer": "Philips DOE^JANE"}, "manufacturer", "Philips"),
        ({"Manufacturer": "TOSHIBA_MEC"}, "manufacturer", "Canon/Toshiba"),
        ({"Manufacturer": "Canon Medical Systems"}, "manufacturer", "Canon/Toshiba"),
        ({"Manufacturer": "Hitachi, Ltd."}, "manufacturer", "Hitachi"),
        ({"Manufacturer": "FUJIFILM Corporation"}, "manufacturer", "Fujifilm"),
        ({"Manufacturer": "Angela Genova"}, "manufacturer", "other"),
        ({"Manufacturer": ""}, "manufacturer", None),
        ({"MagneticFieldStrength": 2.89362}, "field_strength_t", 2.89),
        ({"MagneticFieldStrength": 15000}, "field_strength_t", 1.5),
        ({"MagneticFieldStrength": -1}, "field_strength_t", None),
        ({"SliceThickness": 0}, "slice_thickness_mm", None),
        ({"KVP": 120}, "kvp", 120.0),
        ({"ScanningSequence": ["IR", "GR", "JANE"]}, "sequence", "IR+GR"),
        ({"ScanningSequence": "JANE"}, "sequence", None),
        ({"ContrastBolusAgent": "Gadovist for Mrs Doe"}, "contrast", "yes"),
        ({"ContrastBolusAgent": ""}, "contrast", "no"),
        ({"ContrastBolusAgent": "NONE"}, "contrast", "no"),
        ({}, "contrast", None),
    ],
)
def test_allowed_attributes_are_rebuilt_from_known_values(
    tmp_path: Path, elements: dict[str, Any], name: str, value: Any
) -> None:
    """Numbers within limits and terms of a list; ages above 89 are 90; everything else is missing."""
    assert attributes(tmp_path, **elements).get(name) == value


def test_a_missing_patient_id_falls_back_on_the_study(tmp_path: Path) -> None:
    """Slices of one study then still stay together in one split."""
    for name, study in (("a", "1.2.3"), ("b", "1.2.3"), ("c", "1.2.4")):
        write(tmp_path / name, PIXELS, PatientID="", StudyInstanceUID=study, SeriesInstanceUID=f"1.3.{ord(name)}")
    assert {Path(item.file).name: item.patient for item in read(tmp_path)[0]} == {
        "a": "1.2.3",
        "b": "1.2.3",
        "c": "1.2.4",
    }


def test_an_absent_burned_in_annotation_is_no_reason(tmp_path: Path) -> None:
    """Most scanners do not write the element; only YES leaves a file out."""
    ds = image(PIXELS)
    assert why_left_out(ds, ds.file_meta, 10_000) is None
    ds.BurnedInAnnotation = "NO"
    assert why_left_out(ds, ds.file_meta, 10_000) is None
