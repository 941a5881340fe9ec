"""OpenAI's protocol: POST /v1/images/generations, GET /v1/models, and the images that answers point to."""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..networks.conditions import Category
from .answer_cache import Kept
from .gallery import Gallery
from .prompt import in_words
from .refusal import Refusal
from .request import Commission


def api_routes(gallery: Gallery) -> APIRouter:
    """The routes that an OpenAI client knows."""
    router = APIRouter()

    @router.post("/v1/images/generations")
    async def generate(request: Request) -> JSONResponse:
        asked = gallery.commission(await gallery.read(request))
        key, kept = await gallery.fill(request, asked)
        base = str(request.base_url).rstrip("/")
        return JSONResponse(answer(gallery, asked, kept, key, base))

    @router.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [describe(gallery)]}

    @router.get("/v1/models/{name}")
    def model(name: str) -> dict[str, Any]:
        if name != gallery.name:
            raise Refusal(
                404,
                f"The model '{name}' does not exist here. This server has {gallery.name}.",
                param="model",
                code="model_not_found",
            )
        return describe(gallery)

    @router.get("/images/{key}/{index}.png")
    def image(key: str, index: int) -> Response:
        kept = gallery.kept(key)
        if not 0 <= index < len(kept.pngs):
            raise Refusal(404, f"This answer has {len(kept.pngs)} images, from 0 on.")
        return Response(kept.pngs[index], media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @router.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "stopping" if gallery.painter.stopped else "ok", "waiting": gallery.painter.waiting}

    return router


def answer(gallery: Gallery, asked: Commission, kept: Kept, key: str, base: str) -> dict[str, Any]:
    """What OpenAI's clients read, and beside it what was understood and how the images were made."""

    def item(index: int, png: bytes) -> dict[str, Any]:
        order = asked.orders[index]
        image = (
            {"url": f"{base}/images/{key}/{index}.png"}
            if asked.body.response_format == "url"
            else {"b64_json": base64.b64encode(png).decode()}
        )
        return image | {"revised_prompt": in_words(order.wanted), "index": index, "conditions": dict(order.wanted)}

    how = asked.sampling
    return {
        "created": int(time.time()),
        "data": [item(index, png) for index, png in enumerate(kept.pngs)],
        "model": gallery.name,
        "synthetic": True,
        "id": key,
        "understood": in_words(asked.where),
        "unknown_words": asked.unknown_words,
        "notes": asked.notes,
        "seed": asked.seed,
        "steps": how.steps,
        "guidance": how.guidance,
        "sampler": how.sampler,
        "size": f"{gallery.model.size}x{gallery.model.size}",
        "output_format": "png",
    }


def describe(gallery: Gallery) -> dict[str, Any]:
    """A model as OpenAI lists it, and beside it what it can be asked for."""
    attributes = [
        {"name": a.name, "labels": a.offered}
        if isinstance(a, Category)
        else {"name": a.name, "low": a.offered[0], "high": a.offered[1]}
        for a in gallery.model.conditions.attributes
    ]
    return {
        "id": gallery.name,
        "object": "model",
        "created": gallery.created,
        "owned_by": "phonybrains",
        "size": f"{gallery.model.size}x{gallery.model.size}",
        "steps": gallery.model.steps,
        "attributes": attributes,
        "sha256": gallery.origin.model_sha256,
    }
