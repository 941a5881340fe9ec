"""What options of several commands take, each kind with its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

MODALITIES = {"mri": "MR", "mr": "MR", "ct": "CT"}
"""How people write them, in small letters; names and values of all else are found by what there is."""


def _modality(_: object, tokens: Sequence[Token]) -> str:
    word = tokens[0].value
    if word.casefold() not in MODALITIES:
        raise ValueError(f'"{word}". Choose from: "MR", "CT".')
    return MODALITIES[word.casefold()]


Modality = Annotated[Literal["MR", "CT"], Parameter(converter=_modality)]
Whole = Annotated[int, Parameter(validator=Number(gte=1))]
Least = Annotated[int, Parameter(validator=Number(gte=0))]
Seed = Least
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
"""0 is any that is free."""
Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]
Amount = Annotated[float, Parameter(validator=Number(gte=0, lte=1e9))]
Finite = Annotated[float, Parameter(validator=Number(gte=-1e9, lte=1e9))]
"""Bounds that no nan is in, and no infinity."""
Words = Annotated[list[str] | None, Parameter(consume_multiple=1, negative="")]
Folders = Annotated[list[Path], Parameter(consume_multiple=1, negative="")]
Flag = Annotated[bool, Parameter(negative="")]
