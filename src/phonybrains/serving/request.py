"""The body of a request for images, in OpenAI's dialect and with our extensions, and what it asks of the model."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError
from ..model.backing import doubts
from ..model.compiled import Compiled
from ..model.latent_diffusion import LatentDiffusion
from ..model.sampling import Sampling
from ..networks.conditions import Value
from .batch import Order
from .prompt import understand
from .refusal import Refusal, invalid, no_model
from .vocabulary import Vocabulary

MOST_IMAGES = 32
MOST_STEPS = 1000
STRICT = ConfigDict(strict=True, frozen=True, extra="forbid")
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Body = TypeVar("Body", bound=BaseModel)


class ImageRequest(BaseModel):
    """OpenAI's parameters, then ours: seed, steps, guidance, sampler and where."""

    model_config = STRICT
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
    seed: Seed | None = None
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    sampler: str | None = None
    where: dict[str, str | float | int] | None = None


IGNORED = ("quality", "style", "moderation", "user", "output_compression")
"""Taken, because clients send them, and without effect."""


@dataclass(frozen=True)
class Commission:
    """A request that can be met: its images' orders, and what there is to tell about how it was understood."""

    request: ImageRequest
    seed: int
    where: Mapping[str, Value]
    orders: tuple[Order, ...]
    unknown_words: list[str]
    notes: list[str]


def parse_request(content: object) -> ImageRequest:
    """Check the JSON of a request. Raises Refusal (400) that names the parameter."""
    request = parsed(ImageRequest, content)
    if not request.prompt.strip() and request.where is None:
        missing = "Missing required parameter: 'prompt'. Say what the images show."
        raise invalid("prompt", missing, "missing_required_parameter")
    return request


def parsed(kind: type[Body], content: object) -> Body:
    """The JSON of a body as what it is to be. Raises Refusal (400) that names the parameter."""
    if not isinstance(content, dict):
        first = next(iter(kind.model_fields))
        raise Refusal(400, f'The body is not a JSON object. Send {{"{first}": …}}.')
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise _explained(error, kind, content) from None


def commission(
    request: ImageRequest, model: LatentDiffusion | Compiled, vocabulary: Vocabulary, name: str
) -> Commission:
    """What a request asks of the model. Raises Refusal for what it does not know or cannot do."""
    if request.model not in (None, name):
        raise no_model(request.model, name)
    own = f"{model.size}x{model.size}"
    if request.size not in (None, "auto", own):
        raise invalid("size", f"size '{request.size}': {name} paints {own}. Leave size out, or give {own}.")
    understood, unknown = understand(request.prompt, vocabulary)
    where = _merge(understood, request, model)
    seed = drawn_seed(request.seed)
    guidance = 1.0 if request.guidance is None else request.guidance
    try:
        sampling = model.settle(Sampling(steps=request.steps, guidance=guidance, sampler=request.sampler or ""))
        wanted = model.ask(range(request.n or 1), where, seed)
    except ConfigError as error:
        param = next((key for key in ("sampler", "guidance", "steps") if str(error).startswith(key)), None)
        raise Refusal(400, str(error), param=param, code="invalid_value") from None
    orders = tuple(Order(seed, index, row, sampling) for index, row in enumerate(wanted))
    notes = doubts(vocabulary.conditions, where)
    if ignored := [name for name in IGNORED if getattr(request, name) is not None]:
        notes.append(f"Without effect here: {', '.join(ignored)}.")
    return Commission(request, seed, where, orders, unknown, notes)


def drawn_seed(given: int | None) -> int:
    """The seed that is asked for, or one drawn anew."""
    return secrets.randbelow(2**31) if given is None else given


def _merge(
    understood: Mapping[str, Value], request: ImageRequest, model: LatentDiffusion | Compiled
) -> dict[str, Value]:
    """What the prompt and `where` ask for together."""
    said = checked("prompt", understood, model)
    exact = checked("where", request.where or {}, model)
    for name in said.keys() & exact.keys():
        if said[name] != exact[name]:
            contradiction = f"The prompt asks for {name} {said[name]}, 'where' for {exact[name]}."
            raise invalid("where", f"{contradiction} Leave one of them out.", "contradictory_prompt")
    asked = said | exact
    return {a.name: asked[a.name] for a in model.conditions.attributes if a.name in asked}


def checked(param: str, where: Mapping[str, Any], model: LatentDiffusion | Compiled) -> dict[str, Value]:
    """What is asked for, as the model stores it. Raises Refusal (400) for what it does not know."""
    try:
        return model.conditions.check(where)
    except ConfigError as error:
        raise invalid(param, str(error)) from None


def _explained(error: ValidationError, kind: type[BaseModel], content: Mapping[str, Any]) -> Refusal:
    """The first thing that is wrong, as a sentence."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return invalid(name, f"Missing required parameter: '{name}'.", "missing_required_parameter")
    if first["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields)
        return invalid(name, f"Unknown parameter: '{name}'. Known: {known}.", "unknown_parameter")
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "int", "float", "Literal"))
    return invalid(name, f"{place} {_shown(content.get(name))}: {first['msg']}.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
