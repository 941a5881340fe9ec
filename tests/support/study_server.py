"""A study's server in a process of its own, and readers who talk to it over HTTP as the viewer does."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.web_server import PATIENCE

PROGRAM = """
import json, sys
from pathlib import Path
from phonybrains.errors import PhonyBrainsError
from phonybrains.readerstudy.web import serve
{before}
try:
    serve.serve_study(Path(sys.argv[1]), port=int(sys.argv[2]), **json.loads(sys.argv[3]))
except PhonyBrainsError as error:
    sys.exit(f'{{error}}')
slow = {{'torch', 'diffusers', 'matplotlib', 'sklearn', 'typst'}} & set(sys.modules)
assert not slow, f'{{slow}} imported'
"""
NURSERY = """
import os, sys
from pathlib import Path
from phonybrains.readerstudy.web.serve import serve_study
for line in sys.stdin:
    child = os.fork()
    if not child:
        serve_study(Path(sys.argv[1]), port=int(sys.argv[2]), show=lambda line: None)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


class Nursery:
    """A process that has imported everything and forks one server after another: fifty starts are quick."""

    def __init__(self, study: Path, port: int) -> None:
        command = [sys.executable, "-c", NURSERY, str(study), str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self) -> int:
        """Start a server once the one before is dead; its process number."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("start\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class StudyProcess:
    """A study on a port of this machine, in a process that can be stopped, killed and started again.

    before: Python to run in the process first, for tests that plant something.
    """

    study: Path
    options: dict[str, Any] = field(default_factory=dict)
    before: str = ""
    port: int = field(default_factory=free_port)
    links: dict[str, str] = field(default_factory=dict)
    """The path of the newest link of each reader, and of `investigator`."""

    def start(self) -> StudyProcess:
        """Start the server; returns when it answers."""
        program = PROGRAM.format(before=self.before)
        command = [sys.executable, "-c", program, str(self.study), str(self.port), json.dumps(self.options)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        for line in self.process.stdout:
            if match := re.search(r"(?:(\S.*): )?https?://[^/]+(\S*/(?:join|investigator)/\S+)", line):
                self.links[match[1] or "investigator"] = match[2]
            if line.startswith("Serving"):
                return self
        raise AssertionError(f"the server did not start: {self.process.communicate()[1]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> str:
        """Stop it; what it wrote to standard error."""
        self.process.send_signal(how)
        return self.process.communicate(timeout=PATIENCE)[1]

    def url(self, name: str) -> str:
        """A link, to be opened in a browser."""
        return f"http://127.0.0.1:{self.port}{self.links[name]}"

    def reader(self, name: str = "reader 1") -> HttpReader:
        return HttpReader(self.port, self.links[name])


@contextmanager
def serving(study: Path, before: str = "", **options: Any) -> Iterator[StudyProcess]:
    """Serve a study until the end of the block, at which it has printed no error."""
    server = StudyProcess(study, options, before).start()
    try:
        yield server
    finally:
        errors = server.stop()
    assert errors == ""


class HttpReader:
    """One reader's browser; a request that finds no server is sent again until one answers."""

    def __init__(self, port: int, link: str) -> None:
        self.port, self.cookie, self.csrf = port, "", ""
        self._connection: http.client.HTTPConnection | None = None
        csrf = re.search(r'name="csrf" value="(\w+)"', self.ask("GET", link)[1])
        assert csrf
        status, _ = self.ask("POST", link, f"csrf={csrf[1]}", "application/x-www-form-urlencoded")
        assert status == 303
        token = re.search(r'data-csrf="(\w+)"', self.ask("GET", "/read")[1])
        assert token
        self.csrf = token[1]

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, str]:
        """Status and body of a response."""
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf, "Content-Type": kind}
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
                self._connection.request(method, path, text, headers)
                response = self._connection.getresponse()
                content = response.read().decode("latin-1")
                if cookie := response.getheader("set-cookie"):
                    self.cookie = cookie.split(";")[0]
                return response.status, content
            except (OSError, http.client.HTTPException):
                self._connection = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def state(self) -> dict[str, Any]:
        status, body = self.ask("GET", "/api/state")
        assert status == 200, body
        return json.loads(body)

    def answer(self, shown: str, **said: Any) -> tuple[int, dict[str, Any]]:
        status, body = self.ask("POST", f"/api/presentations/{shown}/answer", {"call": "phony"} | said)
        return status, json.loads(body)


class ReadingThread(threading.Thread):
    """Readers one after another, each answering all images as fast as the server lets them, until told to stop."""

    def __init__(self, port: int, paths: list[str]) -> None:
        super().__init__(daemon=True)
        self.port, self.paths, self.acknowledged, self.enough = port, paths, dict[str, str](), threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for path in self.paths:
                self._read(HttpReader(self.port, path))
        except BaseException as error:
            self.failure = error

    def _read(self, reader: HttpReader) -> None:
        state = reader.state()
        while state["current"] is not None and not self.enough.is_set():
            shown, note = state["current"]["id"], os.urandom(8).hex()
            status, body = reader.answer(shown, description=note)
            assert status == 200, body
            self.acknowledged[shown] = note
            state = body["next_state"]
