"""Configuration of `phonybrains predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..config import Config
from ..networks.shapes import Count
from ..optimising.config import LoopConfig, Rate, Share
from ..spreadsheet import plain_name


class Drawing(Config):
    """How answers are drawn: how many to each image, in how many steps of Heun's method, and which count as certain."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    draws: Annotated[int, Field(ge=2, le=10_000)] = 100
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Level of the t-test that tells certain answers from others."""


class BaseLoop(LoopConfig):
    """The loop of the base network."""

    steps: Annotated[int, Field(ge=0)] = 600
    batch_size: Count = 64
    learning_rate: Rate = 2e-3
    averages: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.98,)
    validate_every: Count = 50


class DiffusionLoop(LoopConfig):
    """The loop of the diffusion."""

    steps: Annotated[int, Field(ge=0)] = 3000
    batch_size: Count = 256
    learning_rate: Rate = 2e-3
    averages: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.99,)
    validate_every: Count = 100


class PredictConfig(Drawing):
    """Which attribute is learnt, and how: first the base network f, then the diffusion around what it says."""

    attribute: Annotated[str, AfterValidator(plain_name)]
    features: Path | None = None
    """SqueezeNet weights (safetensors): f then sees their features; without them it sees images of 64×64."""
    base: BaseLoop = BaseLoop()
    diffusion: DiffusionLoop = DiffusionLoop()
    precision: Literal["fp32"] = "fp32"

    @property
    def loops(self) -> dict[str, LoopConfig]:
        return {"base": self.base, "diffusion": self.diffusion}
