"""The values of one DICOM frame: decoded, cut to its stored bits, and through the modality LUT (PS3.3 C.11.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from ..errors import SourceError
from .dicom_header import Frame, functional_groups, number, quiet, terms
from .intensity import AIR_HU, HIGHEST_12_BIT_HU

NOT_AIR_HU = -900.0
HU_TYPES = ("", "HU", "HU_MOD", "US")  # US: unspecified


def load(path: Path) -> Dataset:
    """A whole DICOM file. Raises SourceError if it cannot be read."""
    try:
        with quiet():
            return dcmread(path, force=True)
    except Exception as error:  # pydicom fails in many ways on damaged files
        raise SourceError(f"it cannot be read ({type(error).__name__}); the file is damaged or cut short") from None


def frame_values(dataset: Dataset, frame: Frame) -> NDArray[np.float32]:
    """(H, W) float32: HU, at least -1024, for CT; the stored values after any rescaling for MR.

    Pixels marked as padding become -1024 HU, unless the mark is the HU of tissue; in MR the darkest value of the slice.
    MONOCHROME1 says how to show values, not what they are, so HU are not changed by it; MR is inverted by the reader
    of the whole volume.
    Raises SourceError if the pixels are missing, damaged, or not HU in a CT.
    """
    raw = _decode(dataset, frame)
    padding = _padding(dataset, raw)  # before unused bits are cleared: some scanners pad with values beyond them
    with quiet():
        values = _rescale(dataset, frame, _stored_bits(dataset, raw))
        if frame.modality == "CT":
            as_hu = _rescale(dataset, frame, raw[padding])
            values[padding] = np.where((as_hu < NOT_AIR_HU) | (as_hu > HIGHEST_12_BIT_HU), AIR_HU, values[padding])
            return np.maximum(values, np.float32(AIR_HU))
    inside = values[~padding]
    if inside.size:
        values[padding] = inside.max() if frame.inverted else inside.min()
    return values


def _decode(dataset: Dataset, frame: Frame) -> NDArray[Any]:
    if "PixelData" not in dataset:
        raise SourceError("it has no pixel data")
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    try:
        with quiet():
            stored = pixel_array(dataset, index=frame.index, correct_unused_bits=False)
    except Exception as error:  # each decoder fails in its own ways
        name = uid.UID(dataset.file_meta.TransferSyntaxUID).name
        raise SourceError(f"its pixel data cannot be decoded ({name}, {type(error).__name__}): damaged, "
                          "cut short, or not what the header says") from None  # fmt: skip
    if stored.shape != frame.shape or stored.dtype.kind not in "iu":
        raise SourceError("its pixel data is not one integer per pixel, as the header says")
    return stored


def _stored_bits(dataset: Dataset, raw: NDArray[Any]) -> NDArray[Any]:
    """Clear what lies in the bits that are not stored (old overlays), and extend the sign (PS3.5 8.1.1)."""
    bits = int(number([dataset], "BitsAllocated") or 16)
    unused = bits - int(number([dataset], "BitsStored") or bits)
    return (raw << unused) >> unused if 0 < unused < bits and raw.dtype.itemsize * 8 == bits else raw


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the stored value is PixelPaddingValue or lies between it and PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2)."""
    ends = [number([dataset], keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    given = [np.array([int(end)]).astype(stored.dtype)[0] for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(stored.shape, bool)
    return (stored >= min(given)) & (stored <= max(given))


def _rescale(dataset: Dataset, frame: Frame, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Apply the modality LUT, or slope and intercept (of the frame, in enhanced images)."""
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, dataset).astype(np.float32)
    sources = functional_groups(dataset, frame.index)
    slope, intercept = number(sources, "RescaleSlope"), number(sources, "RescaleIntercept")
    if frame.modality == "CT":
        if not slope or intercept is None:
            raise SourceError("it does not say how its pixels become HU (RescaleSlope, RescaleIntercept)")
        if "".join(terms(sources, "RescaleType")) not in HU_TYPES:
            raise SourceError("its values are not HU (by its RescaleType)")
    return (stored.astype(np.float64) * (slope or 1.0) + (intercept or 0.0)).astype(np.float32)
