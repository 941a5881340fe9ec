"""A study's application in the test's own process, and readers who read it by script."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from phonybrains.readerstudy.store import Store, open_store
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.app import make_app
from phonybrains.readerstudy.web.context import StudyContext

BASE = "http://testserver"
LOOP = asyncio.new_event_loop()


class Here(httpx2.BaseTransport):
    """The application in this thread, all on one event loop: Starlette's client starts a thread for each request."""

    def __init__(self, app: Any) -> None:
        self._app = httpx2.ASGITransport(app)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return LOOP.run_until_complete(self._ask(request))

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        whole = httpx2.ByteStream(request.read())
        asked = httpx2.Request(request.method, request.url, headers=request.headers, stream=whole)
        said = await self._app.handle_async_request(asked)
        return httpx2.Response(said.status_code, headers=said.headers, content=await said.aread())


class Browser(httpx2.Client):
    """A browser with cookies of its own, which follows no redirect."""

    def __init__(self, app: Any) -> None:
        super().__init__(transport=Here(app), base_url=BASE)

    def code(self, path: str, **options: Any) -> int:
        """The status of a page."""
        return self.get(path, **options).status_code

    def join(self, link: str) -> int:
        """Open an invitation and press its button: the status."""
        return self.post(link, data={"csrf": csrf_in(self.get(link).text)}).status_code

    def do(self, action: str, headers: dict[str, str] | None = None, **form: str) -> Any:
        """Send a form of the investigator's page, with the page's token unless another is given."""
        form = form if "csrf" in form else form | {"csrf": csrf_in(self.get("/investigator").text)}
        return self.post(f"/investigator/{action}", data=form, headers=headers)


@dataclass
class Served:
    """A study being served."""

    study: Study
    store: Store
    app: Any

    def browser(self) -> Browser:
        return Browser(self.app)

    def reader(self, name: str = "reader 1") -> Script:
        """Add a reader and redeem their invitation."""
        return self.join(self.store.add_reader(name))

    def join(self, token: str, browser: Browser | None = None) -> Script:
        """Redeem an invitation."""
        browser = browser or self.browser()
        assert browser.join(f"/join/{token}") == 303
        return Script(browser, token)

    def cookie(self, kind: str) -> str:
        """The name of the cookie of a `reader` or an `investigator` of this study."""
        return StudyContext(self.study, self.store).cookies.name(kind)

    def investigator(self) -> Browser:
        """A browser on the investigator's page."""
        browser = self.browser()
        assert browser.join(f"/investigator/{self.store.investigator_link()}") == 303
        return browser

    def events(self) -> list[str]:
        return [entry.event for entry in self.store.audit()]


@contextmanager
def served(study: Study, database: str | None = None) -> Iterator[Served]:
    with open_store(study, database) as store:
        yield Served(study, store, make_app(study, store))


def csrf_in(page: str) -> str:
    """The CSRF token of a page with a form or with the viewer."""
    found = re.search(r'name="csrf" value="(\w+)"|data-csrf="(\w+)"', page)
    assert found
    return found[1] or found[2]


def cells_of(page: Browser, name: str) -> list[list[str]]:
    """The rows of an export; who reads it line by line finds as many."""
    text = page.get(f"/investigator/{name}").content.decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(list(csv.reader(text.splitlines()))) == len(rows)
    return rows


class Script:
    """A reader who has redeemed their invitation."""

    def __init__(self, browser: Browser, token: str = "") -> None:
        self.browser, self.token = browser, token
        self.csrf = csrf_in(browser.get("/read").text)

    @property
    def headers(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.csrf, "Origin": BASE}

    def state(self) -> dict[str, Any]:
        response = self.browser.get("/api/state")
        assert response.status_code == 200, response.text
        return response.json()

    def current(self) -> str:
        return self.state()["current"]["id"]

    def image(self, shown: str):
        return self.browser.get(f"/api/presentations/{shown}/image")

    def draft(self, shown: str, **said: Any):
        return self.browser.put(f"/api/presentations/{shown}/draft", json=said, headers=self.headers)

    def answer(self, shown: str = "", call: str = "phony", **said: Any):
        """Answer a presentation, by default the current one."""
        path = f"/api/presentations/{shown or self.current()}/answer"
        return self.browser.post(path, json={"call": call, **said}, headers=self.headers)

    def finish(self):
        return self.browser.post("/api/finish", json={}, headers=self.headers)

    def read_all(self) -> list[dict[str, Any]]:
        """Answer everything; what the server said to each answer."""
        said, state = [], self.state()
        while state["current"] is not None:
            response = self.answer(state["current"]["id"], seconds=1.0)
            assert response.status_code == 200, response.text
            said.append(response.json())
            state = said[-1]["next_state"]
        return said
