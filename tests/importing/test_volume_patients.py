"""Whose volumes these are: ids of BIDS and of public sets, else a guess by names and folders that is called one."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest

from phonybrains.importing import ImportConfig
from phonybrains.importing.volumes.patients import patients
from tests.support.imports import run, table
from tests.support.volume_files import noise, volume

KNOWN = {
    "sub-01": ["sub-01/anat/sub-01_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz", "T2/sub-01_FLAIR.nii"],
    "BraTS20_Training_001": ["BraTS20_Training_001/BraTS20_Training_001_t1.nii.gz", "BraTS20_Training_001/W39_x.nii"],
    "BraTS2021_00000": ["BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz", "BraTS2021_00000_flair.nii.gz"],
    "BraTS-GLI-00000": ["BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz", "BraTS-GLI-00000-001-t2w.nii.gz"],
    "BraTS19_CBICA_AAB": ["HGG/BraTS19_CBICA_AAB_1/BraTS19_CBICA_AAB_1_flair.nii.gz", "BraTS19_CBICA_AAB_2_t1.nii"],
    "BraTS19_2013_10": ["BraTS19_2013_10_1_t1.nii.gz"],
    "brats_tcia_pat101": ["HGG/brats_tcia_pat101_0001/VSD.Brain.XX.O.MR_T1.35/VSD.Brain.XX.O.MR_T1.35.mha"],
    "IXI002": ["IXI002-Guys-0828-T1.nii.gz", "IXI-T2/IXI002-Guys-0828-T2.nii.gz"],
    "002_S_0295": ["ADNI_002_S_0295_MR_MP-RAGE__br_raw_2007.nii", "ADNI/002_S_0295/MPRAGE/2006-04-18/I13722/x.nii"],
    "OAS1_0001": ["OAS1_0001_MR1_mpr-1_anon.hdr", "OAS1_0001_MR2/PROCESSED/MPRAGE/T88_111/x_111_t88.hdr"],
    "OAS30001": ["OAS30001_MR_d0129/anat1/sub-OAS30001_ses-d0129_T1w.nii.gz", "OAS30001_MR_d0757/anat1/T2w.nii.gz"],
    "HCA6002236": ["HCA6002236_V1_MR/T1w/T1w_acpc.nii.gz"],
    "100307": [
        "100307/T1w/T1w_acpc_dc_restore.nii.gz",
        "100307/MNINonLinear/T2w_restore.1.60.nii.gz",
        "100307_3T_T1w_MPR1.nii",
    ],
    "TCGA-CS-4941": ["TCGA-CS-4941_1996.09.09_t1.nii.gz", "TCGA_CS_4941_19960909/t2.nii"],
    "UPENN-GBM-00001": ["UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz", "UPENN-GBM-00001_21_T1GD.nii.gz"],
    "UCSF-PDGM-0004": ["UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_T1.nii.gz", "UCSF-PDGM-0004_FU003d_nifti/x.nii.gz"],
    "CQ500CT0": ["CQ500CT0 CQ500CT0/Unknown Study/CT Plain/x.nii"],
}

GUESSED = {
    "scans in a folder of their patient": ["patient07/T1.nii.gz", "patient07/T2.nii.gz", "patient07/flair_reg.nii"],
    "numbers beside sequences": ["patient 8/12345_T1.nii.gz", "patient 8/12346_T2.nii.gz"],
    "folders of sequences": ["T1/subj9.nii.gz", "T2/subj9.nii.gz", "T1_registered/subj9.nii.gz"],
    "channels of nnU-Net": ["imagesTr/BRATS_001_0000.nii.gz", "imagesTr/BRATS_001_0003.nii.gz"],
    "channels without a number before": ["Dataset1/imagesTr/case_0000.nii.gz", "Dataset1/imagesTr/case_0001.nii.gz"],
    "processing": ["Utrecht/0/orig/FLAIR.nii.gz", "Utrecht/0/pre/T1.nii.gz"],
    "the same number elsewhere": ["Singapore/0/orig/FLAIR.nii.gz"],
    "FreeSurfer": ["bert/mri/T1.mgz", "bert/mri/brain.mgz", "bert/mri/orig/001.mgz"],
    "numbers of people that look like visits": ["healthy/M01.nii"],
    "another such number": ["healthy/M02.nii"],
    "numbers that look like years": ["glioma/2001_T1.nii", "glioma/2001_T2.nii"],
    "another such year": ["glioma/2002_T1.nii"],
    "years of one person": ["pat12/2019/T1.nii", "pat12/2020/T2.nii", "pat12/T1_20210101.nii"],
    "ATLAS 1.2": ["Site1/031768/t01/031768_t1w_deface_stx.nii.gz"],
    "LUMIERE": ["Patient-001/week-000-1/T1.nii.gz", "Patient-001/week-044/CT1.nii.gz"],
    "MSLesSeg": ["P1/T1/P1_T1_FLAIR.nii.gz", "P1/T2/P1_T2_T1.nii.gz"],
    "ISLES": ["case_1/SMIR.Brain.XX.O.CT.345562/SMIR.Brain.XX.O.CT.345562.nii"],
    "iSeg": ["subject-1-T1.hdr", "subject-1-T2.hdr"],
    "folders of names": ["anna/T1.nii", "anna/T2.nii"],
    "another of them": ["bob/T1.nii"],
    "one at a site": ["site1/anna_T1.nii", "site1/anna_T2.nii"],
    "another at the site": ["site1/bob_T1.nii", "site1/bob_T2.nii"],
    "numbered scans, first": ["glioma/scan1.nii"],
    "numbered scans, second": ["glioma/scan2.nii"],
    "numbers up to ten and more, first": ["all/kid_0000.nii.gz"],
    "numbers up to ten and more, last": ["all/kid_0011.nii.gz"],
}


def test_names_of_public_sets_are_known() -> None:
    """Each way in which a public set names the modalities and visits of one person gives the person, and no guess."""
    expected = {name: (identity, False) for identity, of_one in KNOWN.items() for name in of_one}
    assert patients(list(expected), "scans") == expected


def test_all_else_is_guessed_together_and_apart() -> None:
    """What lies in one row is one person, what lies in two rows two, and every id is called a guess."""
    names = [name for of_one in GUESSED.values() for name in of_one]
    found = patients(names, "scans")
    assert all(is_guess for _, is_guess in found.values())
    ids = {label: {found[name][0] for name in of_one} for label, of_one in GUESSED.items()}
    assert {label: len(of_one) for label, of_one in ids.items()} == dict.fromkeys(GUESSED, 1)
    assert len(set.union(*ids.values())) == len(GUESSED)


def test_a_bids_id_in_two_studies_is_a_guess() -> None:
    """sub-01 of two studies may be two people: they stay in one split, and it is not called patient-safe."""
    found = patients(["ds1/sub-01/sub-01_T1w.nii", "ds2/sub-01/sub-01_T1w.nii", "ds1/sub-02/sub-02_T1w.nii"], "scans")
    assert found["ds1/sub-01/sub-01_T1w.nii"] == found["ds2/sub-01/sub-01_T1w.nii"] == ("sub-01", True)
    assert found["ds1/sub-02/sub-02_T1w.nii"] == ("sub-02", False)
    derived = patients(["ds1/sub-01/a.nii", "ds1/derivatives/fmriprep/sub-01/a.nii"], "scans")
    assert set(derived.values()) == {("sub-01", False)}


def test_volumes_of_two_sources_are_not_one_person() -> None:
    """`T1.nii` in two sources is of two people; the same number in sources named for sequences is of one."""
    assert patients(["T1.nii"], "anna")["T1.nii"] != patients(["T1.nii"], "bob")["T1.nii"]
    assert patients(["p7.nii"], "T1")["p7.nii"] == patients(["p7.nii"], "T2")["p7.nii"]


LAYOUTS = {
    "BraTS20_Training_{p:03d}/BraTS20_Training_{p:03d}_{m}.nii.gz": "by patient",
    "IXI{p:03d}-Guys-0828-{m}.nii.gz": "by patient",
    "BraTS-GLI-{p:05d}-00{v}/BraTS-GLI-{p:05d}-00{v}-{m}.nii.gz": "by patient",
    "patient{p}/{m}.nii.gz": "by patient as guessed, not patient-safe",
    "{m}/case{p}.nii.gz": "by patient as guessed, not patient-safe",
    "imagesTr/case_{p:03d}_000{v}.nii.gz": "by patient as guessed, not patient-safe",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twelve_heads_of_four_volumes_are_twelve_patients(tmp_path: Path, layout: str) -> None:
    """Imported as the sets lay them out: no head in two splits, and the record says how its patients are known."""
    heads: dict[str, int] = {}
    for p, (v, m) in product(range(12), enumerate(("t1", "t1ce", "t2", "flair"))):
        path = volume(tmp_path / "scans" / layout.format(p=p, v=v, m=m), noise(4 * p + v, (16, 16, 1)))
        heads[str(path.relative_to(tmp_path))] = p
    results = run(tmp_path / "scans", tmp_path / "out", ImportConfig(size=16, modality="MR")).results
    assert (results["total"], results["patients"], results["split"]) == (48, {"MR": 12}, {"MR": LAYOUTS[layout]})
    split = {row["file_name"]: row["split"] for row in table(tmp_path / "out/metadata.csv")}
    splits: dict[int, set[str]] = defaultdict(set)
    for line in table(tmp_path / "out.import.csv"):
        if line["kind"] == "imported":
            splits[heads[line["file"]]].add(split[line["reason"]])
    assert sorted(splits) == list(range(12))
    assert all(len(names) == 1 for names in splits.values())
