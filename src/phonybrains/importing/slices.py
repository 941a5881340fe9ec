"""What every reader of source files yields: slices with what their numbers mean, or a file it had to leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..imageset import Attribute

NO_VALUES = np.empty((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Slice:
    """One 2-D slice as a reader found it, not yet resized.

    values: (H, W) float32 in `unit` (HU or a.u.); low…high is mapped to the range of the stored pixels.
    spacing_mm: distance of rows and of columns, so that the aspect is kept in millimetres.
    patient: the id as found, "" where unknown; it is replaced by a keyed pseudonym before anything is written.
    patient_is_guess: whether the id is only guessed, from names of files and folders, say.
    series, order: which volume or folder it belongs to and its place in it (millimetres, or a running number).
    source: the name of the source folder; a number and a digest replace it before anything is written.
    file: its name in the import report, which stays beside the set; may hold what must not be published.
    split: the split the source gives it (train, validation, test or ""), None where it gives none.
    inherited: how the image set that it comes from was split, "" for what comes from none.
    synthetic: whether it was generated (a source that is an image set says so).
    in_mm: whether spacing_mm is in millimetres, as the source says, and not only a ratio.
    position_mm: its place along the normal of its plane, as shown (see docs/image-set.md); None where not known.
    volume: whether its series is one scan, and so of one patient.
    mask: (h, w) of the same aspect, True inside what is outlined; None where the source has no mask for it.
    """

    values: NDArray[np.float32]
    low: float
    high: float
    modality: str
    series: str
    order: float
    source: str
    unit: str = "a.u."
    patient: str = ""
    patient_is_guess: bool = False
    spacing_mm: tuple[float, float] = (1.0, 1.0)
    in_mm: bool = False
    position_mm: float | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    file: str = ""
    split: str | None = None
    inherited: str = ""
    synthetic: bool = False
    volume: bool = True
    mask: NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        """What the report calls it."""
        return shown(self.file or f"{self.source} {self.series} {self.order:g}")


@dataclass(frozen=True, slots=True)
class Notice:
    """A line of the import report. kind: `skipped` (file left out), `warning` or `note`."""

    file: str
    kind: str
    reason: str


def shown(text: str) -> str:
    """A file's name as text that can be written: bytes that are not UTF-8 appear as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def name_below(root: Path, path: Path) -> str:
    """What the report calls a file of a source: its path, from the name of the source's folder on."""
    return shown((root.name / path.relative_to(root)).as_posix())


def reason_of(error: Exception) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return str(error).splitlines()[0].strip("'\"") if str(error) else type(error).__name__
