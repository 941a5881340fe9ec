"""A PACS by DIMSE: C-FIND, C-GET and C-STORE over one association (PS3.4 B, C; PS3.7)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND  # pyright: ignore[reportAttributeAccessIssue]
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET  # pyright: ignore[reportAttributeAccessIssue]

from ..errors import PeerError
from .address import PeerAddress
from .login import find_login, tls_context
from .peer import IMAGES, LEVELS, UIDS, Keep, Level, Stored, Uids, why_unreachable

PLAIN = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
COMPRESSED = (
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.RLELossless,
    uid.DeflatedExplicitVRLittleEndian,
)
MOST_CONTEXTS = 128
"""Of one association: PS3.8 9.3.2.2, odd numbers of one byte."""
PDU_BYTES = 1 << 17
T = TypeVar("T")
REASONS = {
    0xA700: "it is full (out of resources)",
    0xA900: "it does not fit its SOP class",
    0x0122: "not this SOP class",
}
REASONS |= {0x0124: "not authorised", 0xC000: "it cannot be understood"}


@contextmanager
def association(address: PeerAddress, sends: Collection[Stored] | None = None) -> Iterator[Dimse]:
    """An association, released at the end, or aborted where something went wrong; `sends` as in `connect`.

    Each transfer syntax has a presentation context of its own, so that images come and go as they are.
    Raises PeerError if it is refused, or the PACS is not to be reached.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    roles: list[Any] = [build_role(kind, scp_role=True) for kind in IMAGES] if sends is None else []
    if login := find_login(address):
        identity = UserIdentityNegotiation()
        identity.user_identity_type = 2
        identity.primary_field, identity.secondary_field = login.user.encode(), login.password.encode()
        roles.append(identity)
    entity = AE(ae_title=address.aet)
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = address.timeout
    entity.network_timeout = None
    peer = Dimse(address)
    try:
        talk = entity.associate(
            address.host,
            address.port,
            _contexts(sends),
            ae_title=address.called,
            max_pdu=PDU_BYTES,
            ext_neg=roles,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _quick, [address.timeout]),
                (evt.EVT_C_STORE, peer.take),
                (evt.EVT_PDU_RECV, peer.hear),
            ],
            tls_args=(tls_context(), address.host) if address.is_encrypted else None,
        )
    except OSError as error:  # a host without an address
        raise PeerError(f"{address.name}: {why_unreachable(address) or error}") from None
    if not talk.is_established:
        raise PeerError(f"{address.name}: {_why_not(talk, address)}")
    peer.talk = talk
    try:
        peer.check(() if sends else (FIND,) if sends is not None else (FIND, GET))
        yield peer
        talk.release()
    finally:
        if talk.is_established:
            talk.abort()


def _contexts(sends: Collection[Stored] | None) -> list[PresentationContext]:
    """Each kind of image in each of its syntaxes, a context each; the plain ones last, for what is decoded."""
    if sends is None:
        images = [build_context(kind, syntax) for kind in IMAGES for syntax in COMPRESSED]
        return [build_context(FIND), build_context(GET), *images, *(build_context(kind, [*PLAIN]) for kind in IMAGES)]
    if not sends:
        return [build_context(FIND)]
    packed = sorted({(file.sop_class, file.syntax) for file in sends if file.syntax not in PLAIN})
    images = [build_context(kind, syntax) for kind, syntax in packed]
    images += [build_context(kind, [*PLAIN]) for kind in sorted({file.sop_class for file in sends})]
    if len(images) > MOST_CONTEXTS:
        raise PeerError(f"{len(images)} kinds of image are more than one association takes. Send them in parts.")
    return images


def _quick(event: evt.Event, timeout: float) -> None:
    """Send small messages at once, and wait for no piece longer than that."""
    opened: Any = event.assoc.dul.socket
    opened.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.socket.settimeout(timeout)


def _why_not(talk: Association, address: PeerAddress) -> str:
    if talk.is_rejected and talk.acceptor.primitive:
        reason = talk.acceptor.primitive.reason_str.lower()
        return f"it refuses the association: {reason}. We are '{address.aet}' (?aet=…), it is '{address.called}'."
    doubt = "does it ask for a certificate (PACS_CERT, PACS_KEY)" if address.is_encrypted else "without TLS"
    how = f"it answers no association within {address.timeout:g} s, or breaks it off. Is it a DICOM port, {doubt}?"
    return why_unreachable(address) or how


class Dimse:
    """A PACS behind an association: a `Peer`."""

    talk: Association

    def __init__(self, address: PeerAddress) -> None:
        self.address = address
        self._keep: Keep | None = None
        self._failed: OSError | None = None
        self._broken_off = False
        self._heard = time.monotonic()

    def check(self, services: Sequence[str]) -> None:
        """Raises PeerError where the PACS does not offer what is about to be asked of it."""
        offered = {context.abstract_syntax for context in self.talk.accepted_contexts}
        for service in services:
            if service not in offered:
                name = "C-FIND" if service == FIND else "C-GET"
                raise PeerError(f"{self.address.name}: it does not offer {name} to '{self.address.aet}' (?aet=…).")

    def hear(self, event: evt.Event) -> None:
        """Note that the PACS has said something, and whether that was its last word."""
        self._heard = time.monotonic()
        self._broken_off |= isinstance(event.pdu, A_ABORT_RQ)

    def find(self, level: Level, uids: Uids, keys: Mapping[str, str]) -> list[Dataset]:
        asked = _identifier(level, uids)
        for keyword, value in keys.items():
            setattr(asked, keyword, value)
        if not all(value.isascii() for value in keys.values()):
            asked.SpecificCharacterSet = "ISO_IR 192"
        found: list[Dataset] = []
        for status, answer in self._begun(self.talk.send_c_find, asked, FIND):
            code = self._code(status)
            if code in (0xFF00, 0xFF01):
                found += [answer] if answer else []
            elif code:
                raise PeerError(f"{self.address.name}: it does not answer the query ({_reason(code)}).")
        return found

    def fetch(self, uids: Uids, keep: Keep) -> str:
        self._keep, code = keep, 0
        for status, _ in self._begun(self.talk.send_c_get, _identifier(LEVELS[len(uids) - 1], uids), GET):
            if self._failed:
                raise self._failed
            code = self._code(status)
        return _reason(code) if code else ""

    def take(self, event: evt.Event) -> int:
        """Keep what a C-GET has sent (PS3.7 9.3.1): it is on the disk before it is answered for."""
        sent: Any = event.request
        try:
            if self._keep and not self._failed:
                self._keep(str(sent.AffectedSOPInstanceUID), event.encoded_dataset())
        except OSError as error:
            self._failed = error
        return 0xA700 if self._failed else 0

    def store(self, files: Sequence[Stored]) -> Iterator[tuple[Stored, str]]:
        """As `Peer.store`; what the PACS does not take compressed, it gets decoded. Stops where it has no room."""
        taken = {(c.abstract_syntax, c.transfer_syntax[0]) for c in self.talk.accepted_contexts}
        for file in files:
            if not any(kind == file.sop_class for kind, _ in taken):
                yield file, f"it does not take {uid.UID(file.sop_class).name}"
                continue
            content = dcmread(file.path)
            if file.syntax not in PLAIN and (file.sop_class, file.syntax) not in taken:
                content.decompress(generate_instance_uid=False)
            code = self._code(self._begun(self.talk.send_c_store, content))
            if code & 0xFF00 == 0xA700:
                raise PeerError(f"{self.address.name}: {_reason(code)}.")
            yield file, "" if code == 0 or code >> 12 == 0xB else _reason(code)

    def _begun(self, ask: Callable[..., T], *given: Any) -> T:
        """What comes of a request. Raises PeerError where the association is over."""
        try:
            return ask(*given)
        except RuntimeError:  # pynetdicom: not established
            raise self._lost() from None

    def _code(self, status: Dataset) -> int:
        """The status of an answer. Raises PeerError where none came."""
        if "Status" not in status:
            raise self._lost()
        return int(status.Status)

    def _lost(self) -> PeerError:
        if self._broken_off:
            why = f"it breaks off the association. It may not allow this to '{self.address.aet}' (?aet=…)."
        elif time.monotonic() - self._heard > 0.9 * self.address.timeout:
            why = f"no answer within {self.address.timeout:g} s (?timeout=…)."
        else:
            why = "the connection was lost."
        return PeerError(f"{self.address.name}: {why}")


def _identifier(level: Level, uids: Uids) -> Dataset:
    """What is asked for: the UIDs above are given, that of the level is wanted (PS3.4 C.4.1.1.3)."""
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for name, value in zip(LEVELS[: LEVELS.index(level) + 1], (*uids, ""), strict=False):
        setattr(asked, UIDS[name], value)
    return asked


def _reason(code: int) -> str:
    """A status in words, with its number (PS3.7 C)."""
    known = REASONS.get(code) or REASONS.get(code & 0xFF00) or REASONS.get(code & 0xF000, "")
    return f"{known + ', ' if known else ''}status 0x{code:04X}"
