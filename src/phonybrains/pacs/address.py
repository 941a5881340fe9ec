"""The address of a PACS, with a query in plain words: `pacs://host:port/AET?modality=CT&description=HEAD*`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigError

SCHEMES = ("pacs", "pacss", "dicomweb", "dicomwebs")
"""DIMSE and DICOMweb; with an s at the end over TLS."""
WEB_PORTS = {"dicomweb": 80, "dicomwebs": 443}
STUDY_KEYS = {
    "patient": "PatientID",
    "accession": "AccessionNumber",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
}
SERIES_KEYS = {"modality": "Modality", "description": "SeriesDescription", "body_part": "BodyPartExamined"}
OPTIONS = ("aet", "timeout")
DAY = r"(\d{4})(\d{4})?"
HOW_TO_LOG_IN = (
    "give them as PACS_USER and PACS_PASSWORD in the environment, or in a line for the host in ~/.netrc (mode 0600)"
)


@dataclass(frozen=True)
class PeerAddress:
    """Where a PACS is, and what is asked of it.

    called: the AE title of the PACS, or the path of its DICOMweb service; query: by key, what to look for, * and ?
    standing for anything; aet: our own AE title; timeout: seconds without a word of the PACS.
    """

    scheme: str
    host: str
    port: int
    called: str
    query: Mapping[str, str] = field(default_factory=dict)
    aet: str = "PHONYBRAINS"
    timeout: float = 60.0

    @property
    def is_web(self) -> bool:
        return self.scheme in WEB_PORTS

    @property
    def is_encrypted(self) -> bool:
        return self.scheme in ("pacss", "dicomwebs")

    @property
    def is_local(self) -> bool:
        """Whether the PACS runs on this machine."""
        return self.host in ("localhost", "127.0.0.1", "::1")

    @property
    def name(self) -> str:
        """The address without what is asked of it: for records and messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.called}"

    def keys(self, of_level: Mapping[str, str]) -> dict[str, str]:
        """What to look for at one level, by DICOM keyword."""
        return {keyword: self.query[key] for key, keyword in of_level.items() if key in self.query}


def is_address(source: str | Path) -> bool:
    """Whether a source is a PACS, or anything else with a scheme, and not a path."""
    return isinstance(source, str) and "://" in source


def parse_address(text: str) -> PeerAddress:
    """Raises ConfigError for what is no address, has unknown keys, or a password in it, which is not shown."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError(f"'{_shown(text)}': the host or the port is none. {_form()}") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"'{_shown(text)}': only {', '.join(f'{name}://' for name in SCHEMES)} are understood.")
    if "@" in parts.netloc:
        raise ConfigError(f"'{_shown(text)}': user and password do not belong into an address; {HOW_TO_LOG_IN}.")
    called, port = unquote(parts.path).strip("/"), port or WEB_PORTS.get(parts.scheme)
    if not parts.hostname or not port or parts.fragment or (parts.scheme not in WEB_PORTS and not called):
        raise ConfigError(f"'{text}': host, port or AE title is missing. {_form()}")
    if parts.scheme not in WEB_PORTS:
        _check_aet(called)
    given = _query(text, parts.query)
    aet, timeout = _check_aet(given.pop("aet", PeerAddress.aet)), _seconds(given.pop("timeout", "60"))
    return PeerAddress(parts.scheme, parts.hostname, port, called, given, aet, timeout)


def _query(text: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    given, known = dict(pairs), (*STUDY_KEYS, *SERIES_KEYS, *OPTIONS)
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"'{text}': the key '{unknown[0]}' is not known. Known: {', '.join(known)}.")
    if twice := [key for key in given if [name for name, _ in pairs].count(key) > 1]:
        raise ConfigError(f"'{text}': {twice[0]} is given twice. Give two addresses, one for each.")
    for key, value in given.items():
        if not value.strip() or "\\" in value or not value.isprintable() or len(value) > 64:
            raise ConfigError(f"'{text}': {key} is empty, too long, or has letters that DICOM does not allow there.")
    if "study_date" in given:
        given["study_date"] = _dates(given["study_date"])
    return given


def _dates(text: str) -> str:
    """A day or a year, or a range of them, as DICOM writes ranges of dates (PS3.4 C.2.2.2.5)."""
    found = re.fullmatch(f"(?:{DAY})?(-)?(?:{DAY})?", text.strip())
    if not found or not (found[1] or found[4]) or (found[4] and not found[3]):
        raise ConfigError(f"study_date={text}: give a year, a day (20240131), or a range of them (2020-2024).")
    begin, end = (found[1] or "") + ((found[2] or "0101") if found[1] else ""), found[4] or ""
    if not found[3]:
        return begin if found[2] else f"{begin}-{found[1]}1231"
    return f"{begin}-{end}{(found[5] or '1231') if end else ''}"


def _check_aet(aet: str) -> str:
    """Raises ConfigError for what is no AE title (PS3.5 6.2, AE)."""
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", aet) or not aet.strip():
        raise ConfigError(f"'{aet}' is no AE title: 1 to 16 characters of ASCII, without a backslash.")
    return aet.strip()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise ConfigError(f"timeout={text}: give seconds, 0.1 to 86400.")
    return seconds


def _shown(text: str) -> str:
    """An address without what may be a user and a password."""
    return re.sub(r"//[^/]*@", "//…@", text)


def _form() -> str:
    return "Write pacs://host:port/AET or dicomweb://host:port/path."
