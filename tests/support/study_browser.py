"""A browser to read a study in: for the tests of whole flows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.needs import CHROMIUM
from tests.support.web_server import PATIENCE


@contextmanager
def chromium(*options: str) -> Iterator[Any]:
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", *options] if os.geteuid() == 0 else list(options)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def wait_until(page: Any, condition: str | Callable[[], bool]) -> None:
    """Wait until an expression is true on a page, or a condition holds, while the page goes on.

    Unlike Playwright's own, under a policy that forbids eval too.
    """
    deadline = time.monotonic() + PATIENCE
    while not (page.evaluate(condition) if isinstance(condition, str) else condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"never true: {condition}")
        page.wait_for_timeout(15)
