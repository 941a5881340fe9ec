"""How picture files begin, and what the headers of PGM, PPM, JPEG and JPEG XL say before anything is decoded."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
    *(".jp2", ".j2k", ".jpx", ".j2c", ".jxl", ".pgm", ".ppm", ".pnm", ".pbm"),
)
"""In lower case, of the files that are read."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
JPEG_XL = (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")
GAP = rb"(?:\s|#[^\n]*\n)+"
PNM_MAGIC = re.compile(rb"P[1-6]" + GAP + rb"\d+" + GAP + rb"\d+\s")
PNM = re.compile(rb"P([2356])" + GAP + rb"(\d{1,9})" + GAP + rb"(\d{1,9})" + GAP + rb"(\d{1,9})\s")
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEGXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def pnm(content: bytes, check: Callable[[int, int], None]) -> tuple[NDArray[np.uint16], int] | None:
    """Samples (H, W) or (H, W, 3) and maxval of P2, P3, P5 or P6 (netpbm's pgm(5), ppm(5)); None for other content.

    check: called with height and width before anything is decoded. Raises SourceError where it is damaged.
    """
    found = PNM.match(content)
    if not found:
        return None
    kind, width, height, maxval = (int(number) for number in found.groups())
    check(height, width)
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    count = int(np.prod(shape))
    if kind > 3:
        samples = np.frombuffer(content, ">u2" if maxval > 255 else "u1", count, found.end())
        rest = content[found.end() + samples.nbytes :]
    else:
        words = content[found.end() :].split(maxsplit=count)
        samples, rest = np.array(words[:count], np.uint32), b"".join(words[count:])
    if not 0 < maxval < 65536 or samples.size < count or (count and samples.max() > maxval):
        raise SourceError("damaged or truncated (its numbers do not fit its header)")
    if rest.strip():
        raise SourceError("holds more than one picture: save each as a file of its own")
    return samples.reshape(shape).astype(np.uint16), maxval


def check_png(content: bytes) -> None:
    """Raise SourceError where the pixels of a PNG differ from their checksums (PNG, 5.5), which Pillow passes over."""
    place = 8
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if kind == b"IDAT" and zlib.crc32(content[place + 4 : end]).to_bytes(4) != content[end : end + 4]:
            raise SourceError("damaged or truncated (its pixels differ from their checksum)")
        place = end + 4


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG of any precision (T.81, B.2.2); None where there is no frame header."""
    place = 2
    while content[:2] == b"\xff\xd8" and place + 9 <= len(content):
        marker, length, _, height, width = struct.unpack_from(">xBHBHH", content, place)
        if content[place] != 0xFF:
            return None
        if marker in JPEG_FRAMES:
            return height, width
        place += 2 + length
    return None


def jpegxl_size(content: bytes) -> tuple[int, int]:
    """Height and width of a JPEG XL (ISO/IEC 18181-1, D.3 SizeHeader), bare or in a container."""
    bits = int.from_bytes(_jpegxl_codestream(content)[2:14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (2**count - 1), bits >> count
        return value

    def side(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = bool(take(1))
    height, ratio = side(small), take(3)
    if not ratio:
        return height, side(small)
    across, down = JPEGXL_RATIOS[ratio - 1]
    return height, height * across // down


def _jpegxl_codestream(content: bytes) -> bytes:
    """The first bytes of the codestream: the file itself, or its first box jxlc or jxlp."""
    place = 0
    while content[:2] != b"\xff\x0a" and place + 16 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        start = place + (16 if length == 1 else 8)
        if kind in (b"jxlc", b"jxlp"):
            return content[start + (4 if kind == b"jxlp" else 0) :][:16]
        length = struct.unpack_from(">Q", content, place + 8)[0] if length == 1 else length
        if length < 8:
            break
        place += length
    if content[:2] != b"\xff\x0a":
        raise SourceError("damaged or truncated (a JPEG XL without picture)")
    return content[:16]
