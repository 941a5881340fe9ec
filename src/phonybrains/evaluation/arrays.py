"""What the modules of the evaluation call an array of any kind; shapes stand in their docstrings."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
