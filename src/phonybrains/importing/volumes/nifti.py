"""Read NIfTI-1, NIfTI-2, Analyze 7.5 and MGH files as stored, by nibabel; the content says which, not the name.

Sources: NIfTI-1.1, nifti1.h; Mayo Clinic, "ANALYZE 7.5 file format", field `orient`; FreeSurfer wiki, "MghFormat".
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.imageglobals import logger
from numpy.typing import NDArray

from ...errors import SourceError
from .magic import GZIP, family, unpacked
from .stored import DAMAGED, MOST_PACKED, TOO_FEW, StoredVolume

CLASSES: dict[str, Any] = {
    "nifti": nibabel.Nifti1Image,
    "nifti pair": nibabel.Nifti1Pair,
    "nifti2": nibabel.Nifti2Image,
    "nifti2 pair": nibabel.Nifti2Pair,
    "analyze": nibabel.Spm2AnalyzeImage,
    "mgh": nibabel.MGHImage,
}
ANALYZE = (
    "Analyze: the file does not say which side is left, and its planes are those of its field `orient` ({}); "
    "look at some images before you use them"
)
ORIENT = {0: ("transverse", (0, 1, 2)), 1: ("coronal", (0, 2, 1)), 2: ("sagittal", (1, 2, 0))}
"""By Analyze's `orient`: the name, and which axis of the patient each stored axis runs along."""
SYNTHETIC = b"SYNTHETIC"
"""How the description begins in what `export` writes of images that no scanner made, or that were edited."""
INTENTS = {"a label map": (1002,), "a statistical map": range(2, 25), "vectors or tensors": range(1004, 1010)}


def read_with_nibabel(path: Path) -> StoredVolume:
    """A volume as stored. Raises SourceError if the file is damaged, or is none of these formats."""
    logger.setLevel("CRITICAL")  # what it would warn of on the terminal, the report tells
    try:
        with path.open("rb") as file:
            head = file.read(512)
        head = unpacked(head) if head.startswith(GZIP) else head
        which = family(head)
        if which not in CLASSES:
            raise SourceError("not a readable NIfTI, Analyze or MGH file")
        with np.errstate(all="ignore"):
            image = CLASSES[which].from_file_map(_file_map(path, which))
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"it cannot be opened ({error.strerror or 'damaged or cut short'})") from None
    except Exception as error:  # nibabel fails in many ways on damaged files
        raise SourceError(f"not a readable volume ({type(error).__name__})") from None
    shape, dtype = tuple(int(length) for length in image.shape), image.get_data_dtype()
    _check_size(path, which, shape, dtype)

    def read(frame: int) -> NDArray[Any]:
        try:
            proxy = image.dataobj[..., frame] if len(shape) == 4 and shape[3] > 1 else image.dataobj
            return np.asarray(proxy, np.float32).reshape((*shape[:3], *[1] * (3 - len(shape))))
        except Exception as error:  # likewise
            raise SourceError(DAMAGED.format(type(error).__name__)) from None

    affine, oriented, doubt = _orientation(image, which, path, head)
    synthetic = which.startswith("nifti") and bytes(image.header["descrip"]).startswith(SYNTHETIC)
    return StoredVolume(shape, dtype, affine, read, oriented, _label(image, which), doubt, synthetic)


def _file_map(path: Path, which: str) -> dict[str, FileHolder]:
    if which.endswith("pair") or which == "analyze":
        pair = next((path.with_suffix(end) for end in (".img", ".IMG") if path.with_suffix(end).is_file()), None)
        if pair is None:
            raise SourceError("the half with its values, .img, is missing")
        return {"header": _holder(path), "image": _holder(pair), "mat": FileHolder(str(path.with_suffix(".mat")))}
    return {"image": _holder(path)}


def _holder(path: Path) -> FileHolder:
    """By content: a packed file need not be called .gz, nor one called so be packed."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return FileHolder(fileobj=gzip.open(path) if packed else path.open("rb"))  # type: ignore[arg-type]


def _check_size(path: Path, which: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse, before anything is read, a header that claims more than the file can hold."""
    holds = path.with_suffix(".img") if which.endswith("pair") or which == "analyze" else path
    size = holds.stat().st_size if holds.is_file() else 1 << 62
    if np.prod(shape, dtype=np.float64) * dtype.itemsize > size * MOST_PACKED:
        raise SourceError(TOO_FEW)


def _orientation(image: Any, which: str, path: Path, head: bytes) -> tuple[NDArray[np.float64], bool, str]:
    affine = np.asarray(image.affine, np.float64)
    if which == "mgh":
        return affine, head[28:30] == b"\0\1", ""  # goodRASFlag, which nibabel sets as it reads
    if which == "analyze" and path.with_suffix(".mat").is_file():  # of SPM, read by nibabel
        return affine, True, ""
    if which != "analyze":
        return affine, bool(image.header["qform_code"] > 0 or image.header["sform_code"] > 0), ""
    code = int(np.frombuffer(image.header.structarr["orient"].tobytes(), np.uint8)[0])
    name, along = ORIENT.get(code, ("unknown", (0, 1, 2)))
    turned = np.diag([0.0, 0, 0, 1])
    for stored, patient in enumerate(along):
        turned[patient, stored] = abs(affine[stored, stored]) * (-1 if patient == 0 else 1)
    return turned, True, ANALYZE.format(name)


def _label(image: Any, which: str) -> str:
    """Why the values are no image, by NIfTI's intent code."""
    code = int(image.header["intent_code"]) if which.startswith("nifti") else 0
    what = next((what for what, codes in INTENTS.items() if code in codes), "")
    return what and f"{what} (by its header's intent), not an image"
