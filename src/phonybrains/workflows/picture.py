"""One picture in place of an image set: a person's first try."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, ImageSetError, SourceError
from ..imageset import ImageSet, Row, write_metadata, write_png
from ..marks import EDITED, SyntheticMark, mark_in, marked_png
from ..pictures.codecs import decode_file, strict_pillow
from ..pictures.pixels import gray_values, span_of
from ..replacing import write_named

MOST_PIXELS = 8192**2
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def is_picture(path: Path) -> bool:
    """Whether a path names one picture, not a set of them."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


@contextmanager
def as_set(picture: Path, modality: str) -> Iterator[Path]:
    """A picture as an image set of one, as long as it is needed; colour becomes luminance.

    Raises ImageSetError for what is no picture, ConfigError without a modality.
    """
    if not modality:
        raise ConfigError(f"{picture}: a picture does not say what it is. Add --modality MR or --modality CT.")
    try:
        pixels = gray_picture(picture)
    except FileNotFoundError:
        raise ImageSetError(f"{picture} is not there.") from None
    except SourceError as error:
        raise ImageSetError(f"{picture} cannot be edited: {error}.") from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / picture.stem
        (folder / "images").mkdir(parents=True)
        digest = write_png(folder / "images/000000.png", pixels)
        write_metadata(folder, [Row("images/000000.png", digest, modality, source=picture.name)])
        yield folder


def gray_picture(path: Path) -> NDArray[np.uint8]:
    """A picture as (H, W) uint8, read as `import` reads it: colour by its luminance, more than 8 bits to 8.

    Raises SourceError for what is no picture, is damaged, too large, partly transparent, or has several pages.
    """
    with strict_pillow():
        pages = list(islice(decode_file(path, MOST_PIXELS), 2))
    if len(pages) != 1:
        raise SourceError("it has several pages, and an edit takes one picture")
    values, span = gray_values(pages[0], colour=True)
    low, high = span if pages[0].white == 255 else span_of(pages[0])
    return np.rint(np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255)).astype(np.uint8)


def publish_picture(edited: Path, out: Path) -> list[Path]:
    """Write the images of an edited set as pictures that say so, and its spread and maps beside them; their paths.

    The first is `out`, others have their number behind its name.
    """
    images, written = ImageSet.open(edited), []
    out.parent.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(images.rows):
        facts = {key: value for key, value in row.attributes.items() if value is not None}
        mark = mark_in((edited / row.file_name).read_bytes()) or SyntheticMark(EDITED)
        facts |= {key: value for key, value in mark.facts.items() if key == "model_sha256"}
        facts["note"] = images.record["results"]["note"]
        path = out if number == 0 else out.with_stem(f"{out.stem}-{number}")
        write_named(path, marked_png(np.asarray(images.pixels(number), np.uint8), facts, mark.source_type))
        written.append(path)
    for kind in ("spread", "maps"):
        for name in sorted((edited / kind).glob("*.png")):
            write_named(beside := out.with_stem(f"{out.stem}-{kind}"), name.read_bytes())
            written.append(beside)
    return written
