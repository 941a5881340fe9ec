"""What every format gives: the parts that an export has, and the writing of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ExportPart:
    """A file of an export: where it lies, the images of the set that it shows or outlines, by their numbers."""

    file: str
    images: tuple[int, ...]
    is_mask: bool = False


class ExportFormat(Protocol):
    """How a set is written in a format."""

    table: str
    """Name of the table that says what became of each image."""

    def parts(self) -> Sequence[ExportPart]:
        """All files with pixels, in the order in which they are written; the same each time."""
        ...

    def write(self, part: ExportPart, path: Path) -> None:
        """Write one of them whole, with the same bytes each time."""
        ...

    def finish(self, folder: Path, parts: Sequence[ExportPart]) -> None:
        """Write what is about all of them."""
        ...
