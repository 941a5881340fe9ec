"""DICOM without PatientID: what belongs together stays together, and a guess is called one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonybrains.importing import ImportConfig
from tests.support.dicom_files import read, write
from tests.support.imports import run

PIXELS = np.arange(400, dtype=np.int16).reshape(20, 20) + 24


def put(folder: Path, number: int, **elements: Any) -> None:
    known = {"PatientID": "", "SeriesInstanceUID": f"1.2.3.{number}", "StudyInstanceUID": f"1.2.4.{number}"}
    write(folder / str(number), PIXELS + number, **(known | elements))


def patients(folder: Path) -> list[tuple[str, bool]]:
    """Patient and whether it is a guess, by the number of the file."""
    slices, _ = read(folder)
    return [(item.patient, item.patient_is_guess) for item in sorted(slices, key=lambda item: item.file)]


@pytest.mark.parametrize("nobody", ["", " ", "ANONYMOUS", "Anonymized^", "unknown", "n/a", "^^", "no id", None])
def test_studies_without_an_id_are_guessed_patients(tmp_path: Path, nobody: str | None) -> None:
    """Two series of one study are one person, two studies two, as far as one knows; placeholders are no ids."""
    for number in range(4):
        put(tmp_path, number, PatientID=nobody, StudyInstanceUID=f"1.2.4.{number // 2}")
    found = patients(tmp_path)
    assert [guess for _, guess in found] == [True] * 4
    assert found[0] == found[1] != found[2] == found[3]


@pytest.mark.parametrize(
    "shared", [{"FrameOfReferenceUID": "1.2.5.1"}, {"PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}]
)
def test_studies_are_joined_by_what_one_person_shares(tmp_path: Path, shared: dict[str, str]) -> None:
    """One frame of reference, or one name with date of birth, is one person, whatever the study."""
    put(tmp_path, 0, **shared)
    put(tmp_path, 1, **shared)
    put(tmp_path, 2, FrameOfReferenceUID="1.2.5.2", PatientName="Doe^John", PatientBirthDate="19700101")
    found = patients(tmp_path)
    assert found[0] == found[1] != found[2]


def test_what_everybody_has_joins_nobody(tmp_path: Path) -> None:
    """An atlas as frame of reference, a placeholder as name, a name without date of birth: different studies differ."""
    atlas = {"FrameOfReferenceUID": "1.2.840.10008.1.4.1.1"}
    placeholder = {"PatientName": "Anonymous", "PatientBirthDate": "19000101"}
    for number, elements in enumerate((atlas, atlas, placeholder, placeholder, *[{"PatientName": "Doe"}] * 2)):
        put(tmp_path, number, **elements)
    assert len({patient for patient, _ in patients(tmp_path)}) == 6


def test_the_id_of_a_study_is_that_of_all_its_images(tmp_path: Path) -> None:
    """An image without id in a study with one id is known to be that patient's; with two ids it is a guess."""
    for number, (patient, study) in enumerate((("P7", 9), ("", 9), ("P1", 8), ("P2", 8), ("", 8))):
        put(tmp_path, number, PatientID=patient, StudyInstanceUID=f"1.2.4.{study}")
    found = patients(tmp_path)
    assert found[:4] == [("P7", False), ("P7", False), ("P1", False), ("P2", False)]
    assert found[4][1]
    assert found[4][0] not in ("P1", "P2", "P7")


def test_without_any_uid_a_series_or_folder_stands_for_a_patient(tmp_path: Path) -> None:
    """Neither study nor frame of reference: the files of a folder are one guessed patient."""
    for number, folder in enumerate("aab"):
        put(tmp_path / folder, number, StudyInstanceUID=None, SeriesInstanceUID=None)
    found = patients(tmp_path)
    assert found[0] == found[1] != found[2]
    assert all(guess for _, guess in found)


def test_the_record_says_that_patients_are_not_known(tmp_path: Path) -> None:
    """Six studies without PatientID: not patient-safe, with a warning; with one they are safe."""
    for number in range(6):
        put(tmp_path / "in", number)
        put(tmp_path / "known", number, PatientID=f"P{number}")
    config = ImportConfig(size=16, window=(-800, 500))  # the range of these pixels
    report = run(tmp_path / "in", tmp_path / "out", config)
    assert "not patient-safe" in report.results["split"]["CT"]
    assert any("guessed" in item.reason for item in report.notices if item.kind == "warning")
    assert run(tmp_path / "known", tmp_path / "safe", config).results["split"]["CT"] == "by patient"
