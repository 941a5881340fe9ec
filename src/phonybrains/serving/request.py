"""The body of a request for images, in OpenAI's dialect and with our extensions, and what it asks of the model."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError
from ..model.backing import doubts
from ..model.latent_diffusion import LatentDiffusion
from ..model.sampling import Sampling
from ..networks.conditions import Value
from .batcher import Order
from .prompt import Understood, understand
from .refusal import Refusal
from .vocabulary import Vocabulary

MOST_IMAGES = 32
MOST_STEPS = 1000

Strict = ConfigDict(strict=True, frozen=True, extra="forbid")


class Body(BaseModel):
    """OpenAI's parameters, then ours: seed, steps, guidance, sampler and where."""

    model_config = Strict
    prompt: Annotated[str, Field(max_length=4000)] = ""
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_IMAGES)] | None = None
    size: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png"] | None = None
    stream: Literal[False] | None = None
    background: Literal["auto", "opaque"] | None = None
    quality: str | None = None
    style: str | None = None
    moderation: str | None = None
    user: str | None = None
    output_compression: int | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    sampler: str | None = None
    where: dict[str, str | float | int] | None = None


IGNORED = ("quality", "style", "moderation", "user", "output_compression")
"""Taken, because clients send them, and without effect."""


@dataclass(frozen=True)
class Commission:
    """A request that can be met: its images' orders, and what there is to tell about how it was understood."""

    body: Body
    seed: int
    sampling: Sampling
    where: Mapping[str, Value]
    orders: tuple[Order, ...]
    unknown_words: list[str]
    notes: list[str]


def parse_body(content: object) -> Body:
    """Check the JSON of a request. Raises Refusal (400) that names the parameter."""
    if not isinstance(content, dict):
        raise Refusal(400, 'The body is not a JSON object. Send {"prompt": …}.')
    try:
        body = Body.model_validate(content)
    except ValidationError as error:
        raise _explained(error, content) from None
    if not body.prompt.strip() and body.where is None:
        raise Refusal(
            400,
            "Missing required parameter: 'prompt'. Say what the images show.",
            param="prompt",
            code="missing_required_parameter",
        )
    return body


def commission(body: Body, model: LatentDiffusion, vocabulary: Vocabulary, name: str) -> Commission:
    """What a request asks of the model. Raises Refusal for what it does not know or cannot do."""
    if body.model not in (None, name):
        raise Refusal(
            404,
            f"The model '{body.model}' does not exist here. This server has {name}.",
            param="model",
            code="model_not_found",
        )
    own = f"{model.size}x{model.size}"
    if body.size not in (None, "auto", own):
        raise Refusal(
            400,
            f"size '{body.size}': {name} paints {own}. Leave size out, or give {own}.",
            param="size",
            code="invalid_value",
        )
    understood = understand(body.prompt, vocabulary)
    where = _merge(understood, body, model)
    seed = secrets.randbelow(2**31) if body.seed is None else body.seed
    try:
        sampling = model.settle(
            Sampling(
                steps=body.steps, guidance=1.0 if body.guidance is None else body.guidance, sampler=body.sampler or ""
            )
        )
        wanted = model.ask(range(body.n or 1), where, seed)
    except ConfigError as error:
        param = next((key for key in ("sampler", "guidance", "steps") if str(error).startswith(key)), None)
        raise Refusal(400, str(error), param=param, code="invalid_value") from None
    orders = tuple(Order(seed, i, row, sampling) for i, row in enumerate(wanted))
    return Commission(body, seed, sampling, where, orders, understood.unknown, _notes(body, where, vocabulary))


def _merge(understood: Understood, body: Body, model: LatentDiffusion) -> dict[str, Value]:
    """What the prompt and `where` ask for together."""
    try:
        said = model.conditions.check(understood.where)
    except ConfigError as error:
        raise Refusal(400, str(error), param="prompt", code="invalid_value") from None
    try:
        exact = model.conditions.check(body.where or {})
    except ConfigError as error:
        raise Refusal(400, str(error), param="where", code="invalid_value") from None
    for name in said.keys() & exact.keys():
        if said[name] != exact[name]:
            raise Refusal(
                400,
                f"The prompt asks for {name} {said[name]}, 'where' for {exact[name]}. Leave one of them out.",
                param="where",
                code="contradictory_prompt",
            )
    asked = said | exact
    return {a.name: asked[a.name] for a in model.conditions.attributes if a.name in asked}


def _notes(body: Body, where: Mapping[str, Value], vocabulary: Vocabulary) -> list[str]:
    notes = doubts(vocabulary.conditions, where)
    if ignored := [name for name in IGNORED if getattr(body, name) is not None]:
        notes.append(f"Without effect here: {', '.join(ignored)}.")
    return notes


def _explained(error: ValidationError, content: Mapping[str, Any]) -> Refusal:
    """The first thing that is wrong, as a sentence."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return Refusal(
            400,
            f"Unknown parameter: '{name}'. Known: {', '.join(Body.model_fields)}.",
            param=name,
            code="unknown_parameter",
        )
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "int", "float", "Literal"))
    return Refusal(400, f"{place} {_shown(content.get(name))}: {first['msg']}.", param=name, code="invalid_value")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
