"""What a volume shows: MR or CT, anatomy or not, by the words of its name, a BIDS sidecar, or its values.

Words end at `_ - . + ~`, blanks and brackets, and are compared in lower case. Sources: BIDS 1.10, appendix "Entities";
FreeSurfer's `mri` folder; the names that dcm2niix gives; the public sets named in docs/import.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
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

LARGEST_SIDECAR = 10_000_000
HOW = 'give modality = "MR" or "CT", or end the file\'s name in _T1w, _T2w, _FLAIR, … or _ct'
MOST_LABELS = 256
SAME_AS_NEXT = 0.8
NOT_MAGNITUDE = {
    "a phase, real or imaginary image": {"P", "PHASE", "PHASE MAP", "REAL", "IMAGINARY", "R", "I"},
    "a scout (localizer)": {"LOCALIZER", "SCOUT", "SURVEY"},
    "a projection of many slices": {"MIP", "MINIP", "MIN_IP", "MAX_IP", "MNIP", "PROJECTION IMAGE"},
    "a diffusion or perfusion map": {"FA", "TENSOR", "CBF", "CBV", "MTT", "TTP"},
    "a velocity map": {"VELOCITY", "VELOCITY MAP"},
}


def words(text: str) -> list[str]:
    """The words of a name, in lower case."""
    return [word for word in re.split(r"[_\-.+~ ()\[\]]+", text.lower()) if word]


def stem(name: str) -> str:
    """A path or name without the extension of a volume."""
    return EXTENSION.sub("", name)


def sidecar_of(path: Path) -> Path:
    """Where the BIDS sidecar of a volume would lie: the same name, .json."""
    return path.with_name(f"{stem(path.name)}.json")


def says_synthetic(sidecar: Path) -> bool:
    """Whether a BIDS sidecar says so (`SyntheticData`, as DICOM's attribute of this name)."""
    return _sidecar(sidecar).get("SyntheticData") is True


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


def modality_of(sidecar: Path, name: str) -> str:
    """MR, CT, or "" if neither the BIDS sidecar (`Modality`) nor the name, a path below the source, tells.

    Raises SourceError for a sidecar that names another modality, or says that the volume is no picture of anatomy.
    """
    told = _sidecar(sidecar)
    types = {term.upper() for term in told.get("ImageType", ()) if isinstance(term, str)}
    for reason, known in NOT_MAGNITUDE.items():
        if types & known:
            raise SourceError(f"{reason} (by its sidecar's ImageType), not an image of anatomy")
    stated = told.get("Modality")
    if stated in ("MR", "CT"):
        return stated
    if isinstance(stated, str) and stated:
        raise SourceError("its sidecar says that its modality is neither MR nor CT")
    return modality_by_words(name)


def is_label_map(values: NDArray[np.float32], whole: bool) -> bool:
    """Whether values look like labels: few whole numbers from 0 on, and most are as those beside them.

    whole: whether the file stores integers, else no value but 0, 1, … can be a label.
    """
    sample = values if whole else values.ravel()[:1000]
    if values.min() < 0 or (not whole and not np.array_equal(sample, np.rint(sample))):
        return False
    inside = values[values > 0]
    if len(np.unique(inside[:: max(1, inside.size // 100_000)])) > (MOST_LABELS if whole else 16):
        return False
    alike: list[float] = []
    for axis in (0, 1):
        along = np.moveaxis(values, axis, 0)
        labelled = along[:-1] > 0
        if labelled.any():
            alike.append(float((along[1:] == along[:-1])[labelled].mean()))
    return bool(alike) and min(alike) > SAME_AS_NEXT


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def modality_by_values(values: NDArray[np.float32]) -> str:
    """CT if the values are whole numbers from that of air (-900 HU or less) to some above 100 HU.

    Raises SourceError otherwise: MR has no values that tell it from anything else.
    """
    sample = values.ravel()[:: max(1, values.size // 1_000_000)]
    if values.min() <= -900 and 100 < values.max() < 2**16 and np.abs(sample - np.rint(sample)).max() < 0.01:
        return "CT"
    raise SourceError(f"MR or CT? Neither a sidecar, the name nor the values tell: {HOW}")
