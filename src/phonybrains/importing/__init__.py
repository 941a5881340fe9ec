"""Import: sources (pictures, DICOM, volumes, MATLAB, archives of these) become one image set.

The heavy parts are imported when first asked for, so that `phonybrains --help` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ImportConfig, Source

if TYPE_CHECKING:
    from .report import ImportReport
    from .stage import import_images

__all__ = ["ImportConfig", "ImportReport", "Source", "import_images"]


HEAVY = {"import_images": "stage", "ImportReport": "report"}


def __getattr__(name: str) -> Any:
    if name not in HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{HEAVY[name]}", __name__), name)
