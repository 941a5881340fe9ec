"""What the routes work with: the study, its store, its images in memory, and its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..store import NoSessionError, Store, UnknownError, access
from ..store.access import Visitor
from ..store.answering import Showing, standing
from ..store.writer import Writing
from ..study import Study
from .security import Buckets
from .windows import windows_of

T = TypeVar("T")
HERE = Path(__file__).parent


class Desk:
    """One for each running server."""

    def __init__(self, study: Study, store: Store, *, https: bool) -> None:
        self.study, self.store, self.https = study, store, https
        self.images = {case_id: study.image_bytes(case_id) for case_id in study.cases}
        self._windows = windows_of(study)
        self.strangers = Buckets(rate=0.5, burst=20)  # wrong links and sessions, by address
        self.requests = Buckets(rate=100, burst=200)  # by session
        self._pages = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query beside the event loop."""
        return await run_in_threadpool(self.store.read, query)

    async def write(self, job: Callable[[Writing], T]) -> T:
        """Run a change; it is on the disk when this returns."""
        assert self.store.writer is not None
        return await asyncio.wrap_future(self.store.writer.submit(job))

    async def guess(self, request: Request, query: Callable[[Connection], T]) -> T:
        """`read` for what hangs on a secret: who is wrong too often has to wait; who is right never has."""
        try:
            return await self.read(query)
        except (UnknownError, NoSessionError):
            self.strangers.take(request.client.host if request.client else "")
            raise

    async def visitor(self, request: Request, session: str, *, investigator: bool = False) -> Visitor:
        """Whose session this is."""
        now = self.store.clock.now()
        return await self.guess(request, lambda c: access.visitor(c, session, now, investigator=investigator))

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a template."""
        values = {"study_name": self.study.config.name, "nonce": request.state.nonce} | values
        return HTMLResponse(self._pages.get_template(name).render(values), status)

    def state(self, connection: Connection, who: Visitor) -> dict[str, Any]:
        """Where a reader is, as the viewer needs it; nothing in it tells what an image is."""
        assert who.reader_id is not None
        now = standing(connection, who.reader_id)
        word = "finished" if who.finished else "paused" if who.paused else "reading"
        state: dict[str, Any] = {"state": word, "done": now.done, "total": now.total, "current": None, "next": None}
        if word == "reading" and now.current is not None:
            state["current"] = self._current(now.current)
            state["next"] = now.next.id if now.next else None
        return state

    def _current(self, showing: Showing) -> dict[str, Any]:
        draft = None
        if showing.draft is not None:
            names = "call", "confidence", "description", "marks", "seconds", "revision"
            draft = {name: getattr(showing.draft, name) for name in names}
        return {
            "id": showing.id,
            "kind": "training" if showing.kind == "training" else "study",
            "presets": self._windows[self.study.cases[showing.case_id].modality],
            "draft": draft,
        }
