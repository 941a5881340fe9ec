"""OpenAI's protocol: POST /v1/images/generations, GET /v1/models, and the images that answers point to."""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..networks.conditions import Category
from .answer_cache import KeptAnswer
from .context import ModelContext
from .prompt import in_words
from .refusal import no_model
from .request import Commission, commission


def api_routes(context: ModelContext) -> APIRouter:
    """The routes that an OpenAI client knows."""
    router = APIRouter()

    @router.post("/v1/images/generations")
    async def generate(request: Request) -> JSONResponse:
        asked = commission(await context.read(request), context.model, context.vocabulary, context.name)
        key, kept = await context.fill(request, asked)
        return JSONResponse(answer(context, asked, kept, key, str(request.base_url).rstrip("/")))

    @router.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [describe(context)]}

    @router.get("/v1/models/{name}")
    def model(name: str) -> dict[str, Any]:
        if name != context.name:
            raise no_model(name, context.name)
        return describe(context)

    @router.get("/images/{key}/{index}.png")
    def image(key: str, index: int) -> Response:
        png, headers = context.kept(key, index).pngs[index], {"Cache-Control": "private, max-age=3600"}
        return Response(png, media_type="image/png", headers=headers)

    @router.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "stopping" if context.batcher.stopped else "ok", "waiting": context.batcher.waiting}

    return router


def answer(context: ModelContext, asked: Commission, kept: KeptAnswer, key: str, base: str) -> dict[str, Any]:
    """What OpenAI's clients read, and beside it what was understood and how the images were made."""

    def item(index: int, png: bytes) -> dict[str, Any]:
        wanted = asked.orders[index].wanted
        if asked.request.response_format == "url":
            image = {"url": f"{base}/images/{key}/{index}.png"}
        else:
            image = {"b64_json": base64.b64encode(png).decode()}
        scale = context.model.units.get(str(wanted.get("modality")), (1.0, 0.0, "a.u."))
        told = {"revised_prompt": in_words(wanted), "index": index, "conditions": dict(wanted)}
        return image | told | dict(zip(("slope", "intercept", "unit"), scale, strict=True))

    size, how = context.model.size, asked.orders[0].settings
    return {
        "created": int(time.time()),
        "data": [item(index, png) for index, png in enumerate(kept.pngs)],
        "model": context.name,
        "synthetic": True,
        "id": key,
        "understood": in_words(asked.where),
        "unknown_words": asked.unknown_words,
        "notes": asked.notes,
        "seed": asked.seed,
        **{name: how[name] for name in ("steps", "guidance", "sampler")},
        "size": f"{size}x{size}",
        "output_format": "png",
    }


def describe(context: ModelContext) -> dict[str, Any]:
    """A model as OpenAI lists it, and beside it what it can be asked for."""
    attributes = [
        {"name": a.name, "labels": a.offered}
        if isinstance(a, Category)
        else {"name": a.name, "low": a.offered[0], "high": a.offered[1]}
        for a in context.model.conditions.attributes
    ]
    return {
        "id": context.name,
        "object": "model",
        "created": context.created,
        "owned_by": "phonybrains",
        "size": f"{context.model.size}x{context.model.size}",
        "steps": context.model.steps,
        "attributes": attributes,
        "sha256": context.origin.model_sha256,
    }
