"""The command that carries images out into other formats: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import ConfigError
from ..wording import count_of
from .options import Amount, Flag
from .working import working


@working("quiet", "overwrite")
def export(
    source: Annotated[Path, Parameter(name="SET")],
    /,
    *,
    to: Literal["dicom", "nifti", "png", "bids", "croissant"] | None = None,
    out: Path | None = None,
    window: Annotated[tuple[float, float] | None, Parameter(negative="")] = None,
    field_of_view: Amount | None = None,
    slice_thickness: Amount | None = None,
    contrast: Literal["T1w", "T2w", "PDw", "T2starw", "FLAIR"] | None = None,
    no_masks: Flag = False,
    real: Flag = False,
    send: str | None = None,
    c2pa: Annotated[tuple[Path, Path] | None, Parameter(negative="")] = None,
) -> None:
    """Write an image set as DICOM, NIfTI, PNG, BIDS or with Croissant metadata, marked as what it is.

    Args:
        source: An image set; or, with --send alone, a folder of DICOM files.
        to: The format: dicom, nifti, png, bids, or croissant, which is png by another name.
        out: Folder of the export.
        window: CT of unknown unit: centre and width of the HU that black to white stand for, e.g. 40 80.
        field_of_view: Width in mm of what an image shows, where the set does not know it.
        slice_thickness: Thickness in mm of a slice, where the set does not know it.
        contrast: BIDS: what MR images are called, which has no name for an unknown contrast (T1w).
        no_masks: Leave out masks and boxes of lesions.
        real: Also export scans of people, under the pseudonyms of their import, and edits of such scans.
        send: Address of a PACS that the DICOM files are sent to, as pacs://host:port/AET (docs/pacs.md).
        c2pa: PNG: certificate and key, in PEM, that synthetic pictures are signed with (docs/verify.md).
    """
    if send is not None and to not in (None, "dicom"):
        raise ConfigError(f"--send takes DICOM files: give --to dicom, not --to {to}.")
    if (to is None) != (out is None) or (to is None and send is None):
        raise ConfigError("--to and --out are needed, both; or --send alone, for a folder of DICOM files.")
    if send is not None:
        from ..exporting.send import recipient

        recipient(send)
    if to is not None and out is not None:
        from ..exporting.stage import export
        from ..record import read_record

        export(
            source,
            out,
            to=to,
            window=window,
            field_of_view_mm=field_of_view,
            slice_thickness_mm=slice_thickness,
            contrast=contrast,
            masks=not no_masks,
            real=real,
            c2pa=c2pa,
        )
        found = read_record(out)["results"]
        print(f"{out}: {count_of(found['images'], 'image')} in {found['series']} series")
    if send is not None:
        from ..exporting import send as sending

        print(f"{send}: {sending.send(out or source, send)}")
