"""The page to edit one picture, and what it asks for; the picture is kept nowhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from ..editing.stage import quarters
from ..marks import plain_png
from ..web.pages import make_pages
from .batch import Image
from .context import ModelContext
from .edit_request import MOST_DRAWS, EditCommission, PictureRequest, edit_commission
from .given_picture import MOST_BYTES, GivenPicture
from .guard import EDITS
from .page_routes import WEB, form_of
from .request import parsed


def edit_routes(context: ModelContext) -> APIRouter:
    """The page, the picture as the model is shown it, and the edit of it."""
    router, pages = APIRouter(), make_pages(WEB)

    @router.get("/edit")
    def page() -> HTMLResponse:
        bounds = {"size": context.model.size, "most_bytes": MOST_BYTES, "most_draws": MOST_DRAWS}
        return HTMLResponse(pages.get_template("edit.html").render(form_of(context) | bounds))

    @router.post(f"{EDITS}picture")
    async def picture(request: Request) -> Response:
        def shown(content: object) -> bytes:
            given = GivenPicture.read(parsed(PictureRequest, content).image, "image")
            return plain_png(given.square(context.model.size))

        return Response(await context.read_as(request, shown), media_type="image/png")

    @router.post(f"{EDITS}edit")
    async def edit(request: Request) -> JSONResponse:
        asked = await context.read_as(request, lambda content: edit_commission(content, context.editor()))
        images = await context.make(request, asked.orders)
        return JSONResponse(await run_in_threadpool(answer, context, asked, images))

    return router


def answer(context: ModelContext, asked: EditCommission, images: Sequence[Image]) -> dict[str, Any]:
    """The picture as it was edited, each draw, and their deviation in quarters of a grey level, as base64."""
    png, first = context.origin.png, asked.orders[0]
    spread = None
    if len(images) > 1:
        of_draws = quarters(np.stack(images).astype(np.float32).std(axis=0, ddof=1))
        assert first.edited
        spread_of = replace(first.edited, facts={**first.edited.facts, "spread_over": len(images)})
        spread = _text(png(of_draws, replace(first, edited=spread_of)))
    drawn = zip(asked.orders, images, strict=True)
    return {
        "model": context.name,
        "edit": asked.edit,
        "synthetic": True,
        "note": asked.note,
        "seed": asked.seed,
        "conditions": dict(first.wanted),
        **first.settings,
        "before": _text(plain_png(asked.before)),
        "spread": spread,
        "data": [{"b64_json": _text(png(image, order)), "index": order.index} for order, image in drawn],
    }


def _text(png: bytes) -> str:
    return base64.b64encode(png).decode()
