"""What the routes work with: the model, its words, the queue of what is to be made, and the answers kept."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ..model.compiled import Compiled
from ..model.latent_diffusion import LatentDiffusion
from ..model.workers import this_device
from ..web.limits import peer_of
from ..wording import count_of
from .answer_cache import AnswerCache, KeptAnswer
from .batch import Image, Order
from .batcher import Batcher
from .picture import Origin
from .refusal import Refusal
from .request import Commission, ImageRequest, parse_request
from .vocabulary import Vocabulary

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for this answer any more."""


@dataclass
class ModelContext:
    """One for each running server."""

    folder: Path
    model: LatentDiffusion | Compiled
    origin: Origin
    created: int
    """When the model was made, in seconds since 1970."""
    batcher: Batcher
    token: str = ""
    answers: AnswerCache = field(default_factory=AnswerCache)
    _editor: LatentDiffusion | None = None
    _opening: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(self.model.conditions)

    @property
    def name(self) -> str:
        return self.origin.generator

    async def read(self, request: Request) -> ImageRequest:
        """The body of a request. Raises Refusal for one that is no JSON, or not what this server takes."""
        return await self.read_as(request, parse_request)

    async def read_as(self, request: Request, parse: Callable[[object], T]) -> T:
        """The JSON of a body, parsed in a thread, as it may be long. Raises Refusal for what cannot be."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "Send the request as JSON, with the header Content-Type: application/json.")
        body = await request.body()
        return await run_in_threadpool(lambda: parse(_json_of(body)))

    async def fill(self, request: Request, asked: Commission) -> tuple[str, KeptAnswer]:
        """Make what is asked for, and keep it: its key, and the images."""
        images = await self.make(request, asked.orders)
        pngs = await run_in_threadpool(lambda: tuple(map(self.origin.png, images, asked.orders)))
        return self.answers.put(asked, pngs)

    async def make(self, request: Request, orders: Sequence[Order], frames: int = 0) -> list[Image]:
        """The images of some orders, or a film of one. Raises ClientGone, and ends the work, when the client hangs up.

        A client is an IPv4 address, or the /64 that an IPv6 address lies in, as one client has all of it.
        """
        client = peer_of(request.client.host) if request.client else ""
        return await unless_gone(request, self.batcher.generate(orders, frames, client))

    def editor(self) -> LatentDiffusion:
        """The model that edits ask: a compiled one cannot encode a picture, so torch's is loaded for the first."""
        if isinstance(self.model, LatentDiffusion):
            return self.model
        with self._opening:
            if self._editor is None:
                self._editor = LatentDiffusion.load(self.folder, this_device())
            return self._editor

    def kept(self, key: str, index: int = 0) -> KeptAnswer:
        """An answer that is still kept. Raises Refusal (404) where it is not, or has no such image."""
        kept = self.answers.get(key)
        if kept is None:
            kept_for = f"answers are kept for {self.answers.seconds / 60:g} minutes"
            again = "Ask again: the same request gives the same images."
            raise Refusal(404, f"This is no longer here, or never was: {kept_for}. {again}", code="expired")
        if not 0 <= index < len(kept.pngs):
            raise Refusal(404, f"This answer has {count_of(len(kept.pngs), 'image')}, from 0 on.")
        return kept


def _json_of(body: bytes) -> object:
    try:
        content = json.loads(body, object_pairs_hook=named_once)
        json.dumps(content, ensure_ascii=False).encode()  # half a character, as \ud800, could not be told back
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not valid JSON ({error}).", code="invalid_json") from None
    return content


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
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twice} is given twice")
    return found
