"""Tell formats of volumes by their first bytes, never by the name."""

from __future__ import annotations

import re
import struct
import zlib

GZIP = b"\x1f\x8b"
META = re.compile(rb"\A\s*ObjectType[ \t]*=|^[ \t]*NDims[ \t]*=", re.MULTILINE)
ANALYZE_TYPES = (1, 2, 4, 8, 16, 32, 64, 128, 130, 132, 136)
MGH_TYPES = (0, 1, 2, 3, 4, 10)


def family(head: bytes) -> str:
    """The format of a volume by its first 512 bytes or more (unpacked), or "".

    `nifti`, `nifti2` (with ` pair` where the values lie in another file), `analyze`, `mgh`, `nrrd`, `metaimage`.
    """
    for order in ("little", "big"):
        size = int.from_bytes(head[:4], order)
        if size == 348 and head[344:347] in (b"n+1", b"ni1"):
            return "nifti" if head[344:347] == b"n+1" else "nifti pair"
        if size == 540 and head[4:7] in (b"n+2", b"ni2"):
            return "nifti2" if head[4:7] == b"n+2" else "nifti2 pair"
        dimensions, kind = (int.from_bytes(head[place : place + 2], order) for place in (40, 70))
        if size == 348 and 1 <= dimensions <= 7 and kind in ANALYZE_TYPES:
            return "analyze"
    if head.startswith(b"NRRD000"):
        return "nrrd"
    if META.search(head):
        return "metaimage"
    return "mgh" if _is_mgh(head) else ""


def _is_mgh(head: bytes) -> bool:
    """Version 1, then width, height, depth, frames and type of the values: six big-endian integers."""
    if len(head) < 284:
        return False
    version, *sizes, kind = struct.unpack(">6i", head[:24])
    return version == 1 and kind in MGH_TYPES and all(0 < size < 2**16 for size in sizes)


def unpacked(head: bytes) -> bytes:
    """What the first bytes of a gzip file hold; nothing if it is damaged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head)
    except zlib.error:
        return b""
