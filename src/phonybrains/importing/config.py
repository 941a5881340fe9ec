"""Configuration of `phonybrains import`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..config import Config


def _has_width(window: tuple[float, float] | None) -> tuple[float, float] | None:
    if window is not None and not window[1] > 0:
        raise ValueError(f"centre {window[0]:g} and width {window[1]:g}: the width is more than 0 HU")
    return window


Window = Annotated[
    tuple[float, float] | None,
    BeforeValidator(lambda value: None if value == "none" else value),
    AfterValidator(_has_width),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
Value = TypeVar("Value")


class Source(Config):
    """Licence and attribution of one source folder; they go into the record, and from there into the model card."""

    licence: str = ""
    attribution: str = ""
    url: str = ""
    masks: Path | None = None
    """Folder of its masks, each of the name of its image; it goes into no record."""


class ImportConfig(Config):
    """How sources become an image set. CT values are HU; MR values are scaled between percentiles of the volume."""

    size: Annotated[int, Field(ge=16, le=4096)] = 256
    bits: Literal[8, 16] = 8
    modality: Literal["", "MR", "CT"] = ""
    """Modality of files that do not say theirs."""
    window: Window = (40.0, 80.0)
    """CT window: centre and width in HU. None, in TOML "none", keeps the HU as they are (give bits = 16)."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: these percentiles of a volume become black and white."""
    plane: Literal["native", "axial", "coronal", "sagittal"] = "native"
    """Volumes: the plane to slice in; native is the one with the finest pixels."""
    every: Annotated[int, Field(ge=1)] = 1
    """Volumes: take every n-th slice."""
    empty_below: Fraction = 0.02
    """Volumes: a slice with a smaller share of tissue is dropped."""
    frame: Annotated[int, Field(ge=1)] = 1
    """Volumes with several frames (4-D): which one to take, counted from 1."""
    masks: Path | None = None
    """Folder of the masks of the one source; several have theirs in `sources`."""
    mask_label: int | None = None
    """The label that is inside; None: all but 0."""
    outline: str = ""
    """What the masks outline, e.g. "tumour"; "" keeps what the record of an image set says."""
    attributes: tuple[str, ...] | None = None
    """Columns of a source's metadata.csv to keep; None keeps all."""
    split: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test, by patient where patients are known."""
    seed: int = 0
    run_length: Annotated[int, Field(ge=1)] = 40
    """Where no patient is known, runs of this many neighbouring images stay in one split …"""
    run_guard: Annotated[int, Field(ge=0)] = 5
    """… and this many at each end of a held-out run are put in no split."""
    max_pixels: int = 100_000_000
    """A larger image is refused before it is decoded."""
    keep_text: bool = False
    """Keep images that have text burned into their pixels, or say so; they are listed all the same."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """By base name of the source folder."""
    key_file: Path | None = None
    """Key of the patient pseudonyms; default: pseudonym.key in the user's configuration folder, made when missing."""
    synthetic: bool = False
    """All images were generated: they go into no split, belong to nobody, and colour becomes luminance."""
    generator: str = ""
    """What generated them."""

    @model_validator(mode="after")
    def _says_what_generated(self) -> Self:
        if self.synthetic and not self.generator:
            raise ValueError("synthetic images need the name of what made them: give --generator NAME")
        if self.generator and not self.synthetic:
            raise ValueError("a generator makes synthetic images: give --synthetic too")
        return self

    def kept(self, attributes: Mapping[str, Value]) -> dict[str, Value]:
        """Those of the attributes of a slice that the settings keep."""
        return {name: value for name, value in attributes.items() if self.attributes is None or name in self.attributes}

    def settings(self) -> dict[str, Any]:
        """What determines the images, for the record; what an import of scans does not have is not in it."""
        left_out = {"key_file"} if self.synthetic else {"key_file", "synthetic", "generator"}
        left_out |= {"frame"} if self.frame == 1 else set()
        left_out |= set() if self.keep_text else {"keep_text"}
        left_out |= {"masks"} | {name for name in ("mask_label", "outline") if getattr(self, name) in (None, "")}
        return self.model_dump(mode="json", exclude=left_out)
