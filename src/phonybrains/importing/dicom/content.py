"""Which DICOM objects are slices to train on, and what a frame shows: tissue as measured, made of it, or none.

Scanners say it in ImageType (in enhanced images FrameType, for each frame), ComplexImageComponent and
VolumeBasedCalculationTechnique, each vendor in words of its own. A description, which somebody typed, decides only
where nothing else can: scouts; and what a derived image was derived to. So no measured magnitude image is lost to a
word like "phase" in it. A reason never quotes the header: its texts can identify
a patient. Source: PS3.6 Annex A; PS3.3 C.7.6.1.1.2, C.8.13.3.1, C.8.16.1, C.8.16.2.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from ..burned_in import BURNED_IN
from .header import number, terms, text

CT = (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
MR = (uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage)
MODALITIES: dict[str, str] = {**dict.fromkeys(CT, "CT"), **dict.fromkeys(MR, "MR")}
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
LITTLE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian}
LEADING = {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MIXED"}
SCOUT = "a scout (localizer), not a slice"
PHASE, COMPLEX, VELOCITY = "a phase image", "a real or imaginary image", "a velocity map"
PROJECTION, REFORMAT = "a projection of many slices", "a reformatted or rendered image"
MAP = "a map of computed values"
COMPONENTS = {"PHASE": PHASE, "REAL": COMPLEX, "IMAGINARY": COMPLEX}
GE_RAW_DATA = {1: PHASE, 2: COMPLEX, 3: COMPLEX}
"""GE's (0043,xx2F), the only place where its classic images tell; 0 is magnitude."""
TECHNIQUES = {"MAX_IP": PROJECTION, "MIN_IP": PROJECTION} | dict.fromkeys(
    ("VOLUME_RENDER", "SURFACE_RENDER", "MPR", "CURVED_MPR"), REFORMAT
)

TERMS = {
    SCOUT: r"LOCALI[SZ]ER SCOUT SURVEY (REF)?SURVIEW TOPO(GRAM)? SCANO(GRAM)? PLANSCAN CTSOM\d+TOP PILOT",
    "a screenshot or summary page": r"SCREEN(SAVE|SHOT) SUMMARY PROTOCOL (CSA)?(REPORT|RESULT) DOSE(INFO)? VXTLSTATE"
    r" GRAPH",
    PROJECTION: r"(CSA|CTSOM\d+)?(MIP|MNIP|MINIP|MAXIP|AIP|(AVG|AVERAGE|MEAN|MINIMUM|MAXIMUM)IP)"
    r"(THI(N|CK)|SUM|RANGE|PARALLEL)? MAXIMUM MINIMUM PJN\w* PROJN? PROJECTION\w* RAYSUM REPROJECTION",
    REFORMAT: r"(CSA|CTSOM\d+)?(MPR|VRT|VR|SSD|CPR)(THI(N|CK)|RANGE|PARALLEL)? CSA3D\w* CSAPARALLEL REFORMAT(TED)?"
    r" CURVED\w* MPVR (VOLUME|SURFACE|3D)REN\w* FUSION FUSED",
    # Maps are of diffusion; perfusion; relaxation, fields and other physics; statistics; several energies or tracers
    MAP: r"(E|EXP|AVERAGE)?(ADC|DC)(MAP)? (COLOU?R|COL)?FA(MAP|COLOU?R)? (FRACTIONAL|RELATIVE|DIFFUSION)ANISO\w* TENSOR"
    r" (REL|R|N|CORRECTED)?CB[FV]\w* (REL|CORRELATED)?MTT\w* (REL)?TTP\w* TMAX\w* PBP GBP T0 KTRANS KEP IAUC"
    r" (REL|MAX|MAXREL|BREV)ENH WASH(IN|OUT) AREACURV PERMEABILITY"
    r" ([TR][12](STAR)?|T1RHO|PD|RHO|B[01]|FIELD|MAGNETICFIELD|STIFFNESS|PERFUSION|SUSCEPTIBILITY|METABOLITE)MAP"
    r" R[12](STAR)? T1RHO RHO FF (FAT|WATER)FRACTION MTR QSM TEMPERATURE(MAP)? STIFFNESS ELASTOGRAM QUANTITY"
    r" [TZ](MAP|TEST|SCORE) CORRELATION ACTIVATION STAT(MAP)? STDDEV(IATION)?"
    r" SUB(TRACTION|TRACTED)? DIFFERENCE DIVISION"
    r" IODINE MAT(SPECIFIC|FRACTIONAL|VALUEBASED) ELECTRONDENSITY EFFATOMICNUM SUV PET EMISSION (MU?|U)MAP",
    "a label map": r"SEG SEGMENT(ATION|ED) LABEL(S|MAP)? MASK BINARY ROI",
}
"""By reason, patterns of terms, which are compared without the blanks and underscores in them. Not among them: weighted
images of diffusion, water, fat, in and opposed phase (IP is that), averages, and the parts M and MAG of magnitude."""
MR_TERMS = {
    VELOCITY: r"VELOCITY\w* VEL FLOWMAP",
    PHASE: r"P P(FFE|SE|IR|PCA) PHASE(MAP|IMAGE|DIFF\w*)? (DELTA|UNWRAPPED)PHASE",
    COMPLEX: r"[RI] [RI](FFE|SE|IR|PCA) REAL IMAG(INARY)?",
}
"""Of MR alone, and only where ComplexImageComponent does not say MAGNITUDE."""
PATTERNS = {reason: re.compile("|".join(words.split())) for reason, words in (MR_TERMS | TERMS).items()}

SCOUT_NAMES = re.compile(
    r"lo[ck]ali[sz](er|ad[oa]r|ateur|ator|zatore)|scout|surv(ey|iew)|topogram|scanogra|plan[ _-]?scan|fastview"
    r"|smartbrain|(?<![a-z])locs?(?![a-z])|(?<![a-z0-9.])(3|three|tri)[ _-]?pl(an[ea]?|n)?(?![a-z])"
    r"|^[\W_\d]*(pilot|plan|topo|scano)[\W_\d]*$|定位|位置決め|übersicht",
    re.IGNORECASE,
)
CALIBRATION = re.compile(
    r"asset[ _-]?cal|(?<![a-z])calibration|sense[ _-]?ref|coil[ _-]?(survey|sens)|^cal(?![a-z])", re.IGNORECASE
)
OF_A_TASK = re.compile(r"fmri|bold|task|func", re.IGNORECASE)
"""A functional localizer is a measurement with a task, not a scout."""
DERIVED_NAMES = {
    PROJECTION: r"(?<![a-z])(mip|minip|m[in]n?ip|collapsed|pjn|projections?)(?![a-z])",
    MAP: r"(?<![a-z])(e?adc|(colou?r[ _]?)?fa(?![\s_=-]*\d)|fractional anisotropy|average dc|r?cb[fv]|mtt|ttp|tmax"
    r"|(t1|t2|t2\*|r2\*?|b0|b1|field|phase|velocity|suv)[ _]?map(s|ping)?|subtraction|suv|pet|spect)(?![a-z])",
    "a label map": r"(?<![a-z])(segmentation|label[ _]?maps?|labels|mask|roi)(?![a-z])",
}


def why_no_anatomy(sources: Sequence[Dataset], modality: str, description: str) -> str | None:
    """The reason why a frame is no picture of tissue as it was measured; None if it is one.

    sources: the datasets to look in, the nearest first (`functional_groups`); description: of the series.
    """
    component, technique = (
        "".join(terms(sources, name)[:1]) for name in ("ComplexImageComponent", "VolumeBasedCalculationTechnique")
    )
    types = terms(sources, "FrameType") or terms(sources, "ImageType")
    options = terms(sources, "ScanOptions")
    if any("SCOUT" in option for option in options):
        return f"{SCOUT} (by its ScanOptions)"
    raw = _raw_data_type(sources[-1]) if modality == "MR" else None
    return _by_terms(tuple(types), modality, component, technique, raw) or _by_name(tuple(types), description)


def _raw_data_type(header: Dataset) -> int | None:
    try:
        return int(header.private_block(0x0043, "GEMS_PARM_01")[0x2F].value)
    except Exception:  # not there, or not a number
        return None


@lru_cache(maxsize=1000)
def _by_terms(types: tuple[str, ...], modality: str, component: str, technique: str, raw: int | None) -> str | None:
    if modality == "MR" and component in COMPONENTS:
        return f"{COMPONENTS[component]} (by its ComplexImageComponent)"
    if technique in TECHNIQUES:
        return f"{TECHNIQUES[technique]} (by its VolumeBasedCalculationTechnique)"
    shown = [re.sub(r"[\W_]+", "", term) for term in types if term not in LEADING | {"M_IP"}]
    for reason in TERMS if modality != "MR" or component == "MAGNITUDE" else PATTERNS:
        if any(PATTERNS[reason].fullmatch(term) for term in shown):
            return f"{reason} (by its ImageType)"
    if "DERIVED" in types[:1] and set(types[3:4]) & {"T1", "T2", "T2_STAR"}:  # computed, not weighted: C.8.13.3.1
        return f"{MAP} (by its ImageType)"
    if raw in GE_RAW_DATA:
        return f"{GE_RAW_DATA[raw]} (by its private raw data type)"
    return None


@lru_cache(maxsize=1000)
def _by_name(types: tuple[str, ...], description: str) -> str | None:
    if SCOUT_NAMES.search(description) and not OF_A_TASK.search(description):
        return f"{SCOUT} (by its SeriesDescription)"
    if CALIBRATION.search(description):
        return "a calibration scan (by its SeriesDescription)"
    if "DERIVED" in types:
        for reason, pattern in DERIVED_NAMES.items():
            if re.search(pattern, description, re.IGNORECASE):
                return f"{reason} (derived, and by its SeriesDescription)"
    return None


def modality_of(header: Dataset) -> str:
    """CT or MR, or "" for all that is neither."""
    kind = text(header, "SOPClassUID")
    named = text(header, "Modality")
    modality = MODALITIES.get(kind, "") if kind else named
    return modality if modality in ("CT", "MR") and named in ("", modality) else ""


def why_left_out(header: Dataset, meta: Dataset | None, max_pixels: int, keep_text: bool = False) -> str | None:
    """The reason why an object is not a slice that can be used, or None if it is one."""
    return (
        _wrong_kind(header)
        or _wrong_pixels(header, max_pixels)
        or (None if keep_text else says_burned_in(header))
        or _unknown_compression(meta or Dataset())
    )


def says_burned_in(header: Dataset) -> str | None:
    """What a header says of text in its pixels; None where it says nothing, or that there is none (PS3.3 C.7.6.1)."""
    told = f"{BURNED_IN} (BurnedInAnnotation is YES) and could identify the patient"
    return told if text(header, "BurnedInAnnotation").upper() == "YES" else None


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
