"""What can be asked of an edit, and what is wrong with what cannot: found out without torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..config import Config
from ..networks.conditions import Value
from ..networks.shapes import Count

Draws = Annotated[int, Field(ge=1, le=64)]
Where = dict[str, Value]


class Edit(Config):
    """What all edits take.

    n: answers for each image; mean: their mean in place of them; guidance: how strongly conditions are pushed.
    simulate: take the images for the truth, and make of them what is to be edited, so that it can be compared.
    """

    name: ClassVar[str] = ""
    invented: ClassVar[str] = "This detail was not measured: a model drew it."

    seed: Annotated[int, Field(ge=0)] = 0
    n: Draws = 1
    mean: bool = False
    guidance: Annotated[float, Field(ge=0)] = 1.0
    simulate: bool = False


class Upscale(Edit):
    """Super-resolution; start: the share of the way to pure noise that the walk begins at."""

    name = "upscale"
    n: Draws = 4
    factor: Literal[2, 4] = 2
    steps: Count = 4
    start: Annotated[float, Field(gt=0, le=1)] = 0.25


class Denoise(Edit):
    """Noise removal; sigma: of the noise in grey levels of 8 bits, found in each image where it is not said."""

    name = "denoise"
    n: Draws = 4
    sigma: Annotated[float, Field(gt=0, le=128)] | None = None
    law: Literal["gaussian", "rician"] | None = None
    steps: Count = 4


class AddNoise(Edit):
    """Noise adaptation: the noise of another set's images is added. No model draws anything."""

    name = "noise"
    invented = "This noise was not measured: it was drawn, like that of other images."


class Inpaint(Edit):
    """A hole is filled: the image's mask, the box of its lesion, or a rectangle x, y, width, height in pixels.

    where: what the image is to show afterwards, where that is another than before. start: the share of the way to pure
    noise that the walk begins at. By itself, .3 and 8 steps; where something is asked for, 1 and 16.
    """

    name = "inpaint"
    n: Draws = 4
    area: Literal["mask", "lesion", "hole"]
    hole: tuple[int, int, int, int] | None = None
    where: Where = {}
    steps: Count = 8
    start: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="before")
    @classmethod
    def _from_afar(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("where"):
            return {"steps": 16, "start": 1.0} | values
        return values


class Translate(Edit):
    """The same head under other conditions, such as modality=CT.

    strength: the share of the way to pure noise that is gone; below 1 more of the head stays, and more of its look.
    """

    name = "translate"
    to: Where
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    steps: Count = 12


class Vary(Edit):
    """Images near another: strength 0 is the image itself, 1 any image of its conditions.

    by: "noise" on the image itself; or other noise alone, under its "embedding", which leaves no strength to choose.
    """

    name = "vary"
    n: Draws = 4
    by: Literal["noise", "embedding"] = "noise"
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Count = 8

    @model_validator(mode="before")
    @classmethod
    def _from_noise(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("by") != "embedding":
            return values
        if "strength" in values:
            raise ValueError("strength: by embedding an image begins as noise alone. Leave strength out")
        return {"steps": 16} | values | {"strength": 1.0}


class Explain(Edit):
    """Where an image would be another if it showed something else."""

    name = "explain"
    n: Draws = 4
    mean: bool = True
    change: Where
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    steps: Count = 8
    invented = "This image was not measured: it shows what a model expects instead."


class AugmentConfig(Config):
    """What augmentation makes, and how.

    balance: attributes whose values are filled up to the most frequent one of their modality; factor: how many times as
    many images a value has afterwards, at most where it is balanced; steps and guidance that are None: the model's own.
    """

    balance: tuple[str, ...] = ()
    factor: Annotated[float, Field(ge=1, le=1000)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count | None = None
    guidance: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> AugmentConfig:
        if not self.balance and self.factor is None:
            raise ValueError("what is to be filled up? Say --balance ATTRIBUTE, --factor NUMBER, or both")
        if len(set(self.balance)) < len(self.balance):
            raise ValueError("an attribute is balanced once")
        return self
