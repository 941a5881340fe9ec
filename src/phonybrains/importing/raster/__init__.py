"""Pictures: PNG, JPEG, TIFF and others to slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...pictures.headers import EXTENSIONS, JPEG_2000, JPEG_XL, PNM_MAGIC, TIFF
from ..config import ImportConfig
from ..reader import NO_MASKS, FormatReader, Masks, is_text
from ..slices import Notice, Slice

MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", *TIFF, *JPEG_2000, *JPEG_XL)


class Raster(FormatReader):
    """Pictures, with the metadata.csv beside them."""

    kind = "raster"
    formats = "PNG, JPEG, JPEG 2000, JPEG XL, TIFF, BMP, WebP, PGM"
    extensions = EXTENSIONS
    has_table = True

    def takes(self, head: bytes) -> bool:
        if head[128:132] == b"DICM":  # whose first 128 bytes are free, and some begin as a TIFF does
            return False
        if head.startswith(b"BM"):
            return not is_text(head)
        return head.startswith(MAGIC) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP") or bool(PNM_MAGIC.match(head))

    def read(
        self, root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
    ) -> Iterator[Slice | Notice]:
        from .reader import read_rasters

        return read_rasters(root, files, config, masks)
