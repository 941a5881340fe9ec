"""One picture in place of an image set: a person's first try."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..errors import ConfigError, ImageSetError
from ..files import write_whole
from ..imageset import ImageSet, Row, write_metadata, write_png

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
        with Image.open(picture) as opened:
            pixels = np.asarray(opened.convert("L"), np.uint8)
    except FileNotFoundError:
        raise ImageSetError(f"{picture} is not there.") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageSetError(f"{picture} is not a readable picture ({error}).") from None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / picture.stem
        (folder / "images").mkdir(parents=True)
        digest = write_png(folder / "images/000000.png", pixels)
        write_metadata(folder, [Row("images/000000.png", digest, modality, source=picture.name)])
        yield folder


def publish_picture(edited: Path, out: Path) -> list[Path]:
    """Write the images of an edited set as pictures that say so, and its spread and maps beside them; their paths.

    The first is `out`, others have their number behind its name.
    """
    images, written = ImageSet.open(edited), []
    out.parent.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(images.rows):
        told = PngInfo()
        told.add_itxt(
            "Description", f"Edited ({row['edit']}) by {row['generator']}: {images.record['results']['note']}"
        )
        facts = {key: value for key, value in row.attributes.items() if value is not None}
        told.add_itxt("phonybrains", json.dumps({"synthetic": True, **facts}, ensure_ascii=False))
        path = out if number == 0 else out.with_stem(f"{out.stem}-{number}")
        written.append(_write(path, images.pixels(number), told))
    for kind in ("spread", "maps"):
        for name in sorted((edited / kind).glob("*.png")):
            with Image.open(name) as opened:
                written.append(_write(out.with_stem(f"{out.stem}-{kind}"), np.asarray(opened), PngInfo()))
    return written


def _write(path: Path, pixels: np.ndarray, told: PngInfo) -> Path:
    import io

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=told)
    write_whole(path, buffer.getbuffer())
    return path
