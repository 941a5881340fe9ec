"""The values of one DICOM frame: decoded, cut to its stored bits, and through the modality LUT (PS3.3 C.11.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from ...errors import SourceError
from ...process_wide import ERRORS, silenced
from ..intensity import AIR_HU, HIGHEST_12_BIT_HU, NOT_AIR_HU
from .header import Frame, lookup, number, quiet, terms

HU_TYPES = ("", "HU", "HU_MOD", "US")  # US: unspecified
BELOW_AIR_HU = -1100.0
"""No tissue and no noise of a scanner that stores 12 bits: padding, often of -2000 or -3024."""
EDGE_SHARE = 0.1
COLOUR_TOLERANCE = 8 / 255
NOT_SUPPORTED = re.compile(r"not support|unsupported|precision", re.IGNORECASE)


def load(path: Path) -> Dataset:
    """A whole DICOM file. Raises SourceError if it cannot be read."""
    try:
        with quiet():
            return dcmread(path, force=True)
    except Exception as error:  # pydicom fails in many ways on damaged files
        raise SourceError(f"it cannot be read ({type(error).__name__}); the file is damaged or cut short") from None


def frame_values(
    raw: NDArray[Any], dataset: Dataset, frame: Frame, sources: Sequence[Dataset]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(H, W) float32: HU, at least -1024, for CT; the stored values after any rescaling for MR; and what was measured.

    raw: the stored values (`decoder`), (H, W); sources: where the frame's elements are looked for.
    Pixels marked as padding, or that plainly are, become -1024 HU, unless the mark is the HU of tissue; in MR the
    darkest value of the slice. MONOCHROME1 says how to show values, not what they are, so HU are not changed by it; MR
    is inverted by the reader of the whole volume.
    Raises SourceError if the values are not HU in a CT.
    """
    ct = frame.modality == "CT"
    marked = _padding(dataset, raw)  # before unused bits are cleared: some scanners pad with values beyond them
    unmarked = np.zeros(raw.shape, bool) if frame.synthetic else _unmarked_padding(raw, below=not ct)
    with quiet():
        values = _rescale(dataset, frame, sources, _stored_bits(dataset, raw))
        if ct:
            as_hu = _rescale(dataset, frame, sources, raw)
            padding = (marked & ((as_hu < NOT_AIR_HU) | (as_hu > HIGHEST_12_BIT_HU))) | unmarked
            measured = (values >= BELOW_AIR_HU) & (~padding | (as_hu >= BELOW_AIR_HU) & (as_hu <= NOT_AIR_HU))
            values[padding] = AIR_HU
            return np.maximum(values, np.float32(AIR_HU)), measured
    measured = ~(marked | unmarked)
    if measured.any():
        values[~measured] = values[measured].max() if frame.inverted else values[measured].min()
    return values, measured


def shown_range(sources: Sequence[Dataset]) -> tuple[float, float] | None:
    """What the window of a file shows as black and white, where that is the only meaning its values have; else None.

    For images that were generated: their contrast is the generator's own, and no percentile of a head. CT in HU keep
    to the settings. Source: PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3.2 (LINEAR_EXACT).
    """
    centre, width = (number(sources, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or not width or "".join(terms(sources, "RescaleType")) not in ("", "US"):
        return None
    if lookup(sources, "RescaleSlope") is not None and not terms(sources, "RescaleType"):
        return None
    exact = terms(sources, "VOILUTFunction") == ["LINEAR_EXACT"]
    low = centre - width / 2 if exact else centre - 0.5 - (width - 1) / 2
    return low, low + (width if exact else width - 1)


def decoder(dataset: Dataset, path: Path) -> Callable[[int], NDArray[Any]]:
    """What gives the stored values of each frame, (H, W) integers; colours that are really gray become one channel.

    Raises SourceError, then or when called, if they are missing, damaged, coloured, or compressed in a way that no
    decoder here knows.
    """
    if "PixelData" not in dataset:
        raise SourceError("it has no pixel data")
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    syntax, bits = uid.UID(dataset.file_meta.TransferSyntaxUID), int(number([dataset], "BitsStored") or 16)
    plugin = "pydicom" if syntax == uid.RLELossless else ""  # the other one panics on damaged data
    twelve_bit = syntax == uid.JPEGExtended12Bit and bits > 8
    read_by_gdcm = cache(lambda: _by_gdcm(dataset, path))

    def decode(index: int) -> NDArray[Any]:
        try:
            with quiet():
                if twelve_bit:
                    stored: NDArray[Any] = read_by_gdcm()[index]
                else:
                    stored = pixel_array(dataset, index=index, correct_unused_bits=False, decoding_plugin=plugin)
        except Exception as error:  # each decoder fails in its own ways
            why = f"its pixel data cannot be decoded ({syntax.name}, {type(error).__name__}): damaged, cut short, "
            why += "or not what the header says"
            if isinstance(error, NotImplementedError) or NOT_SUPPORTED.search(str(error)):
                why = f"no decoder here takes {syntax.name} with {bits} bits per pixel. "
                why += "Decompress it first, e.g. with gdcmconv --raw"
            raise SourceError(why) from None
        if stored.ndim == 3 and stored.shape[2] == 3 and stored.dtype.kind in "iu":
            stored = _gray(stored)
        if stored.shape != (int(dataset.Rows), int(dataset.Columns)) or stored.dtype.kind not in "iu":
            raise SourceError("its pixel data is not one integer per pixel, as the header says")
        return stored

    return decode


def _by_gdcm(dataset: Dataset, path: Path) -> NDArray[np.uint16]:
    """All frames of a file with 12-bit JPEG, (N, H, W): gdcm reads them, though pydicom does not ask it to."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    with silenced(ERRORS):  # its JPEG library says there what it tries in vain before
        if not reader.Read():
            raise ValueError("gdcm cannot read it")
        buffer = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(buffer, np.uint16).reshape(-1, int(dataset.Rows), int(dataset.Columns))


def _gray(channels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) as (H, W), if no channel differs from another by more than lossy compression makes it."""
    spread = channels.max(axis=2).astype(np.int64) - channels.min(axis=2)
    if spread.max() > COLOUR_TOLERANCE * max(1, int(channels.max())):
        raise SourceError("a colour image (report, screenshot or map), not a slice")
    return np.rint(channels.mean(axis=2)).astype(channels.dtype)


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


def _unmarked_padding(stored: NDArray[Any], below: bool) -> NDArray[np.bool_]:
    """Where a slice is filled up, around a round field of view say, with a value that the header does not name.

    That is its highest or lowest value, stands at its edge, and lies far off all others: above them by a quarter of
    their range; if `below` is asked for, negative and below them by the whole of it, or alone negative. Saturated
    tissue has neighbours in value.
    """
    edge = np.concatenate([stored[0], stored[-1], stored[:, 0], stored[:, -1]])
    found = np.zeros(stored.shape, bool)
    for value in (int(stored.max()), int(stored.min())):
        if (edge == value).mean() < EDGE_SHARE:
            continue
        filled = stored == value
        if filled.all():
            continue
        rest = stored[~(filled | found)]
        low, high = (int(rest.min()), int(rest.max())) if rest.size else (value, value)
        far_above = value - high > 0.25 * (high - low) > 0
        far_below = value < 0 and (low >= 0 or low - value > high - low)  # 0 is the signal of air
        found |= filled & (far_above or (below and far_below))
    return found


def _rescale(dataset: Dataset, frame: Frame, sources: Sequence[Dataset], stored: NDArray[Any]) -> NDArray[np.float32]:
    """Apply the modality LUT, or slope and intercept (of the frame, in enhanced images)."""
    if dataset.get("ModalityLUTSequence"):
        try:
            return apply_modality_lut(stored, dataset).astype(np.float32)
        except Exception:  # pydicom fails in many ways on damaged files
            raise SourceError("its table of values (ModalityLUTSequence) cannot be read") from None
    slope, intercept = number(sources, "RescaleSlope"), number(sources, "RescaleIntercept")
    if frame.modality == "CT":
        if not slope or intercept is None:
            raise SourceError("it does not say how its pixels become HU (RescaleSlope, RescaleIntercept)")
        if "".join(terms(sources, "RescaleType")) not in HU_TYPES:
            raise SourceError("its values are not HU (by its RescaleType)")
    return (stored.astype(np.float64) * (slope or 1.0) + (intercept or 0.0)).astype(np.float32)
