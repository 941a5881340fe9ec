"""Configuration of `phonybrains predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..config import Config
from ..optimising.config import LoopConfig
from ..spreadsheet import plain_name


class Drawing(Config):
    """How answers are drawn: how many to each image, in how many steps of Heun's method, and which count as certain."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    draws: Annotated[int, Field(ge=2, le=10_000)] = 100
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Level of the t-test that tells certain answers from others."""


class PredictConfig(Drawing):
    """Which attribute is learnt, and how: first the base network f, then the diffusion around what it says."""

    attribute: Annotated[str, AfterValidator(plain_name)]
    features: Path | None = None
    """SqueezeNet weights (safetensors): f then sees their features; without them it sees images of 64×64."""
    base: LoopConfig = LoopConfig(steps=600, batch_size=64, learning_rate=2e-3, averages=(0.98,), validate_every=50)
    diffusion: LoopConfig = LoopConfig(steps=3000, batch_size=256, learning_rate=2e-3, averages=(0.99,))
    precision: Literal["fp32"] = "fp32"

    @property
    def loops(self) -> dict[str, LoopConfig]:
        return {"base": self.base, "diffusion": self.diffusion}
