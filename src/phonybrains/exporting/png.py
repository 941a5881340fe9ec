"""PNG: a plain folder of pictures, each marked as what it is, with masks and a table that `datasets` opens too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import write_whole
from ..imageset import HOW_MADE
from ..marks import marked_png
from .exported import ExportedSet
from .parts import ExportPart


class PngFiles:
    """Writes `images/name.png` and `masks/name.png`."""

    table = "metadata.csv"

    def __init__(self, exported: ExportedSet) -> None:
        self.exported = exported

    def parts(self) -> Sequence[ExportPart]:
        names = [f"{name}.png" for name in self.exported.names]
        masked = [index for index, row in enumerate(self.exported.images.rows) if self._has_mask(row.mask_file_name)]
        found = [ExportPart(f"images/{name}", (index,)) for index, name in enumerate(names)]
        return [*found, *(ExportPart(f"masks/{names[index]}", (index,), is_mask=True) for index in masked)]

    def _has_mask(self, name: str) -> bool:
        return self.exported.config.masks and bool(name)

    def write(self, part: ExportPart, path: Path) -> None:
        """A mask, a scan and a picture that has its marks keep their bytes; a synthetic one without gets marks."""
        index = part.images[0]
        row, folder = self.exported.images.rows[index], self.exported.images.folder
        source = folder / (row.mask_file_name if part.is_mask else row.file_name)
        content = source.read_bytes()
        if not part.is_mask and row.synthetic and not _is_marked(source):
            maker = self.exported.maker
            made = {name: value for name in HOW_MADE if (value := row[name]) not in (None, "")}
            facts = {
                "generator": maker.name,
                **made,
                "modelSha256": maker.sha256,
                "record": self.exported.record_sha256,
            }
            pixels: Any = self.exported.images.pixels(index)
            content = marked_png(pixels, facts, edited=bool(row["edit"]))
        write_whole(path, content, sync=False)

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        """There is nothing more to say."""


def _is_marked(path: Path) -> bool:
    with Image.open(path) as image:
        return "phonybrains" in image.info
