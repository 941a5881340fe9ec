"""What a PACS may answer: a pynetdicom server that gives any status, takes few syntaxes, and hears who asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from phonybrains.errors import PeerError, SourceError
from phonybrains.exporting.send import send
from phonybrains.pacs.address import parse_address
from phonybrains.pacs.asking import connect
from tests.support.dicom_files import image, save
from tests.support.imports import table
from tests.support.orthanc import write_heads

pynetdicom = pytest.importorskip("pynetdicom")


@contextmanager
def storage(answer: Any, syntaxes: list[str] | None = None, **handlers: Any) -> Iterator[str]:
    """A PACS that answers each C-STORE with what `answer` gives for it, and no C-FIND; its address."""
    entity = pynetdicom.AE("STORE")
    entity.add_supported_context(uid.CTImageStorage, syntaxes or [uid.ExplicitVRLittleEndian])
    bound = [(pynetdicom.evt.EVT_C_STORE, answer)]
    bound += [(getattr(pynetdicom.evt, name), handler) for name, handler in handlers.items()]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=bound)
    try:
        yield f"pacs://127.0.0.1:{server.socket.getsockname()[1]}/STORE?timeout=5"
    finally:
        server.shutdown()


def test_sent_is_what_was_answered_with_success(tmp_path: Path):
    """A warning is success (PS3.7 C.4); a refusal is not, is named, and holds up no others."""
    folder = write_heads(tmp_path / "heads", 4)
    statuses = iter([0x0000, 0xB000, 0xC123, 0x0124])
    said = r"of 4 images, 2 were refused, the first is 0002.dcm: it cannot be understood"
    with storage(lambda event: next(statuses)) as address, pytest.raises(PeerError, match=said):
        send(folder, address, show=False)
    outcomes = [row["outcome"] for row in table(tmp_path / "heads.sent.csv")]
    assert outcomes == ["sent", "sent", "it cannot be understood, status 0xC123", "not authorised, status 0x0124"]


def test_a_full_pacs_ends_it(tmp_path: Path):
    """Out of resources (0xA700) is no matter of one image: nothing more is tried."""
    folder, tried = write_heads(tmp_path / "heads", 5), []

    def answer(event: Any) -> int:
        tried.append(event)
        return 0xA700 if len(tried) == 3 else 0

    with storage(answer) as address, pytest.raises(PeerError, match=r"it is full .*0xA700\. Sent: 2 of 5 images"):
        send(folder, address, show=False)
    assert len(tried) == 3


def test_what_is_not_taken_compressed_is_decoded(tmp_path: Path):
    """RLE goes as it is where the PACS takes it, and decoded where it does not, with the same pixels and UID."""
    pixels = np.random.default_rng(0).integers(0, 4096, (16, 16), np.uint16)
    packed = image(pixels)
    packed.compress(uid.RLELossless, generate_instance_uid=False)
    save(packed, tmp_path / "heads/packed.dcm")
    for taken in ([uid.RLELossless], [uid.ImplicitVRLittleEndian]):
        came: list[Dataset] = []

        def answer(event: Any, came: list[Dataset] = came) -> int:
            came.append(event.dataset)
            came[0].file_meta = event.file_meta
            return 0

        with storage(answer, [*taken, uid.ImplicitVRLittleEndian]) as address:
            assert send(tmp_path / "heads", address, show=False).sent == 1
        assert came[0].file_meta.TransferSyntaxUID == taken[0]
        assert came[0].SOPInstanceUID == packed.SOPInstanceUID
        assert np.array_equal(pixel_array(came[0]), pixels)


def test_a_kind_that_is_not_taken_is_refused(tmp_path: Path):
    """An image of a kind that the PACS did not agree to is named as refused, and the others go."""
    folder = write_heads(tmp_path / "heads", 2)
    save(image(np.zeros((4, 4), np.uint16), "MR"), folder / "z.dcm")
    with (
        storage(lambda event: 0) as address,
        pytest.raises(PeerError, match=r"of 3 images, 1 was refused.*not take MR Image Storage"),
    ):
        send(folder, address, show=False)


def test_user_and_own_title_are_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """User and password go as user identity (PS3.7 D.3.3.7), and a PACS that does not know them refuses."""
    heard = []

    def who(event: Any) -> tuple[bool, None]:
        heard.append((event.assoc.requestor.ae_title, event.primary_field, event.secondary_field))
        return event.secondary_field == b"wonder11", None

    monkeypatch.setenv("PACS_USER", "alice")
    monkeypatch.setenv("PACS_PASSWORD", "wonder11")
    folder = write_heads(tmp_path / "heads", 1)
    with storage(lambda event: 0, EVT_USER_ID=who) as address:
        assert send(folder, f"{address}&aet=ME", show=False).sent == 1
        assert heard[-1] == ("ME", b"alice", b"wonder11")
        monkeypatch.setenv("PACS_PASSWORD", "wrong-pass")
        with pytest.raises(PeerError, match="refuses the association") as refused, connect(parse_address(address), ()):
            pass
    assert "wrong-pass" not in str(refused.value)


def test_two_files_of_one_uid(tmp_path: Path):
    """Of one image in two files one is sent; two that differ are an error, as one would replace the other."""
    folder = write_heads(tmp_path / "heads", 1)
    first = next(folder.rglob("*.dcm"))
    (folder / "copy.dcm").write_bytes(first.read_bytes())
    with storage(lambda event: 0) as address:
        assert send(folder, address, show=False).images == 1
        save(image(np.ones((4, 4), np.uint16), SOPInstanceUID="1.2.826.0.1.3680043.8.498.7.0.1"), folder / "copy.dcm")
        with pytest.raises(SourceError, match="differ, but have one SOPInstanceUID"):
            send(folder, address, show=False)
