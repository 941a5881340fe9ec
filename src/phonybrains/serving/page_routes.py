"""The page to play with a model, and what only it asks for: an answer as an image set, and the film of an image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image as Picture
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..model.sampling import FEW
from ..networks.conditions import Category
from ..reporting.sheets import film_strip
from .batcher import Image, Order
from .gallery import Gallery, client_of, unless_gone
from .image_set import zip_image_set
from .prompt import in_words
from .refusal import Refusal
from .request import MOST_IMAGES

WEB = Path(__file__).parent / "web"
MOST_FRAMES = 9


def page_routes(gallery: Gallery) -> APIRouter:
    """The page, and its own requests."""
    router = APIRouter()
    pages = Environment(
        loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )

    @router.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(pages.get_template("play.html").render(form_of(gallery)))

    @router.get("/playground/answers/{key}.zip")
    async def image_set(key: str) -> Response:
        kept = gallery.kept(key)
        content = await run_in_threadpool(zip_image_set, kept, gallery.model, gallery.folder)
        name = f"{gallery.name}-seed-{kept.commission.seed}.zip"
        return Response(content, media_type="application/zip", headers=_attachment(name))

    @router.post("/playground/answers/{key}/{index}/film")
    async def film(key: str, index: int, request: Request) -> Response:
        orders = gallery.kept(key).commission.orders
        if not 0 <= index < len(orders):
            raise Refusal(404, f"This answer has {len(orders)} images, from 0 on.")
        order = orders[index]
        count = min(MOST_FRAMES, (order.sampling.steps or 1) + 1)
        frames = await unless_gone(request, gallery.painter.paint([order], count, client_of(request)))
        strip = await run_in_threadpool(draw_film, frames, order)
        return Response(gallery.origin.png(strip, order), media_type="image/png")

    return router


def form_of(gallery: Gallery) -> dict[str, Any]:
    """What the page shows of a model: its attributes as menus and sliders, and the bounds of all else."""
    menus = [
        {"name": a.name, "title": _title(a.name), "labels": a.offered}
        for a in gallery.model.conditions.attributes
        if isinstance(a, Category)
    ]
    sliders = [
        {"name": a.name, "title": _title(a.name), "low": a.offered[0], "high": a.offered[1], "step": _step(*a.offered)}
        for a in gallery.model.conditions.attributes
        if not isinstance(a, Category)
    ]
    return {
        "name": gallery.name,
        "menus": menus,
        "sliders": sliders,
        "steps": gallery.model.steps,
        "most_steps": max(50, gallery.model.steps),
        "most_images": MOST_IMAGES,
        "few": FEW if gallery.model.few_step else 0,
        "locked": bool(gallery.token),
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


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _step(low: float, high: float) -> float:
    """Whole numbers where there are many of them, else a hundredth of the range or less."""
    if high - low >= 10:
        return 1
    return 0.01 if high - low > 0.1 else 0.001


def _attachment(name: str) -> dict[str, str]:
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name)
    return {"Content-Disposition": f'attachment; filename="{plain}"'}
