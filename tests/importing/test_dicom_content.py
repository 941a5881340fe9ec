"""DICOM: what is no picture of tissue as it was measured is left out, frame by frame; what is one never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from phonybrains.importing import ImportConfig
from tests.support.dicom_files import clean, enhanced_mr, heights, image, read, save, with_elements, write
from tests.support.imports import run

PIXELS = np.arange(400, dtype=np.uint16).reshape(20, 20) + 24
LEFT_OUT = {
    "phase": """
        ORIGINAL PRIMARY P ND
        ORIGINAL PRIMARY PHASE~MAP P FFE
        ORIGINAL PRIMARY OTHER | ComplexImageComponent=PHASE""",
    "real or imaginary": """
        ORIGINAL PRIMARY R ND
        ORIGINAL PRIMARY R_IR R IR
        ORIGINAL PRIMARY I_FFE I FFE
        ORIGINAL PRIMARY IMAGINARY
        ORIGINAL PRIMARY M | ComplexImageComponent=REAL""",
    "velocity": """
        ORIGINAL PRIMARY VELOCITY~MAP P PCA
        ORIGINAL PRIMARY VELOCITY""",
    "projection": """
        ORIGINAL PRIMARY MNIP
        ORIGINAL PRIMARY MIN~IP
        DERIVED SECONDARY REFORMATTED MAX_IP
        DERIVED PRIMARY CSA~MIP~THICK M
        DERIVED SECONDARY PJN
        DERIVED SECONDARY PROJECTION~IMAGE CSAPARALLEL
        DERIVED PRIMARY OTHER | VolumeBasedCalculationTechnique=MAX_IP
        DERIVED SECONDARY OTHER | SeriesDescription=TOF MIP RL""",
    "reformatted": """
        DERIVED SECONDARY MPR CSA~MPR
        DERIVED SECONDARY REFORMATTED AVERAGE
        DERIVED SECONDARY CT_SOM5~MPR
        DERIVED PRIMARY OTHER | VolumeBasedCalculationTechnique=CURVED_MPR""",
    "computed values": """
        DERIVED PRIMARY DIFFUSION FA ND
        DERIVED PRIMARY DIFFUSION ADC ND
        DERIVED PRIMARY DIFFUSION COLFA
        DERIVED PRIMARY PERFUSION RELCBF
        DERIVED PRIMARY T1~MAP T1
        DERIVED PRIMARY NONE T2_STAR
        ORIGINAL PRIMARY B0~MAP B0
        DERIVED SECONDARY OTHER | SeriesDescription=Fractional Anisotropy
        DERIVED SECONDARY OTHER | SeriesDescription=PET fused
        DERIVED PRIMARY M SUB ND""",
    "label map": """
        DERIVED SECONDARY SEGMENTATION
        DERIVED SECONDARY OTHER | SeriesDescription=brain mask""",
    "screenshot": """
        DERIVED SECONDARY VXTL~STATE""",
    "calibration": """
        ORIGINAL PRIMARY OTHER | SeriesDescription=ASSET calibration""",
    "scout": """
        ORIGINAL PRIMARY SCANOGRAM
        ORIGINAL PRIMARY AXIAL | ScanOptions=SCOUT MODE
        ORIGINAL PRIMARY M | ProtocolName=head localizer""",
}
"""By reason, terms of ImageType (~ is a blank in one), and another element."""
SCOUTS = """LOCALIZER,Survey_SHC,SmartBrain,Topogram  1.0,3-plane loc,3 Plane Loc SSFSE,3PL_LOC,AAHead_Scout_64ch,
    AAHScout,PLAN SCAN,Plan,Tri-plane,localisateur,Lokalizer,*pilot*,SCANOGRAM,Scout View,fastview"""
KEPT = """
    ORIGINAL PRIMARY M ND NORM
    ORIGINAL PRIMARY M_FFE M FFE
    ORIGINAL PRIMARY PHASE~CONTRAST~M M PCA
    ORIGINAL PRIMARY VELOCITY NONE | ComplexImageComponent=MAGNITUDE
    ORIGINAL PRIMARY P | ComplexImageComponent=MAGNITUDE
    ORIGINAL PRIMARY T1 NONE
    ORIGINAL PRIMARY T2_STAR NONE
    ORIGINAL PRIMARY DIFFUSION NONE ND
    DERIVED PRIMARY DIFFUSION TRACEW ND | SeriesDescription=ep2d_diff_TRACEW
    DERIVED PRIMARY W W DERIVED
    DERIVED PRIMARY IP IP DERIVED
    DERIVED PRIMARY M_IP OP
    ORIGINAL PRIMARY M DIXON IN_PHASE
    ORIGINAL PRIMARY M DIXON FAT
    DERIVED PRIMARY M DIS3D | SeriesDescription=t2_tse_fa150
    DERIVED PRIMARY M DIS3D | SeriesDescription=t1_mpr_sag_p2_iso
    ORIGINAL PRIMARY AXIAL | VolumeBasedCalculationTechnique=NONE"""
KEPT_NAMES = """T1 post-contrast venous phase,3D TOF,TOF_3D_multi-slab,t1_mpr_ns_sag,MPRAGE,phase contrast,in-phase,
    Axial T2 FLAIR,velocity encoding off,T1 SPACE,SWI,MIP source images,FA 15,func_localizer_task,
    Stealth T1 localization,T1 planning,pilot study T1,BrainView_T2,local shim,T2 location,IR real,subtraction source,
    1.3 planes"""
DESCRIBED = "ORIGINAL PRIMARY M | SeriesDescription="


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def described(names: str) -> list[str]:
    return [DESCRIBED + name.strip() for name in names.split(",")]


def elements_of(line: str) -> dict[str, Any]:
    types, _, more = line.partition(" | ")
    name, _, value = more.partition("=")
    return {"ImageType": [term.replace("~", " ") for term in types.split()]} | ({name: value} if name else {})


@pytest.mark.parametrize(
    ("reason", "line"),
    [(reason, line) for reason, text in LEFT_OUT.items() for line in lines(text)]
    + [("scout", line) for line in described(SCOUTS)],
)
def test_what_shows_no_measured_tissue_is_left_out(tmp_path: Path, reason: str, line: str) -> None:
    """By every vendor's words for it, with the reason; what somebody typed is not quoted."""
    elements = {"SeriesDescription": "", "PatientComments": "secret", **elements_of(line)}
    write(tmp_path / "a", PIXELS, "MR", **elements)
    slices, (notice,) = read(tmp_path)
    assert not slices
    assert notice.kind == "skipped"
    assert reason in notice.reason
    assert (elements["SeriesDescription"] or "secret") not in notice.reason


@pytest.mark.parametrize("line", lines(KEPT) + described(KEPT_NAMES))
def test_a_measured_magnitude_image_is_never_lost_to_a_word(tmp_path: Path, line: str) -> None:
    """Descriptions that speak of phases, projections or scouts, and terms that only look alike, leave nothing out."""
    write(tmp_path / "a", PIXELS, "MR", **elements_of(line))
    assert len(clean(tmp_path)) == 1


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
    ds = enhanced_mr(volume, [(0.0, 0.0, 5.0 * (n // 2)) for n in range(6)])
    ds.ImageType, ds.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "T1", "MIXED"], "MIXED"
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        component = "PHASE" if n % 2 else "MAGNITUDE"
        what = with_elements(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"], ComplexImageComponent=component)
        frame.MRImageFrameTypeSequence = [what]
    save(ds, tmp_path / "a")
    slices, notices = read(tmp_path)
    assert [item.order for item in slices] == [0, 5, 10]
    assert slices[0].high <= PIXELS.max() + 12
    assert [item.reason for item in notices] == ["3 of its 6 frames: a phase image (by its ComplexImageComponent)"]


def test_frame_types_of_a_shared_group_and_of_ct_count(tmp_path: Path) -> None:
    """A projection said in the shared group of Enhanced CT, by its technique, is left out as a whole."""
    types = ["DERIVED", "SECONDARY", "VOLUME", "NONE"]
    what = with_elements(FrameType=types, VolumeBasedCalculationTechnique="MIN_IP")
    ds = enhanced_mr(np.stack([PIXELS, PIXELS + 1]), heights(2))
    ds.SOPClassUID, ds.Modality = uid.EnhancedCTImageStorage, "CT"
    ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [what]
    save(ds, tmp_path / "a")
    slices, notices = read(tmp_path)
    assert not slices
    assert [item.reason for item in notices] == ["a projection of many slices (by its VolumeBasedCalculationTechnique)"]


def test_a_given_modality_brings_nothing_back(tmp_path: Path) -> None:
    """With modality MR, as without, a phase image stays out."""
    for term in "PM":
        write(tmp_path / "in" / term, PIXELS, "MR", ImageType=["ORIGINAL", "PRIMARY", term])
    report = run(tmp_path / "in", tmp_path / "out", ImportConfig(modality="MR"))
    assert (report.results["total"], report.results["skipped"]) == (1, 1)
