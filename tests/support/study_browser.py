"""A reader study served by its own process, and a browser to read it in: for the tests of whole flows."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120
"""Seconds until a wait gives up: far more than a slow machine needs, since a passing test waits for none of it."""
SERVE = """
{before}
from pathlib import Path
from phonybrains.readerstudy.web.serve import serve_study
serve_study(Path({study!r}), port={port})
"""
LINK = re.compile(r"http://\S+/(join|investigator)/[\w-]+")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Served:
    """A study on a port of this machine, in a process that can be killed and started again."""

    study: Path
    port: int
    before: str = ""
    """Python to run in the process first: for tests that plant something."""
    invitations: list[str] = field(default_factory=list)
    """One link for each reader, in the order of the configuration."""
    investigator: str = ""
    process: subprocess.Popen[str] | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; returns when it answers. The links it prints the first time are kept."""
        code = SERVE.format(before=self.before, study=str(self.study), port=self.port)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._output: list[str] = []
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError("the server did not start:\n" + "".join(self._output))
            time.sleep(0.05)
        for found in LINK.finditer("".join(self._output)):
            if found[1] == "investigator":
                self.investigator = found[0]
            elif found[0] not in self.invitations:
                self.invitations.append(found[0])

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._output.extend(process.stdout)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base}/static/style.css", timeout=2) as response:
                return response.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def serving(study: Path, before: str = "") -> Iterator[Served]:
    """Serve a study until the end of the block."""
    served = Served(study, free_port(), before)
    try:
        served.start()
        yield served
    finally:
        served.kill()


@contextmanager
def chromium(*options: str) -> Iterator[Any]:
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", *options] if os.geteuid() == 0 else list(options)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def wait_until(page: Any, expression: str, seconds: float = PATIENCE) -> None:
    """Wait until an expression is true on a page; unlike Playwright's own, under a policy that forbids eval too."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(f"never true: {expression}")
        page.wait_for_timeout(15)
