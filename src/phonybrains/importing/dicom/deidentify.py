"""What may leave a DICOM header: an allow-list of attributes, each rebuilt from a number or a known term.

Nothing is copied: a text that is not one of the known terms becomes `other` or nothing at all, so a name in the wrong
element cannot pass. Dates, ids, descriptions, comments and private elements are never looked at.
Source: the idea of PS3.15 Annex E turned round (keep what is known, not remove what is known); ages above 89 become 90
as in 45 CFR 164.514(b)(2)(i)(C).
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from pydicom.dataset import Dataset

from ...imageset import Attribute
from ..reader import vocabulary
from .header import echo_time, lookup, number, terms

MANUFACTURERS = {
    r"\bGE\b|GENERAL ELECTRIC": "GE",
    r"SIEMENS": "Siemens",
    r"PHILIPS|PICKER|MARCONI": "Philips",
    r"CANON|TOSHIBA": "Canon/Toshiba",
    r"HITACHI": "Hitachi",
    r"FUJI": "Fujifilm",
    r"UIH|UNITED IMAGING": "UIH",
}
BODY_PARTS = vocabulary(
    "HEAD BRAIN SKULL NECK HEADNECK FACE ORBIT SINUS IAC PITUITARY CSPINE SPINE CHEST ABDOMEN PELVIS WHOLEBODY"
)
SEQUENCES = ("SE", "IR", "GR", "EP", "RM")  # PS3.3 C.8.3.1.1.1
DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
LIMITS = {
    "slice_thickness_mm": ("SliceThickness", 0.01, 100),
    "kvp": ("KVP", 10, 300),
    "repetition_time_ms": ("RepetitionTime", 0.1, 100_000),
    "inversion_time_ms": ("InversionTime", 0.1, 100_000),
}


def allowed_attributes(sources: Sequence[Dataset], plane: str) -> dict[str, Attribute]:
    """The attributes of one slice that may be published; those a header does not state are left out.

    sources: the datasets to look in, the nearest first (`functional_groups`). Ages are in years (at most 90), lengths
    in mm, times in ms, field strength in tesla, tube voltage in kV.
    """
    scanned = terms(sources, "ScanningSequence")
    found: dict[str, Attribute] = {
        "plane": plane or None,
        "age_years": _age(sources),
        "sex": _known(sources, "PatientSex", {"M", "F", "O"}),
        "body_part": (_known(sources, "BodyPartExamined", BODY_PARTS) or "").lower() or None,
        "manufacturer": _manufacturer(sources),
        "field_strength_t": _field_strength(sources),
        "sequence": "+".join(term for term in SEQUENCES if term in scanned) or None,  # GR+IR, say
        "echo_time_ms": _between(echo_time(sources), 0.001, 10_000),
        "contrast": _contrast(sources),
    }
    found |= {name: _between(number(sources, key), low, high) for name, (key, low, high) in LIMITS.items()}
    return {name: value for name, value in found.items() if value is not None}


def _between(value: float | None, low: float, high: float) -> float | None:
    return round(value, 3) if value is not None and low <= value <= high else None


def _known(sources: Sequence[Dataset], keyword: str, known: Set[str]) -> str | None:
    found = terms(sources, keyword)
    return found[0] if len(found) == 1 and found[0] in known else None


def _age(sources: Sequence[Dataset]) -> float | None:
    """Whole years from two years on, tenths below; the unit must be given (PS3.5 6.2, AS)."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", "".join(terms(sources, "PatientAge")))
    if match is None:
        return None
    years = int(match[1]) * DAYS[match[2]] / DAYS["Y"]
    return 90.0 if years > 89 else float(int(years)) if years >= 2 else round(years, 1)


def _manufacturer(sources: Sequence[Dataset]) -> str | None:
    text = " ".join(terms(sources, "Manufacturer"))
    if not text:
        return None
    return next((name for pattern, name in MANUFACTURERS.items() if re.search(pattern, text)), "other")


def _field_strength(sources: Sequence[Dataset]) -> float | None:
    """Tesla, to a hundredth; old headers that give gauss are understood."""
    value = number(sources, "MagneticFieldStrength")
    if value is not None and value >= 100:
        value /= 10_000
    value = _between(value, 0.01, 25)
    return None if value is None else round(value, 2)


def _contrast(sources: Sequence[Dataset]) -> str | None:
    """`yes` or `no`; nothing where the header is silent. The name of the agent is free text and is not kept."""
    if lookup(sources, "ContrastBolusAgentSequence"):
        return "yes"
    if not any("ContrastBolusAgent" in source for source in sources):
        return None
    agent = terms(sources, "ContrastBolusAgent")
    return "yes" if agent and agent[0] not in ("", "NO", "NONE", "N", "WITHOUT") else "no"
