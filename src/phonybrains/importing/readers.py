"""The source formats that are read, and which of them a file is of: by its first bytes, then by its extension."""

from __future__ import annotations

from .dicom import Dicom
from .matlab import Matlab
from .raster import Raster
from .reader import FormatReader, is_text, vocabulary
from .volumes import Volumes

READERS: tuple[FormatReader, ...] = (Raster(), Dicom(), Volumes(), Matlab())
"""In the order in which the files of a source are read."""
FORMATS = ", ".join(reader.formats for reader in READERS)
BESIDE = tuple(
    vocabulary(
        ".md .rst .txt .csv .tsv .json .xml .html .pdf .toml .yaml .yml .py .sh .m .r .log .bval .bvec .xlsx .docx "
        ".pptx .odt .ods"
    )
)
"""Extensions of files that lie beside images and are none."""
UNREAD = tuple(vocabulary(".vtk .vti .fits .fit .par .rec .mnc .svg .xpm .pfm .gipl .pic .img .raw .zraw .head .brik"))
"""Extensions of images that no reader takes, even where they begin with text."""


def kind_of(head: bytes, name: str, tail: bytes = b"") -> str:
    """The kind of the reader that takes a file, `beside` (belongs to none, and need not) or "" (not known).

    head: the first 512 bytes; tail: the last ones. Content decides; the extension where the content does not tell.
    """
    for reader in READERS:
        if reader.takes(head):
            return reader.kind
    low = name.lower()
    if head:
        for reader in READERS:
            if low.endswith(reader.extensions):
                return reader.kind
    text = head and not low.endswith(UNREAD) and is_text(head) and is_text(tail)
    return "beside" if text or low.endswith(BESIDE) else ""
