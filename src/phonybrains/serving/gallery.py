"""What the routes work with: the model, its words, the queue of what is to be painted, and the answers kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ..model.latent_diffusion import LatentDiffusion
from .answer_cache import Kept, Shelf
from .batcher import Image, Painter
from .picture import Origin
from .refusal import Refusal
from .request import Body, Commission, commission, parse_body
from .vocabulary import Vocabulary

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for this answer any more."""


@dataclass
class Gallery:
    """One for each running server."""

    folder: Path
    model: LatentDiffusion
    origin: Origin
    created: int
    """When the model was made, in seconds since 1970."""
    painter: Painter
    token: str = ""
    shelf: Shelf = field(default_factory=Shelf)

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(self.model.conditions)

    @property
    def name(self) -> str:
        return self.origin.generator

    async def read(self, request: Request) -> Body:
        """The body of a request. Raises Refusal for one that is no JSON, or not what this server takes."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "Send the request as JSON, with the header Content-Type: application/json.")
        try:
            content = json.loads(await request.body(), object_pairs_hook=named_once)
            json.dumps(content, ensure_ascii=False).encode()  # half a character, as \ud800, could not be told back
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"The body is not valid JSON ({error}).", code="invalid_json") from None
        return parse_body(content)

    def commission(self, body: Body) -> Commission:
        """What a body asks of this model."""
        return commission(body, self.model, self.vocabulary, self.name)

    async def fill(self, request: Request, asked: Commission) -> tuple[str, Kept]:
        """Paint what is asked for, and keep it: its key, and the images."""
        images = await unless_gone(request, self.painter.paint(asked.orders, client=client_of(request)))
        pngs = await run_in_threadpool(self._frame, images, asked)
        key = self.shelf.put(asked, pngs)
        kept = self.shelf.get(key)
        assert kept is not None
        return key, kept

    def _frame(self, images: list[Image], asked: Commission) -> tuple[bytes, ...]:
        return tuple(self.origin.png(image, order) for image, order in zip(images, asked.orders, strict=True))

    def kept(self, key: str) -> Kept:
        """An answer that is still kept. Raises Refusal (404) where it is not."""
        kept = self.shelf.get(key)
        if kept is None:
            minutes = f"{self.shelf.seconds / 60:g} minutes"
            raise Refusal(
                404,
                f"This is no longer here, or never was: answers are kept for {minutes}. "
                "Ask again: the same request gives the same images.",
                code="expired",
            )
        return kept


def client_of(request: Request) -> str:
    """Whom a request is from: an IPv4 address, or the /64 that an IPv6 address lies in, as one client has all of it."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network(f"{host}/64", strict=False)) if address.version == 6 else host


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for some work as long as the client does. Raises ClientGone, and cancels the work, when it hangs up."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a name that it has twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return found
