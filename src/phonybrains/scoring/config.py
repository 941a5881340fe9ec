"""What can be asked of scoring: found out without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..config import Config
from ..networks.shapes import Count


class ScoreConfig(Config):
    """steps: of the way from data to noise, two evaluations each; probes: of the trace, each a derivative more."""

    steps: Count = 16
    probes: Annotated[int, Field(ge=1, le=1024)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
