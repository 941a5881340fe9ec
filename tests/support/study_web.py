"""A study's application in the test's own process, and readers who read it by script."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.testclient import TestClient

from phonybrains.readerstudy.store import Store, open_store
from phonybrains.readerstudy.study import Study
from phonybrains.readerstudy.web.app import make_app
from phonybrains.readerstudy.web.context import StudyContext

BASE = "http://testserver"


@dataclass
class Served:
    """A study being served."""

    study: Study
    store: Store
    app: Any

    def browser(self) -> TestClient:
        """A browser of its own, with its own cookies."""
        return TestClient(self.app, base_url=BASE, follow_redirects=False, raise_server_exceptions=True)

    def reader(self, name: str = "reader 1") -> Script:
        """Add a reader and redeem their invitation."""
        return Script.join(self.browser(), self.store.add_reader(name))

    def cookie(self, kind: str) -> str:
        """The name of the cookie of a `reader` or an `investigator` of this study."""
        return StudyContext(self.study, self.store).cookies.name(kind)

    def investigator(self) -> TestClient:
        """A browser on the investigator's page."""
        browser, path = self.browser(), f"/investigator/{self.store.investigator_link()}"
        assert browser.post(path, data={"csrf": csrf_in(browser.get(path).text)}).status_code == 303
        return browser


@contextmanager
def served(study: Study, database: str) -> Iterator[Served]:
    with open_store(study, database) as store:
        yield Served(study, store, make_app(study, store))


def csrf_in(page: str) -> str:
    """The CSRF token of a page with a form or with the viewer."""
    found = re.search(r'name="csrf" value="(\w+)"|data-csrf="(\w+)"', page)
    assert found
    return found[1] or found[2]


def cells_of(page: TestClient, name: str) -> list[list[str]]:
    """The rows of an export; who reads it line by line finds as many."""
    text = page.get(f"/investigator/{name}").content.decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(list(csv.reader(text.splitlines()))) == len(rows)
    return rows


class Script:
    """A reader who has redeemed their invitation."""

    def __init__(self, browser: TestClient) -> None:
        self.browser = browser
        self.csrf = csrf_in(browser.get("/read").text)

    @classmethod
    def join(cls, browser: TestClient, token: str) -> Script:
        page = browser.get(f"/join/{token}")
        assert page.status_code == 200, page.text
        assert browser.post(f"/join/{token}", data={"csrf": csrf_in(page.text)}).status_code == 303
        return cls(browser)

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

    def answer(self, shown: str, call: str = "phony", **said: Any):
        return self.browser.post(
            f"/api/presentations/{shown}/answer", json={"call": call, **said}, headers=self.headers
        )

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
