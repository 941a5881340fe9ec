"""Pages of a TIFF: found by tifffile, decoded by libtiff."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..wording import count_of
from .picture import ORIENTATION, DecodedPicture, check_size, spacing_of, upright

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

REDUCED, MASK = 1, 4
JPEGS = (6, 7, 33007)


def tiff_pages(path: Path, max_pixels: int, *, mask: bool = False) -> Iterator[DecodedPicture]:
    """The pages that are pictures, one after another; not by tifffile's own decoders, which crash on damaged files.

    A mask may be of 1 bit. Raises SourceError for pages that are no slices of one volume, or cannot be taken as gray;
    many errors for damage.
    """
    import imagecodecs
    import tifffile

    with (
        tifffile.TiffFile(path) as file,
        path.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        pages = _slices(file)
        for place, page in enumerate(pages):
            check_size(page.imagelength, page.imagewidth, max_pixels)
            _check_whole(page, file.filehandle.size)
            alpha = _check_kind(page, mask)
            samples = imagecodecs.tiff_decode(content, index=page.index)
            if page.samplesperpixel > 1 and page.planarconfig == 2:
                samples = np.moveaxis(samples, 0, -1)
            yield _tiff_page(page, samples, alpha, len(pages), place)


def _slices(file: TiffFile) -> list[TiffPage]:
    """The pages that are pictures, without thumbnails, the smaller levels of a pyramid, and masks."""
    found: dict[int, Any] = {}
    for each in file.pages:
        if each.offset in found:
            raise SourceError("damaged or truncated (its pages lead round in a circle)")
        found[each.offset] = each.aspage()
    pages = [*found.values()]
    pages = [page for page in pages if not int(page.subfiletype) & (REDUCED | MASK)] or pages
    if not pages:
        raise SourceError("damaged or truncated (no page can be read)")
    if any(not isinstance(side, int) for page in pages for side in (page.imagelength, page.imagewidth)):
        raise SourceError("damaged or truncated (its size is no number)")
    if len({(page.imagelength, page.imagewidth, page.dtype) for page in pages}) > 1:
        raise SourceError(f"holds {len(pages)} pages that differ in size or depth: save each as a file of its own")
    described = file.imagej_metadata or {}
    axes = file.series[0].sizes if file.is_ome and file.series else {}
    more = {
        "channels": max(described.get("channels", 1), axes.get("channel", 1)),
        "time points": max(described.get("frames", 1), axes.get("time", 1)),
    }
    for what, count in more.items():
        if count > 1:
            raise SourceError(f"holds {count} {what}, which are no slices: save each as a file of its own")
    if described.get("images", 1) > len(pages):
        raise SourceError(
            f"ImageJ says that it holds {described['images']} images, but it has {count_of(len(pages), 'page')}"
        )
    return pages


def _check_whole(page: TiffPage, size: int) -> None:
    """Refuse a page of which a part is missing: tifffile would fill that with zeros."""
    offsets, counts = page.dataoffsets, page.databytecounts
    inside = all(count > 0 and offset + count <= size for offset, count in zip(offsets, counts, strict=True))
    short = page.compression == 1 and sum(counts) * 8 < page.imagelength * page.imagewidth * page.bitspersample
    if not inside or short or len(offsets) < math.prod(page.chunked):
        raise SourceError("damaged or truncated (a part of its pixels lies outside the file)")


def _check_kind(page: Any, mask: bool) -> bool:
    """Whether the last channel of a page is opacity. Raises SourceError for what is not gray, or not real numbers."""
    kind, channels = page.photometric.name, page.samplesperpixel
    if page.bitspersample == 1 and not mask:
        raise SourceError("black and white (1 bit), not gray: a mask, or a drawing")
    if page.dtype is None or page.dtype.kind not in "uifb" or isinstance(page.bitspersample, tuple):
        raise SourceError("its numbers are complex, or of a kind that is not known: save it as real numbers")
    known = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "PALETTE": 1}.get(kind)
    if known is None or (kind == "YCBCR" and page.compression not in JPEGS):
        raise SourceError(f"{'CMYK' if kind == 'SEPARATED' else kind} colours, not gray: convert it to gray first")
    alpha = channels == known + 1 and page.extrasamples and int(page.extrasamples[0]) in (1, 2)
    if channels != known and not alpha:
        raise SourceError(f"holds {channels} channels, and does not say which is the picture")
    if page.imagedepth > 1:
        raise SourceError("holds a volume in one page: save each slice as a page or a file of its own")
    if kind == "MINISWHITE" and not _white_of(page):
        raise SourceError("white is zero in it, in numbers that have no largest one: save it with black as zero")
    return bool(alpha)


def _white_of(page: Any) -> float:
    if page.bitspersample == 1:
        return 255.0
    return float(2**page.bitspersample - 1) if page.dtype.kind == "u" and page.bitspersample <= 16 else 0.0


def _tiff_page(page: Any, samples: NDArray[Any], alpha: bool, pages: int, place: int) -> DecodedPicture:
    kind, white = page.photometric.name, _white_of(page)
    if samples.shape[:2] != (page.imagelength, page.imagewidth):
        raise SourceError("damaged or truncated (its pixels do not fit its header)")
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * (1 if kind == "PALETTE" else 255)
    if kind == "PALETTE":
        samples, white = np.moveaxis(np.asarray(page.colormap)[:, samples], 0, -1), 65535.0
    elif kind == "MINISWHITE" and alpha:
        samples = np.concatenate([white - samples[..., :1], samples[..., 1:]], axis=2)
    elif kind == "MINISWHITE":
        samples = white - samples
    across, down = (_ratio(page, name) for name in ("XResolution", "YResolution"))
    picture = DecodedPicture(
        samples,
        white,
        alpha,
        lossy=int(page.compression) in JPEGS,
        spacing=spacing_of(across, down),
        pages=pages,
        place=place,
    )
    return upright(picture, page.tags.valueof(ORIENTATION, 1))


def _ratio(page: TiffPage, name: str) -> float:
    numerator, denominator = page.tags.valueof(name, (1, 1))
    return numerator / denominator if denominator else math.nan
