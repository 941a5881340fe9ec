"""DICOM: what is no picture of tissue as it was measured is left out, frame by frame; what is one never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from phonybrains.importing import ImportConfig, import_images
from tests.support.dicom_files import enhanced_mr, image, read, save, write

PIXELS = np.arange(400, dtype=np.uint16).reshape(20, 20) + 24


def kind(*terms: str, **elements: Any) -> dict[str, Any]:
    return {"ImageType": list(terms), **elements}


LEFT_OUT = [
    ("phase", kind("ORIGINAL", "PRIMARY", "P", "ND")),
    ("phase", kind("ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE")),
    ("phase", kind("ORIGINAL", "PRIMARY", "OTHER", ComplexImageComponent="PHASE")),
    ("real or imaginary", kind("ORIGINAL", "PRIMARY", "R", "ND")),
    ("real or imaginary", kind("ORIGINAL", "PRIMARY", "R_IR", "R", "IR")),
    ("real or imaginary", kind("ORIGINAL", "PRIMARY", "I_FFE", "I", "FFE")),
    ("real or imaginary", kind("ORIGINAL", "PRIMARY", "IMAGINARY")),
    ("real or imaginary", kind("ORIGINAL", "PRIMARY", "M", ComplexImageComponent="REAL")),
    ("velocity", kind("ORIGINAL", "PRIMARY", "VELOCITY MAP", "P", "PCA")),
    ("velocity", kind("ORIGINAL", "PRIMARY", "VELOCITY")),
    ("projection", kind("ORIGINAL", "PRIMARY", "MNIP")),
    ("projection", kind("ORIGINAL", "PRIMARY", "MIN IP")),
    ("projection", kind("DERIVED", "SECONDARY", "REFORMATTED", "MAX_IP")),
    ("projection", kind("DERIVED", "PRIMARY", "CSA MIP THICK", "M")),
    ("projection", kind("DERIVED", "SECONDARY", "PJN")),
    ("projection", kind("DERIVED", "SECONDARY", "PROJECTION IMAGE", "CSAPARALLEL")),
    ("projection", kind("DERIVED", "PRIMARY", "OTHER", VolumeBasedCalculationTechnique="MAX_IP")),
    ("projection", kind("DERIVED", "SECONDARY", "OTHER", SeriesDescription="TOF MIP RL")),
    ("reformatted", kind("DERIVED", "SECONDARY", "MPR", "CSA MPR")),
    ("reformatted", kind("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE")),
    ("reformatted", kind("DERIVED", "SECONDARY", "CT_SOM5 MPR")),
    ("reformatted", kind("DERIVED", "PRIMARY", "OTHER", VolumeBasedCalculationTechnique="CURVED_MPR")),
    ("computed values", kind("DERIVED", "PRIMARY", "DIFFUSION", "FA", "ND")),
    ("computed values", kind("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND")),
    ("computed values", kind("DERIVED", "PRIMARY", "DIFFUSION", "COLFA")),
    ("computed values", kind("DERIVED", "PRIMARY", "PERFUSION", "RELCBF")),
    ("computed values", kind("DERIVED", "PRIMARY", "T1 MAP", "T1")),
    ("computed values", kind("DERIVED", "PRIMARY", "NONE", "T2_STAR")),
    ("computed values", kind("ORIGINAL", "PRIMARY", "B0 MAP", "B0")),
    ("computed values", kind("DERIVED", "SECONDARY", "OTHER", SeriesDescription="Fractional Anisotropy")),
    ("computed values", kind("DERIVED", "SECONDARY", "OTHER", SeriesDescription="PET fused")),
    ("computed values", kind("DERIVED", "PRIMARY", "M", "SUB", "ND")),
    ("label map", kind("DERIVED", "SECONDARY", "SEGMENTATION")),
    ("label map", kind("DERIVED", "SECONDARY", "OTHER", SeriesDescription="brain mask")),
    ("screenshot", kind("DERIVED", "SECONDARY", "VXTL STATE")),
    ("scout", kind("ORIGINAL", "PRIMARY", "SCANOGRAM")),
    ("scout", kind("ORIGINAL", "PRIMARY", "AXIAL", ScanOptions="SCOUT MODE")),
    ("calibration", kind("ORIGINAL", "PRIMARY", "OTHER", SeriesDescription="ASSET calibration")),
    *(
        ("scout", kind("ORIGINAL", "PRIMARY", "M", SeriesDescription=name))
        for name in (
            "LOCALIZER",
            "Survey_SHC",
            "SmartBrain",
            "Topogram  1.0",
            "3-plane loc",
            "3 Plane Loc SSFSE",
            "3PL_LOC",
            "AAHead_Scout_64ch",
            "AAHScout",
            "PLAN SCAN",
            "Plan",
            "Tri-plane",
            "localisateur",
            "Lokalizer",
            "*pilot*",
            "SCANOGRAM",
            "Scout View",
            "fastview",
        )
    ),
    ("scout", kind("ORIGINAL", "PRIMARY", "M", SeriesDescription="", ProtocolName="head localizer")),
]

KEPT = [
    kind("ORIGINAL", "PRIMARY", "M", "ND", "NORM"),
    kind("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"),
    kind("ORIGINAL", "PRIMARY", "PHASE CONTRAST M", "M", "PCA"),
    kind("ORIGINAL", "PRIMARY", "VELOCITY", "NONE", ComplexImageComponent="MAGNITUDE"),
    kind("ORIGINAL", "PRIMARY", "P", ComplexImageComponent="MAGNITUDE"),
    kind("ORIGINAL", "PRIMARY", "T1", "NONE"),
    kind("ORIGINAL", "PRIMARY", "T2_STAR", "NONE"),
    kind("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND"),
    kind("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND", SeriesDescription="ep2d_diff_TRACEW"),
    kind("DERIVED", "PRIMARY", "W", "W", "DERIVED"),
    kind("DERIVED", "PRIMARY", "IP", "IP", "DERIVED"),
    kind("DERIVED", "PRIMARY", "M_IP", "OP"),
    kind("ORIGINAL", "PRIMARY", "M", "DIXON", "IN_PHASE"),
    kind("ORIGINAL", "PRIMARY", "M", "DIXON", "FAT"),
    kind("DERIVED", "PRIMARY", "M", "DIS3D", SeriesDescription="t2_tse_fa150"),
    kind("DERIVED", "PRIMARY", "M", "DIS3D", SeriesDescription="t1_mpr_sag_p2_iso"),
    kind("ORIGINAL", "PRIMARY", "AXIAL", VolumeBasedCalculationTechnique="NONE"),
    *(
        kind("ORIGINAL", "PRIMARY", "M", SeriesDescription=name)
        for name in (
            "T1 post-contrast venous phase",
            "3D TOF",
            "TOF_3D_multi-slab",
            "t1_mpr_ns_sag",
            "MPRAGE",
            "phase contrast",
            "in-phase",
            "Axial T2 FLAIR",
            "velocity encoding off",
            "T1 SPACE",
            "SWI",
            "MIP source images",
            "FA 15",
            "func_localizer_task",
            "Stealth T1 localization",
            "T1 planning",
            "pilot study T1",
            "BrainView_T2",
            "local shim",
            "T2 location",
            "IR real",
            "subtraction source",
            "1.3 planes",
        )
    ),
]


@pytest.mark.parametrize(("reason", "elements"), LEFT_OUT, ids=lambda value: str(value)[:70])
def test_what_shows_no_measured_tissue_is_left_out(tmp_path: Path, reason: str, elements: dict[str, Any]) -> None:
    """By every vendor's words for it, with the reason; what somebody typed is not quoted."""
    write(tmp_path / "a", PIXELS, "MR", **{"SeriesDescription": "", "PatientComments": "secret", **elements})
    slices, notices = read(tmp_path)
    assert not slices
    assert [item.kind for item in notices] == ["skipped"]
    assert reason in notices[0].reason
    description = elements.get("SeriesDescription") or "secret"
    assert description not in notices[0].reason


@pytest.mark.parametrize("elements", KEPT, ids=lambda value: str(value)[:70])
def test_a_measured_magnitude_image_is_never_lost_to_a_word(tmp_path: Path, elements: dict[str, Any]) -> None:
    """Descriptions that speak of phases, projections or scouts, and terms that only look alike, leave nothing out."""
    write(tmp_path / "a", PIXELS, "MR", **elements)
    slices, notices = read(tmp_path)
    assert len(slices) == 1
    assert not notices


def test_terms_of_mr_mean_nothing_in_ct(tmp_path: Path) -> None:
    """A CT whose ImageType has a P or an R is no phase or real image."""
    write(tmp_path / "a", PIXELS, "CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "P", "R"])
    assert len(read(tmp_path)[0]) == 1


def test_ge_tells_phase_real_and_imaginary_in_a_private_element(tmp_path: Path) -> None:
    """(0043,xx2F) of GEMS_PARM_01: 0 is magnitude and stays, 1 to 3 are left out; the same number of others is not."""
    for raw, creator in ((0, "GEMS_PARM_01"), (1, "GEMS_PARM_01"), (3, "GEMS_PARM_01"), (1, "SOMEBODY ELSE")):
        ds = image(PIXELS, "MR", ImageType=["ORIGINAL", "PRIMARY", "OTHER"], ImagePositionPatient=[0, 0, 5 * raw])
        ds.private_block(0x0043, creator, create=True).add_new(0x2F, "SS", raw)
        save(ds, tmp_path / f"{creator[:2]}{raw}")
    slices, notices = read(tmp_path)
    assert sorted(Path(item.file).name for item in slices) == ["GE0", "SO1"]
    assert sorted(item.reason.split(" (")[0] for item in notices) == ["a phase image", "a real or imaginary image"]


def test_the_frames_of_a_mixed_image_are_judged_one_by_one(tmp_path: Path) -> None:
    """Phase frames leave an Enhanced MR image of ImageType MIXED, magnitude frames stay and keep their range."""
    volume = np.stack([PIXELS + 3 * n if n % 2 == 0 else PIXELS[::-1] * 100 for n in range(6)])
    ds = enhanced_mr(volume, [(0.0, 0.0, 5.0 * (n // 2)) for n in range(6)], [1.0] * 6)
    ds.ImageType, ds.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "T1", "MIXED"], "MIXED"
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        what = Dataset()
        what.FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        what.ComplexImageComponent = "PHASE" if n % 2 else "MAGNITUDE"
        frame.MRImageFrameTypeSequence = Items([what])
    save(ds, tmp_path / "a")
    slices, notices = read(tmp_path)
    assert [item.order for item in slices] == [0, 5, 10]
    assert slices[0].high <= PIXELS.max() + 12
    assert [item.reason for item in notices] == ["3 of its 6 frames: a phase image (by its ComplexImageComponent)"]


def test_frame_types_of_a_shared_group_and_of_ct_count(tmp_path: Path) -> None:
    """A projection said in the shared group of Enhanced CT, by its technique, is left out as a whole."""
    what = Dataset()
    what.FrameType, what.VolumeBasedCalculationTechnique = ["DERIVED", "SECONDARY", "VOLUME", "NONE"], "MIN_IP"
    ds = enhanced_mr(np.stack([PIXELS, PIXELS + 1]), [(0, 0, 0), (0, 0, 5)], [1.0] * 2)
    ds.SOPClassUID, ds.Modality = uid.EnhancedCTImageStorage, "CT"
    ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence = Items([what])
    save(ds, tmp_path / "a")
    slices, notices = read(tmp_path)
    assert not slices
    assert [item.reason for item in notices] == ["a projection of many slices (by its VolumeBasedCalculationTechnique)"]


def test_a_given_modality_brings_nothing_back(tmp_path: Path) -> None:
    """With modality MR, as without, a phase image stays out."""
    write(tmp_path / "in" / "p.dcm", PIXELS, "MR", ImageType=["ORIGINAL", "PRIMARY", "P"])
    write(tmp_path / "in" / "m.dcm", PIXELS, "MR", ImageType=["ORIGINAL", "PRIMARY", "M"])
    config = ImportConfig(modality="MR", key_file=tmp_path / "key")
    report = import_images([tmp_path / "in"], tmp_path / "out", config, progress=False)
    assert report.results["total"] == 1
    assert report.results["skipped"] == 1
