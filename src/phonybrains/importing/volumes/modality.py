"""Tell MR from CT for files whose header does not: by a BIDS sidecar, the file's name, or HU among its values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from .naming import modality_by_words

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
