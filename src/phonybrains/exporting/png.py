"""PNG: pictures that are marked as what they are, or signed, with masks and a table that `datasets` opens too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import write_whole
from ..imageset import Row
from ..marks import EDITED, MADE, SyntheticMark, mark_in, marked
from ..signing import sign
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
        """A mask, a scan and a picture that is marked keep their bytes; a synthetic one of before gets a mark.

        With a certificate all synthetic pictures are signed.
        """
        index = part.images[0]
        row, folder = self.exported.images.rows[index], self.exported.images.folder
        content = (folder / (row.mask_file_name if part.is_mask else row.file_name)).read_bytes()
        if row.synthetic and not part.is_mask:
            content = content if mark_in(content) else marked(content, self._mark(row))
            content = sign(content, *self.exported.c2pa) if self.exported.c2pa else content
        write_whole(path, content, sync=False)

    def _mark(self, row: Row) -> SyntheticMark:
        """What a picture says of itself that was made before pictures were marked."""
        maker, record = self.exported.maker, self.exported.images.record
        facts = {"record_identity": record.get("identity"), "generator": maker.name, "model_sha256": maker.sha256}
        facts |= {name: row[name] for name in ("seed", "index")}
        said = {name: value for name, value in facts.items() if value not in (None, "")}
        return SyntheticMark(EDITED if row["edit_of_kind"] == "real" else MADE, said)

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        """There is nothing more to say."""
