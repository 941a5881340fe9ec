"""A picture that a person gives: checked before it is decoded, gray, square, and held in memory alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..importing.resize import place, to_pixels
from ..pictures.codecs import decode_content, strict_pillow
from ..pictures.pixels import Range, gray_values, span_of
from .batch import Image
from .refusal import Refusal, invalid

MOST_BYTES = 8 * 2**20
MOST_PIXELS = 2048**2
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


@dataclass(frozen=True)
class GivenPicture:
    """Its gray values (H, W), which of them are black and white, how its pixels lie, and the SHA-256 of its file."""

    values: NDArray[np.float32]
    range: Range
    spacing: tuple[float, float]
    sha256: str

    @classmethod
    def read(cls, text: str, param: str, *, mask: bool = False) -> GivenPicture:
        """Decode a PNG or JPEG given as base64; colour becomes luminance, and a mask may be of 1 bit.

        Raises Refusal that names the parameter.
        """
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise invalid(param, f"{param} is not base64. Send the file's bytes so, without data: before.") from None
        if len(content) > MOST_BYTES:
            sentence = f"{param} has {len(content)} bytes, and may have {MOST_BYTES}. Give a smaller one."
            raise Refusal(413, sentence, param=param, code="picture_too_large")
        if not content.startswith(MAGIC):
            raise invalid(param, f"{param} is no PNG or JPEG. Save it as PNG.", "not_a_picture")
        try:
            with strict_pillow():
                picture = decode_content(content, MOST_PIXELS, mask=mask)
            values, span = gray_values(picture, colour=True)
            span = span if picture.white == 255 else span_of(picture)
        except SourceError as error:
            told = str(error).replace("max_pixels =", "the most,")
            raise invalid(param, f"{param} cannot be taken: {told}.", "not_a_picture") from None
        return cls(values, span, picture.spacing, hashlib.sha256(content).hexdigest())

    def square(self, side: int) -> Image:
        """(side, side) uint8 as `import` would make it: aspect kept, the rest black; the same pixels if it fits."""
        return to_pixels(self.values, *self.range, place(self.values.shape, self.spacing, side), 8)[0].astype(np.uint8)
