"""Which DICOM objects are slices to train on, and why the others are not.

What a file as a whole tells; what each of its frames shows, content.py decides.
A reason never quotes the header: its texts can identify a patient. Terms: PS3.6 Annex A.
"""

from __future__ import annotations

from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from .header import number, text

CT = (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
MR = (uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage)
MODALITIES: dict[str, str] = {**dict.fromkeys(CT, "CT"), **dict.fromkeys(MR, "MR")}
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
LITTLE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian}


def modality_of(header: Dataset) -> str:
    """CT or MR, or "" for all that is neither."""
    kind = text(header, "SOPClassUID")
    named = text(header, "Modality")
    modality = MODALITIES.get(kind, "") if kind else named
    return modality if modality in ("CT", "MR") and named in ("", modality) else ""


def why_left_out(header: Dataset, meta: Dataset | None, max_pixels: int) -> str | None:
    """The reason why an object is not a slice that can be used, or None if it is one."""
    burned_in = "text is burned into its pixels (BurnedInAnnotation is YES) and could identify the patient"
    return (
        _wrong_kind(header)
        or _wrong_pixels(header, max_pixels)
        or (burned_in if text(header, "BurnedInAnnotation").upper() == "YES" else None)
        or _unknown_compression(meta or Dataset())
    )


def _wrong_kind(header: Dataset) -> str | None:
    kind = uid.UID(text(header, "SOPClassUID"))
    if kind == uid.MediaStorageDirectoryStorage:
        return "an index of files (DICOMDIR), not an image"
    if "Secondary Capture" in kind.name:
        return "a secondary capture (summary page, report or screenshot), not a slice"
    if kind and kind not in MODALITIES:
        known = kind.is_valid and not kind.is_private and kind.name != kind
        return f"{kind.name if known else 'an unknown kind of object'}, not a CT or MR image"
    if not kind and not text(header, "Modality"):
        return "its header does not say what it is; the file is damaged or cut short"
    return None if modality_of(header) else "its modality is neither CT nor MR"


def _wrong_pixels(header: Dataset, max_pixels: int) -> str | None:
    rows, columns = (number([header], keyword) or 0 for keyword in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        return "it has no pixels"
    if rows * columns > max_pixels:
        return f"{columns:.0f}×{rows:.0f} pixels are more than max_pixels ({max_pixels})"
    samples, photometric = number([header], "SamplesPerPixel") or 1, text(header, "PhotometricInterpretation")
    if (samples, photometric) in ((1, "MONOCHROME1"), (1, "MONOCHROME2")) or (samples == 3 and photometric in COLOURS):
        return None  # three channels can still be gray: their values tell
    return "not a grayscale image (its PhotometricInterpretation is not MONOCHROME1 or MONOCHROME2)"


def _unknown_compression(meta: Dataset) -> str | None:
    syntax: Any = meta.get("TransferSyntaxUID")
    if not syntax or syntax in LITTLE | {uid.ExplicitVRBigEndian}:
        return None
    if not uid.UID(syntax).is_transfer_syntax:
        return "its transfer syntax is unknown. Convert it first, e.g. with gdcmconv --raw"
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    return None if available else f"no decoder for its transfer syntax, {uid.UID(syntax).name}"
