"""What options of several commands take, each kind with its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Whole = Annotated[int, Parameter(validator=Number(gte=1))]
Least = Annotated[int, Parameter(validator=Number(gte=0))]
Seed = Least
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
"""0 is any that is free."""
Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]
Amount = Annotated[float, Parameter(validator=Number(gte=0, lte=1e9))]
Finite = Annotated[float, Parameter(validator=Number(gte=-1e9, lte=1e9))]
"""Bounds that no nan is in, and no infinity."""
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]
Folders = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]
Flag = Annotated[bool, Parameter(negative="")]
