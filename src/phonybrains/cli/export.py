"""The command that carries images out into other formats: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .options import Amount, Flag


def export(
    source: Annotated[Path, Parameter(name="SET")],
    /,
    *,
    to: Literal["dicom", "nifti", "png", "bids", "croissant"],
    out: Path,
    window: Annotated[tuple[float, float] | None, Parameter(negative="")] = None,
    field_of_view: Amount | None = None,
    no_masks: Flag = False,
    real: Flag = False,
) -> None:
    """Write an image set as DICOM, NIfTI, PNG, BIDS or with Croissant metadata, marked as what it is.

    Args:
        source: An image set.
        to: The format: dicom, nifti, png, bids, or croissant, the metadata alone.
        out: Folder of the export.
        window: CT of unknown unit: centre and width of the HU that black to white stand for, e.g. 40 80.
        field_of_view: Width in mm of what an image shows, where the set does not know it.
        no_masks: Leave out masks and boxes of lesions.
        real: Also export scans of people, under the pseudonyms of their import.
    """
    from ..exporting.stage import export
    from ..record import read_record

    options = {"window": window, "field_of_view_mm": field_of_view, "masks": not no_masks, "real": real}
    export(source, out, to=to, **options)
    found = read_record(out)["results"]
    print(f"{out}: {found['images']} images in {found['series']} series")
