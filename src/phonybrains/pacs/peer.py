"""What can be asked of a PACS, whichever protocol it speaks, and why it cannot be reached."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydicom import uid
from pydicom.dataset import Dataset

from .address import PeerAddress
from .login import tls_context

IMAGES = (
    uid.CTImageStorage,
    uid.MRImageStorage,
    uid.EnhancedCTImageStorage,
    uid.EnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
)
"""What is fetched: images of CT and MR, the only ones that import reads."""
Level = Literal["STUDY", "SERIES", "IMAGE"]
LEVELS: tuple[Level, ...] = ("STUDY", "SERIES", "IMAGE")
UIDS = dict(zip(LEVELS, ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), strict=True))
Uids = tuple[str, ...]
"""Of a study; of a study and a series; or of a study, a series and an image."""
Keep = Callable[[str, bytes], None]
"""Takes an image that came: its SOP instance UID, and the DICOM file."""


@dataclass(frozen=True)
class Stored:
    """A DICOM file on the disk, as its header has it."""

    path: Path
    sop_class: str
    syntax: str
    uids: Uids


class Peer(Protocol):
    """A PACS that answers. All raise PeerError where it breaks off, and where it answers with something else."""

    def find(self, level: Level, uids: Uids, keys: Mapping[str, str]) -> list[Dataset]:
        """What is below a study or a series, or in all of the archive, with the attributes that `keys` names."""
        ...

    def fetch(self, uids: Uids, keep: Keep) -> str:
        """Have a series or an image sent. Returns why something did not come, or ""."""
        ...

    def store(self, files: Sequence[Stored]) -> Iterator[tuple[Stored, str]]:
        """Send files. Yields each once it has been answered for: "" is success, all else the reason of a refusal."""
        ...


def why_unreachable(address: PeerAddress) -> str:
    """What is wrong with the way to a PACS, found out by a connection: a sentence. "" if nothing is."""
    where = f"{address.host}, port {address.port}"
    try:
        with socket.create_connection((address.host, address.port), timeout=address.timeout) as connection:
            if address.is_encrypted:
                with tls_context().wrap_socket(connection, server_hostname=address.host):
                    pass
        return ""
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}. PACS_CA names whom to trust."
    except ssl.SSLError as error:
        return f"it does not take part in TLS ({error.reason or 'broken off'}). Check the port and PACS_CERT."
    except ConnectionRefusedError:
        return f"nobody listens on {where}. Check the address, and that the PACS runs."
    except TimeoutError:
        return f"{where} does not answer within {address.timeout:g} s. Check the address and the firewall."
    except OSError as error:
        return f"{where} cannot be reached ({error.strerror or error}). Check the address."
