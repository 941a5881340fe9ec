"""The body of a request for an edit of one picture, and what it asks of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ..diffusion.process import Predict
from ..editing.config import Inpaint, Upscale, Vary
from ..editing.inpaint import inpainted
from ..editing.prior import Images, Prior
from ..editing.upscale import upscaled
from ..editing.vary import varied
from ..model.latent_diffusion import LatentDiffusion, image_rng
from ..model.sampling import GAN, Sampling
from .batch import Edited, Image, Order
from .given_picture import GivenPicture
from .refusal import invalid
from .request import STRICT, Seed, checked, drawn_seed, parsed

MOST_DRAWS = 8
FITTED = 5.0
"""A step that is fitted to what was measured takes as long as so many of generation: it decodes, and encodes twice."""
ONLY_OF = {"factor": "upscale", "mask": "inpaint", "strength": "vary"}

Question = Callable[[Images, Prior], Images]


class PictureRequest(BaseModel):
    """A PNG or JPEG as base64."""

    model_config = STRICT
    image: str


class EditRequest(PictureRequest):
    """A picture, what it shows (its modality at least), and what is to be made of it.

    mask: a PNG as base64 of the model's size, white where the picture is to be filled.
    """

    edit: Literal["upscale", "inpaint", "vary"]
    where: dict[str, str | float | int]
    factor: Literal[2, 4] = 2
    mask: str | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    n: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = 4
    seed: Seed | None = None


@dataclass(frozen=True)
class EditCommission:
    """An edit that can be made: the picture as it is edited, an order for each draw, and what is said of them."""

    edit: str
    seed: int
    before: Image
    orders: tuple[Order, ...]
    note: str


@dataclass(frozen=True)
class PausingPrior(Prior):
    """A prior that calls `pause` before each step."""

    pause: Callable[[], None] = lambda: None

    def predict(self, wanted: Any = None, embedded: torch.Tensor | None = None) -> Predict:
        predict = super().predict(wanted, embedded)

        def after_a_pause(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            self.pause()
            return predict(z, t)

        return after_a_pause


def edit_commission(content: object, model: LatentDiffusion) -> EditCommission:
    """What the JSON of a request asks for. Raises Refusal (400 or 413) that names the parameter."""
    if model.chain.name == GAN:
        raise invalid("edit", "This model is a GAN, which knows nothing between noise and image: it edits no picture.")
    request = parsed(EditRequest, content)
    for name in request.model_fields_set & ONLY_OF.keys():
        if request.edit != ONLY_OF[name]:
            raise invalid(name, f"{name} is for {ONLY_OF[name]}, not for {request.edit}. Leave it out.")
    where = checked("where", request.where, model)
    if "modality" not in where:
        raise invalid("where", 'Say the modality of the picture: "where": {"modality": …}.', "missing_modality")
    given = GivenPicture.read(request.image, "image")
    how, question, side, own, weight = _asked(request, model.size)
    before, seed = given.square(side), drawn_seed(request.seed)
    wanted = {attribute.name: where.get(attribute.name) for attribute in model.conditions.attributes}
    sampling = Sampling(steps=how.steps, guidance=how.guidance, precision="fp32")
    shared = {"steps": how.steps, "guidance": how.guidance, "note": how.invented}
    facts = {"edit": how.name, "edit_of_sha256": given.sha256, **own, **shared}

    def order(draw: int) -> Order:
        @torch.inference_mode()
        def paint(pause: Callable[[], None]) -> Image:
            prior = PausingPrior(model, [wanted], [image_rng(seed, 0, draw)], how.guidance, pause)
            return question(before[None], prior)[0]

        return Order(seed, draw, wanted, sampling, Edited(paint, weight, facts))

    return EditCommission(how.name, seed, before, tuple(map(order, range(request.n))), how.invented)


def _asked(request: EditRequest, size: int) -> tuple[Upscale | Inpaint | Vary, Question, int, dict[str, Any], float]:
    """The edit's settings, what it asks of a prior, a side of the picture, what is told of it, a step's work."""
    if request.edit == "upscale":
        up = Upscale(factor=request.factor)
        return up, lambda x, prior: upscaled(x, prior, up), size // up.factor, {"factor": up.factor}, FITTED
    if request.edit == "vary":
        vary = Vary(strength=request.strength)
        return vary, lambda x, prior: varied(x, prior, vary), size, {"strength": vary.strength}, 1.0
    fill, hole = Inpaint(area="mask"), _hole(request.mask, size)
    own = {"area_pixels": int(hole.sum())}
    return fill, lambda x, prior: inpainted(x, prior, fill, hole[None]), size, own, FITTED


def _hole(mask: str | None, size: int) -> NDArray[np.bool_]:
    """(size, size), True inside. Raises Refusal for a mask that is missing, of another size, empty or all."""
    if mask is None:
        raise invalid("mask", "inpaint fills what a mask is white in. Paint one.", "missing_required_parameter")
    values = GivenPicture.read(mask, "mask", mask=True).values
    if values.shape != (size, size):
        height, width = values.shape
        raise invalid("mask", f"mask is {width}×{height}; this model takes {size}×{size}.")
    hole = values > values.max(initial=1) / 2
    if not hole.any():
        raise invalid("mask", "mask is empty: nothing is to be filled. Paint what is.")
    if hole.all():
        raise invalid("mask", "mask covers the whole picture, so nothing is left to go by. Leave some of it.")
    return hole
