"""Ask a PACS: open the way that its address names, and find what a query means there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase

from pydicom.dataset import Dataset

from ..errors import PeerError
from .address import SERIES_KEYS, STUDY_KEYS, PeerAddress
from .peer import Peer, Stored, Uids


def connect(address: PeerAddress, sends: Collection[Stored] | None = None) -> AbstractContextManager[Peer]:
    """A PACS to ask and to fetch from; or one to send these files to; or, where these are none, one only to ask.

    Raises PeerError if it is not to be had, and ConfigError for a login or a certificate of ours that will not do.
    """
    try:
        if address.is_web:
            from .dicomweb import web_service

            return web_service(address)
        from .dimse import association

        return association(address, sends)
    except ImportError as error:
        how = "python -m pip install 'phonybrains[pacs]' does that."
        raise PeerError(f"{error.name} is not installed, which speaks with a PACS. {how}") from None


def series_matching(peer: Peer, address: PeerAddress) -> Iterator[Uids]:
    """Study and series UID of all that a query asks for; what the PACS ignores of it is seen to here."""
    of_study, of_series = address.keys(STUDY_KEYS), address.keys(SERIES_KEYS)
    hint = {"ModalitiesInStudy": of_series["Modality"]} if "Modality" in of_series else {}
    for study in peer.find("STUDY", (), of_study | hint):
        if not matches(study, of_study):
            continue
        for series in peer.find("SERIES", (study.StudyInstanceUID,), of_series):
            if matches(series, of_series):
                yield str(study.StudyInstanceUID), str(series.SeriesInstanceUID)


def images_of(peer: Peer, series: Uids) -> dict[str, str]:
    """SOP class UID of each image of a series ("" where it is not said), by SOP instance UID."""
    found = peer.find("IMAGE", series, {"SOPClassUID": ""})
    return {str(image.SOPInstanceUID): str(image.get("SOPClassUID") or "") for image in found}


def matches(found: Dataset, keys: Mapping[str, str]) -> bool:
    """Whether an answer is what was asked for (PS3.4 C.2.2.2); dates are left to the PACS."""
    for keyword, wanted in keys.items():
        value = str(found.get(keyword) or "").strip().upper()
        pattern = wanted.strip().upper().replace("[", "[[]")
        if keyword != "StudyDate" and not fnmatchcase(value, pattern):
            return False
    return True
