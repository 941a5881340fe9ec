"""Tell MR from CT for files whose header does not: by a BIDS sidecar, the file's name, or HU among its values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

MR_SUFFIXES = {
    "t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t1post", "t1km", "t2", "t2w", "t2f", "t2star", "t2starw", "flair", "pd",
    "pdw", "pdt2", "swi", "inplanet1", "inplanet2", "angio", "mra", "unit1", "mp2rage", "mprage", "adc", "dwi", "mr",
    "mri", "t1map", "t2map", "m0map",
}  # fmt: skip
CT_SUFFIXES = {"ct", "ncct", "cta", "hu"}
LABEL_SUFFIXES = {"seg", "dseg", "mask", "label", "labels", "segmentation", "probseg", "roi", "lesion"}
EXTENSION = re.compile(r"\.(nii(\.gz)?|hdr)$", re.IGNORECASE)
LARGEST_SIDECAR = 10_000_000
HOW = 'give modality = "MR" or "CT", or end the file\'s name in _T1w, _T2w, _FLAIR, … or _ct'


def modality_by_name(path: Path) -> str:
    """MR, CT, or "" if neither the sidecar (same name, .json, BIDS `Modality`) nor the name's last word tells.

    Raises SourceError for label maps and for a sidecar that names another modality.
    """
    stem = EXTENSION.sub("", path.name)
    suffix = re.split(r"[_\-. ]", stem)[-1].lower()
    if suffix in LABEL_SUFFIXES:
        raise SourceError(f"a label map (by its name, …{suffix}), not an image")
    stated = _sidecar(path.with_name(f"{stem}.json")).get("Modality")
    if stated in ("MR", "CT"):
        return stated
    if isinstance(stated, str) and stated:
        raise SourceError("its sidecar says that its modality is neither MR nor CT")
    return "MR" if suffix in MR_SUFFIXES else "CT" if suffix in CT_SUFFIXES else ""


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
