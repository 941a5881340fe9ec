"""Properties that hold for every seed: so smooth in what is drawn that thirty draws tell as much as a hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis.strategies import SearchStrategy


def given(*drawn: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """hypothesis.given with thirty examples."""
    return lambda test: hypothesis.settings(max_examples=30)(hypothesis.given(*drawn)(test))
