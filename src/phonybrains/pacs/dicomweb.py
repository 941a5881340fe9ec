"""A PACS by DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18 10.4 to 10.6)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from requests.auth import HTTPBasicAuth

from ..errors import PeerError
from .address import HOW_TO_LOG_IN, PeerAddress
from .login import client_files, find_login, tls_context
from .peer import LEVELS, UIDS, Keep, Level, Stored, Uids, why_unreachable

AS_STORED = (("application/dicom", "*"),)
BATCH_FILES, BATCH_BYTES = 20, 8 << 20
"""Of one STOW request, which is built in memory."""
T = TypeVar("T")


@contextmanager
def web_service(address: PeerAddress) -> Iterator[DicomWeb]:
    """A DICOMweb service: nothing but the address and our own files is checked before the first question."""
    logging.getLogger("retrying").setLevel("ERROR")  # it would print a traceback for each failed request
    with requests.Session() as session:
        session.trust_env = False  # else ~/.netrc and REQUESTS_CA_BUNDLE have their say without being asked
        session.headers["Accept"] = "application/dicom+json"
        if login := find_login(address):
            session.auth = HTTPBasicAuth(login.user.encode(), login.password.encode())
        if address.is_encrypted:
            tls_context()
            ca, cert, key = client_files()
            session.verify, session.cert = ca or True, (cert, key) if cert and key else None
        where = f"{'https' if address.is_encrypted else 'http'}://{address.name.partition('://')[2]}".rstrip("/")
        client = DICOMwebClient(where, session, timeout=address.timeout)
        client.set_http_retry_params(retry=False)  # else it is silent for half a minute where nobody answers
        yield DicomWeb(address, client)


class DicomWeb:
    """A PACS behind a DICOMweb service: a `Peer`."""

    def __init__(self, address: PeerAddress, client: DICOMwebClient) -> None:
        self.address, self.client = address, client

    def find(self, level: Level, uids: Uids, keys: Mapping[str, str]) -> list[Dataset]:
        """As `Peer.find`; what comes page by page is asked for until nothing new comes.

        Only words of letters and digits are asked for: services differ in how they read escaped * and blanks. What
        comes in excess, `asking.matches` sorts out.
        """
        search: dict[Level, Callable[..., Any]] = {
            "STUDY": self.client.search_for_studies,
            "SERIES": self.client.search_for_series,
            "IMAGE": self.client.search_for_instances,
        }
        filters, found = {key: value for key, value in keys.items() if re.fullmatch(r"[\w.-]+", value, re.ASCII)}, {}
        while True:
            ask = partial(search[level], *uids, search_filters=filters, fields=list(keys), offset=len(found))
            page = self._asked(ask)
            items = [Dataset.from_json(item) for item in page]
            new = {item[UIDS[level]].value: item for item in items if item[UIDS[level]].value not in found}
            if not new:
                return list(found.values())
            found |= new

    def fetch(self, uids: Uids, keep: Keep) -> str:
        try:
            for image in self._images(uids):
                with BytesIO() as content:
                    dcmwrite(content, image)
                    keep(str(image.SOPInstanceUID), content.getvalue())
        except _Refused as error:
            if error.status in (401, 403):
                raise
            return f"HTTP {error.status}"
        return ""

    def _images(self, uids: Uids) -> Iterator[Dataset]:
        if LEVELS[len(uids) - 1] == "IMAGE":
            yield self._asked(lambda: self.client.retrieve_instance(*uids, media_types=AS_STORED))
            return
        images = self._asked(lambda: self.client.iter_series(*uids, media_types=AS_STORED))
        while (image := self._asked(lambda: next(images, None))) is not None:
            yield image

    def store(self, files: Sequence[Stored]) -> Iterator[tuple[Stored, str]]:
        """As `Peer.store`; a file counts as stored when the answer names it as referenced (PS3.18 10.5.3.1)."""
        for batch in _batches(files):
            answer = self._asked(lambda batch=batch: self._post([dcmread(file.path) for file in batch]))
            stored = {str(item.ReferencedSOPInstanceUID) for item in answer.get("ReferencedSOPSequence") or ()}
            failed = answer.get("FailedSOPSequence") or ()
            reasons = {str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or 0) for item in failed}
            for file in batch:
                code = reasons.get(file.uids[-1])
                if code is not None and code & 0xFF00 == 0xA700:
                    raise PeerError(f"{self.address.name}: it is full (out of resources), reason 0x{code:04X}.")
                refused = "it does not say that it has stored it" if code is None else f"reason 0x{code:04X}"
                yield file, "" if file.uids[-1] in stored and code is None else refused

    def _post(self, images: Sequence[Dataset]) -> Dataset:
        try:
            return self.client.store_instances(images)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 409:  # it says why none was stored
                raise
            return Dataset.from_json(error.response.json())

    def _asked(self, ask: Callable[[], T]) -> T:
        """What the service answers. Raises PeerError where it does not."""
        address = self.address
        try:
            return ask()
        except requests.HTTPError as error:
            raise _Refused(address, getattr(error.response, "status_code", 0)) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            silent = "timed out" in str(error)  # in the middle of an answer requests calls that so
            lost = f"no answer within {address.timeout:g} s (?timeout=…)." if silent else "the connection was lost."
            why = why_unreachable(address) or lost
        except requests.RequestException as error:
            why = f"it answers something else than DICOMweb ({type(error).__name__}). Check the path."
        except OSError:
            raise
        except Exception as error:  # the library and pydicom fail in many ways on what is no DICOM
            why = f"it answers something else than DICOM ({type(error).__name__}). Check the path."
        raise PeerError(f"{address.name}: {why}")


class _Refused(PeerError):
    """The service answered a request with an HTTP status of failure."""

    def __init__(self, address: PeerAddress, status: int) -> None:
        known = {
            401: f"it does not accept the login, or asks for one (HTTP 401): {HOW_TO_LOG_IN}.",
            403: "it refuses access to this user (HTTP 403).",
            404: "there is no DICOMweb service at this path (HTTP 404). Check the address.",
            413: "a request is too large for it (HTTP 413).",
            503: "it is busy (HTTP 503).",
            507: "it is full (HTTP 507).",
        }
        super().__init__(f"{address.name}: {known.get(status, f'it answers HTTP {status}.')}")
        self.status = status


def _batches(files: Sequence[Stored]) -> Iterator[list[Stored]]:
    batch: list[Stored] = []
    size = 0
    for file in files:
        more = file.path.stat().st_size
        if batch and (len(batch) == BATCH_FILES or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += more
    if batch:
        yield batch
