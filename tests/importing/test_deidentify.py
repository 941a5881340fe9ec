"""DICOM: nothing that can identify a patient leaves the header, and what leaves it is checked."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_dict
from pydicom.dataset import Dataset

from phonybrains.importing.dicom.content import why_left_out
from tests.support.dicom_files import image, read, same_values, save, with_elements, write

PIXELS = np.arange(400, dtype=np.int16).reshape(20, 20) + 1024
SECRETS = {
    "AE": "JANEAE",
    "AS": "093Y",
    "CS": "JANECS",
    "SH": "JANEDOE",
    "UI": "1.2.276.19331224",
    "UR": "http://jane.doe",
    "DA": "19331224",
    "DT": "19331224131415.123",
    "TM": "131415.123",
    "LT": "Jane Doe, 12 Rose Lane",
    **dict.fromkeys(("LO", "PN"), "DOE^JANE"),
    **dict.fromkeys(("ST", "UC", "UT"), "Jane Doe"),
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
        if secret := SECRETS.get(dictionary_VR(tag)):
            ds.add_new(tag, dictionary_VR(tag), secret)
    ds.PatientID, ds.PatientWeight, ds.InstanceNumber = "4711-JANE", "93", "4711"
    block = ds.private_block(0x0011, "JANE DOE PRIVATE", create=True)
    block.add_new(1, "LO", "DOE^JANE")
    block.add_new(2, "PN", "DOE^JANE")
    ds.OtherPatientIDsSequence = [with_elements(PatientID="0815", TypeOfPatientID="TEXT")]
    return ds


def no_secret(*told: object) -> bool:
    return not any(secret in repr(told).upper() for secret in FORBIDDEN)


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
    same_values(slices, [PIXELS - 1024.0])
    assert not caplog.records
    hidden = ("patient", "file", "series", "values")
    assert no_secret([getattr(slices[0], name) for name in slices[0].__slots__ if name not in hidden])
    assert no_secret([notice.reason for notice in notices])
    assert slices[0].patient == "4711-JANE"
    assert slices[0].attributes == {
        "plane": "axial",
        "slice_thickness_mm": 1.0,
        "age_years": 90.0,
        "manufacturer": "other",
        "contrast": "yes",
    }


def test_no_identifying_text_gets_into_a_reason(tmp_path: Path) -> None:
    """A file that is left out because of a name in the wrong element is reported without that name."""
    ds = stuffed()
    for keyword in (*SELECTS, "SOPClassUID", "Modality", "PhotometricInterpretation"):
        before = ds.get(keyword)
        with warnings.catch_warnings(action="ignore"):
            setattr(ds, keyword, "1.2.276.19331224" if keyword == "SOPClassUID" else "DOE^JANE")
        save(ds, tmp_path / keyword)
        if before is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, before)
    slices, notices = read(tmp_path)
    assert len({item.file for item in (*slices, *notices)}) == 7
    assert len(notices) >= 4
    assert no_secret([item.reason for item in notices])


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


ATTRIBUTES = {
    ("PatientAge", "age_years"): [
        ("045Y", 45.0),
        ("089Y", 89.0),
        ("090Y", 90.0),
        ("104Y", 90.0),
        ("018M", 1.5),
        ("002W", 0.0),
        ("45", None),
    ],
    ("PatientSex", "sex"): [("F", "F"), ("FEMALE", None)],
    ("BodyPartExamined", "body_part"): [("HEAD", "head"), ("JANE", None)],
    ("Manufacturer", "manufacturer"): [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("SIEMENS Healthineers", "Siemens"),
        ("Philips DOE^JANE", "Philips"),
        ("TOSHIBA_MEC", "Canon/Toshiba"),
        ("Canon Medical Systems", "Canon/Toshiba"),
        ("Hitachi, Ltd.", "Hitachi"),
        ("FUJIFILM Corporation", "Fujifilm"),
        ("Angela Genova", "other"),
        ("", None),
    ],
    ("MagneticFieldStrength", "field_strength_t"): [(2.89362, 2.89), (15000, 1.5), (-1, None)],
    ("SliceThickness", "slice_thickness_mm"): [(0, None)],
    ("KVP", "kvp"): [(120, 120.0)],
    ("ScanningSequence", "sequence"): [(["IR", "GR", "JANE"], "IR+GR"), ("JANE", None)],
    ("ContrastBolusAgent", "contrast"): [("Gadovist for Mrs Doe", "yes"), ("", "no"), ("NONE", "no")],
}


@pytest.mark.parametrize(
    ("keyword", "name", "stated", "value"), [(*names, *pair) for names, pairs in ATTRIBUTES.items() for pair in pairs]
)
def test_allowed_attributes_are_rebuilt_from_known_values(tmp_path: Path, keyword, name, stated, value) -> None:
    """Numbers within limits and terms of a list; ages above 89 are 90; everything else is missing, and what the header
    does not state."""
    write(tmp_path / "a", PIXELS, **{keyword: stated})
    found = read(tmp_path)[0][0].attributes
    assert found.get(name) == value
    assert found.keys() <= {"plane", "slice_thickness_mm", name}


def test_a_missing_patient_id_falls_back_on_the_study(tmp_path: Path) -> None:
    """Slices of one study then still stay together in one split."""
    for name, study in (("a", "1.2.3"), ("b", "1.2.3"), ("c", "1.2.4")):
        write(tmp_path / name, PIXELS, PatientID="", StudyInstanceUID=study, SeriesInstanceUID=f"1.3.{ord(name)}")
    found = {Path(item.file).name: item.patient for item in read(tmp_path)[0]}
    assert found == {"a": "1.2.3", "b": "1.2.3", "c": "1.2.4"}


def test_an_absent_burned_in_annotation_is_no_reason(tmp_path: Path) -> None:
    """Most scanners do not write the element; only YES leaves a file out."""
    ds = image(PIXELS)
    assert why_left_out(ds, ds.file_meta, 10_000) is None
    ds.BurnedInAnnotation = "NO"
    assert why_left_out(ds, ds.file_meta, 10_000) is None
