"""Import: sources (pictures, DICOM, volumes, MATLAB, archives of these) become one image set.

The heavy parts are imported when first asked for, so that `phonybrains --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import ImportConfig, Source

if TYPE_CHECKING:
    from .report import ImportReport
    from .stage import import_images

__all__ = ["ImportConfig", "ImportReport", "Source", "import_images"]


def __getattr__(name: str) -> Any:
    if name == "import_images":
        from .stage import import_images

        return import_images
    if name == "ImportReport":
        from .report import ImportReport

        return ImportReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
