"""What a source format is to an import: which files are of it, by their content, and what is read from them.

`readers.py` lists the formats: another one is a reader of its own, and a line there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from .config import ImportConfig
from .slices import Notice, Slice

Masks = Mapping[Path, Path]
"""By the file of an image, the file that outlines something in it."""
NO_MASKS: Masks = MappingProxyType({})


class FormatReader(Protocol):
    """One source format, or a family of them. What is heavy to load is imported in `read`, so that a scan stays quick.

    kind: what a source's label, the progress and `Scan.files` call it; formats: what a person calls it; extensions: in
    lower case, decide where the content of a file tells nothing; an_image_each: whether a file mostly holds one image;
    has_table: whether a metadata.csv beside the files describes them.
    """

    kind: str
    formats: str
    extensions: tuple[str, ...]
    an_image_each: bool = True
    has_table: bool = False

    def takes(self, head: bytes) -> bool:
        """Whether a file is of this format beyond doubt; head: its first 512 bytes."""
        ...

    def read(
        self, root: Path, files: Sequence[Path], config: ImportConfig, masks: Masks = NO_MASKS
    ) -> Iterator[Slice | Notice]:
        """Slices with their facts, and a notice with the reason for each file that is left out.

        root: the source's folder; files: those of this format below it, in natural order. A bad file raises nothing,
        and a bad mask costs no image.
        """
        ...

    def parts(self, files: Iterable[Path]) -> set[Path]:
        """Files that only hold the values of some of these: they are no images of their own."""
        return set()

    def sidecars(self, files: Iterable[Path]) -> set[Path]:
        """Files beside these that change what is read from them."""
        return set()


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text: lists of them in the code are written so."""
    return frozenset(text.split())


def is_text(content: bytes) -> bool:
    """Whether bytes are those of a text, in UTF-8 or an encoding like it."""
    return b"\0" not in content and all(byte >= 32 or byte in b"\t\r\n\f" for byte in content)
