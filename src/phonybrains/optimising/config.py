"""Configuration of a training loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..config import Config
from ..networks.shapes import Count

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]


class LoopConfig(Config):
    """One training loop: AdamW with warm-up and a linear cool-down, averaged weights, validation now and then."""

    steps: Annotated[int, Field(ge=0)]
    batch_size: Count
    learning_rate: Rate
    warmup: Annotated[int, Field(ge=0)] = 100
    cooldown: Share = 0.3
    """Share of the steps at the end over which the learning rate falls to zero."""
    weight_decay: Share = 0.01
    clip: Positive = 1.0
    averages: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.999,)
    """Decay of each exponential moving average of the weights."""
    keep: Literal["best", "last"] = "best"
    """The average with the lowest validation loss of all, or the last one named, as it is at the end."""
    validate_every: Count = 500
    checkpoint_every: Count = 250
