"""The words in names of files and folders: which sequence, what else than a picture of anatomy.

Words end at `_ - . + ~`, blanks and brackets, and are compared in lower case. Sources: BIDS 1.10, appendix "Entities";
FreeSurfer's `mri` folder; the names that dcm2niix gives; the public sets named in docs/import.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..reader import vocabulary

EXTENSION = re.compile(r"\.(nii(\.gz)?|hdr|img|mg[hz](\.gz)?|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
MR = vocabulary(
    "t1 t1w t1c t1ce t1gd t1n t1post t1km ct1 t2 t2w t2f t2star t2starw flair pd pdw pdt2 swi inplanet1 inplanet2 "
    "angio mra unit1 mp2rage mprage adc dwi mr mri t1map t2map m0map"
)
CT = vocabulary("ct ncct cta hu")
AMBIGUOUS = vocabulary("hu pd")
"""Also the name of a person and of a disease."""
LABELS = vocabulary(
    "seg segm segs dseg fseg probseg pveseg segmentation segmentations segtri mask masks label labels aseg aparc "
    "wmparc ribbon brainmask hypointensities synthseg parcellation parc groundtruth manualmask lesionseg glistrboost "
    "annotation"
)
LAST_LABELS = LABELS | vocabulary("roi rois lesion lesions filled wm gm csf pve gt contour contours")
LABEL_FOLDERS = vocabulary(
    "labels labelstr labelsts labelsval label seg segs segmentation segmentations mask masks groundtruth gt rois "
    "annotations parcellation parcellations"
)
NOT_ANATOMY = {
    "a real or imaginary part, not a magnitude image": "imaginary imag real_",
    "a phase image or field map": "phase phasediff fieldmap b0map b1map fmap phase1_ phase2_ ph_",
    "a diffusion or perfusion map, not an image": "tensor kurtosis ktrans tmax fa_ md_ rd_ mo_ cbf_ cbv_ "
    "mtt_ ttp_ odi_",
    "a velocity map, not an image": "velocity flowmap vel_",
    "a PET image or map": "pet suv suvr suvbw fdg spect",
    "a scout (localizer)": "scout localizer localiser survey surview topogram smartbrain aahscout 3plane loc_ topo_",
    "a projection of many slices": "mip minip mnip",
    "a field of deformations, not an image": "warpfield jacobian displacement warp_ xfm_",
    "a statistical map, not an image": "zstat tstat fstat zmap tmap statmap",
}
"""By what a volume is, words of its name; one with _ at its end counts only as the last, but for numbers."""
REASONS = {word: reason for reason, line in NOT_ANATOMY.items() for word in line.split()}
DTIFIT = vocabulary("v1 v2 v3 l1 l2 l3 s0 sse")
FOLDERS = vocabulary("pet suv phase fmap fieldmap localizer localiser scout mip minip fa_ md_ cbf_ cbv_")
PART = re.compile(r"(?:^|_)part-(?!mag)(\w+?)(?:_|$)", re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word for word in re.split(r"[_\-.+~ ()\[\]]+", text.lower()) if word]


def stem(name: str) -> str:
    """A path or name without the extension of a volume."""
    return EXTENSION.sub("", name)


def sidecar_of(path: Path) -> Path:
    """Where the BIDS sidecar of a volume would lie: the same name, .json."""
    return path.with_name(f"{stem(path.name)}.json")


def modality_by_words(name: str) -> str:
    """MR, CT or "": by the file's last word that tells, else by the nearest folder with words of one kind."""
    *folders, own = stem(name).split("/")
    found = words(own)
    for word in reversed(found):
        if (word in MR or word in CT) and (word not in AMBIGUOUS or word == found[-1]):
            return "MR" if word in MR else "CT"
    for folder in reversed(folders):
        found = set(words(folder))
        if bool(found & MR) != bool(found & CT):
            return "MR" if found & MR else "CT"
    return ""


def why_no_anatomy(name: str, folder: str = "") -> str:
    """Why a volume is no picture of anatomy, by its path below a source and that folder's name; "" if nothing tells.

    A word for labels does not count where the name ends in a sequence: `desc-mask_T1w` is a masked image.
    """
    *folders, own = stem(name).split("/")
    for place in (folder, *folders):
        if place.lower().replace("_", "") in LABEL_FOLDERS:
            return f"a label map (by its folder, {place}), not an image"
    for place in folders:
        if word := next((word for word in (place.lower(), f"{place.lower()}_") if word in FOLDERS), ""):
            return f"{REASONS[word]} (by its folder, {place})"
    if PART.search(own):
        return "a real, imaginary or phase part (by its name), not a magnitude image"
    found = words(own)
    last = next((word for word in reversed(found) if not word.isdigit()), "")
    for word in (f"{last}_", *reversed(found)):
        if word in REASONS:
            return f"{REASONS[word]} (by its name, …{word.rstrip('_')})"
    if "dti" in found and last in DTIFIT:
        return f"a diffusion map, not an image (by its name, …{last})"
    for word in reversed(() if last in MR or last in CT else found):
        if word in LABELS or (word == found[-1] and word in LAST_LABELS):
            return f"a label map (by its name, …{word}), not an image"
    return ""
