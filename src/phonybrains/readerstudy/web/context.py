"""What the routes work with: the study, its store, its images in memory, and its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ...web.limits import peer_of
from ...web.pages import make_pages
from ..store import Store, access
from ..store import tables as t
from ..store.access import Visitor
from ..store.answering import Showing, standing
from ..store.clock import later
from ..store.errors import BusyError, DiskFullError, NoSessionError, UnknownError
from ..store.writer import Writing
from ..study import Study
from .address import Address
from .security import Buckets, Cookies
from .windows import windows_of

T = TypeVar("T")
HERE = Path(__file__).parent


class StudyContext:
    """One for each running server."""

    def __init__(self, study: Study, store: Store, *, https: bool = False, address: Address | None = None) -> None:
        self.study, self.store, self.address = study, store, address
        self.https = address.https if address else https
        self.root, self.public = (address.root, address.origin) if address else ("", None)
        self.cookies = Cookies(self._mark(), self.root, self.https)
        self.images = {case_id: study.image_bytes(case_id) for case_id in study.cases}
        self._windows = windows_of(study)
        self.strangers = Buckets(rate=0.5, burst=20, debt=150)  # wrong links and sessions, by address
        self.joins = Buckets(rate=1 / 60, burst=20)  # sessions begun, by link: each is a row that stays
        self.requests = Buckets(rate=100, burst=200)  # by session
        self._pages = make_pages(HERE)
        self._pages.globals["root"] = self.root

    def _mark(self) -> str:
        """Tells this study's cookies from those of another at the same host, a copy of it included."""
        made = self.store.read(lambda connection: connection.execute(select(t.study.c.created_at)).scalar_one())
        return access.digest(f"{self.study.hash} {made}")[:12]

    def link(self, request: Request, path: str) -> str:
        """A link to a page, as browsers reach it."""
        here = self.address or f"{'https' if self.https else 'http'}://{request.headers['host']}"
        return f"{here}{path}"

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
            self.strangers.take(peer_of(request.client.host) if request.client else "")
            raise

    async def visitor(
        self, request: Request, session: str, *, investigator: bool = False, used: bool = True
    ) -> Visitor:
        """Whose session this is; `used`: the person did something, so that the time without use begins anew."""
        now = self.store.clock.now()
        who = await self.guess(request, lambda c: access.visitor(c, session, now, investigator=investigator))
        if used and who.seen_at <= later(self.store.clock.now(), seconds=-access.SEEN_EVERY):
            with suppress(BusyError, DiskFullError):  # where that cannot be written, reading goes on
                await self.write(lambda writing: access.touch(writing, who.session_id))
        return who

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a template."""
        values = {"study_name": self.study.config.name, "nonce": request.state.nonce} | values
        return HTMLResponse(self._pages.get_template(name).render(values), status)

    def state(self, connection: Connection, who: Visitor) -> dict[str, Any]:
        """Where a reader is, as the viewer needs it; nothing in it tells what an image is."""
        now = standing(connection, who.reader_id)
        word = "finished" if who.finished else "paused" if who.paused else "reading"
        current, following = (now.current, now.next) if word == "reading" else (None, None)
        shown = {"current": current and self._current(current), "next": following and following.id}
        return {"state": word, "done": now.done, "total": now.total, **shown}

    def _current(self, showing: Showing) -> dict[str, Any]:
        return {
            "id": showing.id,
            "kind": "training" if showing.kind == "training" else "study",
            "presets": self._windows[self.study.cases[showing.case_id].modality],
            "draft": showing.draft and asdict(showing.draft),
        }
