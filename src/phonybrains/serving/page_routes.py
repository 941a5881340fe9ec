"""The page to play with a model, and what only it asks for: an answer as image set or DICOM, and films."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter
from PIL import Image as Picture
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..model.latent_diffusion import LatentDiffusion
from ..model.sampling import FEW, GAN
from ..networks.conditions import Category
from ..reporting.sheets import film_strip
from ..web.pages import make_pages
from .batch import Image, Order
from .context import ModelContext
from .image_set import dicom_of, zip_image_set
from .prompt import in_words
from .request import MOST_IMAGES

WEB = Path(__file__).parent / "web"
MOST_FRAMES = 9


def page_routes(context: ModelContext) -> APIRouter:
    """The page, and its own requests."""
    router, pages = APIRouter(), make_pages(WEB)

    @router.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(pages.get_template("play.html").render(form_of(context)))

    @router.get("/playground/answers/{key}.zip")
    async def image_set(key: str) -> Response:
        kept = context.kept(key)
        content = await run_in_threadpool(zip_image_set, kept, context.model, context.folder)
        name = f"{context.name}-seed-{kept.commission.seed}.zip"
        return Response(content, media_type="application/zip", headers=_attachment(name))

    @router.get("/playground/answers/{key}/{index}.dcm")
    async def dicom(key: str, index: int) -> Response:
        kept = context.kept(key, index)
        content = await run_in_threadpool(dicom_of, kept, index, context.model, context.folder)
        name = f"{context.name}-seed-{kept.commission.seed}-{index}.dcm"
        return Response(content, media_type="application/dicom", headers=_attachment(name))

    @router.post("/playground/answers/{key}/{index}/film")
    async def film(key: str, index: int, request: Request) -> Response:
        order = context.kept(key, index).commission.orders[index]
        frames = await context.make(request, [order], min(MOST_FRAMES, (order.sampling.steps or 1) + 1))
        strip = await run_in_threadpool(draw_film, frames, order)
        return Response(context.origin.png(strip, order), media_type="image/png")

    return router


def form_of(context: ModelContext) -> dict[str, Any]:
    """What the page shows of a model: its attributes as menus and sliders, and the bounds of all else."""
    model, menus, sliders = context.model, [], []
    for attribute in model.conditions.attributes:
        named = {"name": attribute.name, "title": attribute.name.replace("_", " ").capitalize()}
        if isinstance(attribute, Category):
            menus.append(named | {"labels": attribute.offered})
        else:
            low, high = attribute.offered
            sliders.append(named | {"low": low, "high": high, "step": _step(low, high)})
    return {
        "name": context.name,
        "sha256": context.origin.model_sha256,
        "menus": menus,
        "sliders": sliders,
        "steps": model.steps,
        "most_steps": 1 if isinstance(model, LatentDiffusion) and model.chain.name == GAN else max(50, model.steps),
        "most_images": MOST_IMAGES,
        "few": FEW if model.few_step else 0,
        "locked": bool(context.token),
    }


def draw_film(frames: list[Image], order: Order) -> Image:
    """The way from noise to an image as one picture, frames from left to right."""
    last, steps = len(frames) - 1, order.sampling.steps or 1
    numbers = [round(steps * i / last) for i in range(last + 1)]
    labels = ["noise", *(f"step {number} of {steps}" for number in numbers[1:])]
    title = f"{in_words(order.wanted)}: seed {order.seed}, image {order.index}; synthetic"
    with tempfile.TemporaryDirectory() as folder:
        path = film_strip({title: list(zip(labels, frames, strict=True))}, Path(folder) / "film.png")
        with Picture.open(path) as strip:
            return np.asarray(strip)


def _step(low: float, high: float) -> float:
    """Whole numbers where there are many of them, else a hundredth of the range or less."""
    return 1 if high - low >= 10 else 0.01 if high - low > 0.1 else 0.001


def _attachment(name: str) -> dict[str, str]:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return {"Content-Disposition": f'attachment; filename="{plain}"'}
