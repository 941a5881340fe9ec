"""What can be asked of an export: found out without the libraries of its formats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ..config import Config

FormatName = Literal["dicom", "nifti", "png", "bids", "croissant"]


def _has_width(window: tuple[float, float]) -> tuple[float, float]:
    if not window[1] > 0:
        raise ValueError(f"centre {window[0]:g} and width {window[1]:g}: the width is more than 0 HU")
    return window


class ExportConfig(Config):
    """What an image set becomes, and what to say of its images where the set does not say it."""

    to: FormatName
    window: Annotated[tuple[float, float], AfterValidator(_has_width)] | None = None
    """CT whose grey levels have no known unit: centre and width of the HU that black to white stand for."""
    field_of_view_mm: Annotated[float, Field(gt=0, le=2000)] | None = None
    """Width of what an image shows, where its row has no `field_of_view_mm`."""
    slice_thickness_mm: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Thickness of a slice, where its row has no `slice_thickness_mm`."""
    contrast: Literal["T1w", "T2w", "PDw", "T2starw", "FLAIR"] | None = None
    """BIDS: what MR images are called there, which has no name for an unknown contrast; T1w where nothing is said."""
    masks: bool = True
    """Whether masks, and else boxes of lesions, are exported too."""
    signed_by: str | None = None
    """SHA-256 of the certificate that synthetic pictures are signed with."""
    real: bool = False
    """Whether scans of people, and edits of them, may be exported, the scans under the pseudonyms of their import."""

    @model_validator(mode="after")
    def _only_pictures_are_signed(self) -> ExportConfig:
        if self.signed_by and self.to not in ("png", "croissant"):
            raise ValueError(f"C2PA signs PNG files: export to png, not {self.to}, or leave the certificate out")
        return self
