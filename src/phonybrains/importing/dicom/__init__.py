"""DICOM: objects and files to slices with their facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import ImportConfig
from ..reader import NO_MASKS, FormatReader, Masks
from ..slices import Notice, Slice

FIRST_VRS = (b"CS", b"UI", b"UL", b"SH", b"LO", b"DA", b"TM", b"OB")


class Dicom(FormatReader):
    """DICOM, with or without the preamble of its files."""

    kind = "dicom"
    formats = "DICOM"
    extensions = (".dcm", ".dicom", ".ima", "dicomdir")

    def takes(self, head: bytes) -> bool:
        if head[128:132] == b"DICM":
            return True
        if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
            return False
        return head[4:6] in FIRST_VRS or 0 < int.from_bytes(head[4:8], "little") <= 256  # implicit: a short length

    def read(
        self, root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
    ) -> Iterator[Slice | Notice]:
        from .reader import read_dicom

        return read_dicom(root, files, config)
