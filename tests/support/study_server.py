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
from pathlib import Path
from typing import Any

CODE = (
    "import json, sys\n"
    "from pathlib import Path\n"
    "from phonybrains.errors import StudyError\n"
    "from phonybrains.readerstudy.web.serve import serve_study\n"
    "try:\n"
    "    serve_study(Path(sys.argv[1]), port=int(sys.argv[2]), **json.loads(sys.argv[3]))\n"
    "except StudyError as error:\n"
    "    sys.exit(f'{error}')\n"
    "slow = {'torch', 'diffusers', 'matplotlib', 'sklearn', 'typst'} & set(sys.modules)\n"
    "assert not slow, f'{slow} imported'\n"
)

NURSERY = """
import os, sys
from pathlib import Path
import phonybrains.readerstudy.design.order
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
        self._process.communicate(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(study: Path, port: int, new_links: bool = False, **options: Any) -> subprocess.Popen[str]:
    """Start `serve_study` with these options."""
    command = [sys.executable, "-c", CODE, str(study), str(port), json.dumps({"new_links": new_links, **options})]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def links(server: subprocess.Popen[str]) -> dict[str, str]:
    """Wait until it serves; the path of the link of each reader, and of `investigator`."""
    assert server.stdout
    found = {}
    for line in server.stdout:
        if match := re.search(r"(?:(\S.*): )?https?://[^/]+(\S*/(?:join|investigator)/\S+)", line):
            found[match[1] or "investigator"] = match[2]
        if line.startswith("Serving"):
            return found
    raise AssertionError(f"the server did not start: {server.stderr.read() if server.stderr else ''}")


def stop(server: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> str:
    """Stop it; what it wrote to standard error."""
    server.send_signal(how)
    _, errors = server.communicate(timeout=30)
    return errors


class Reader:
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
        deadline = time.monotonic() + 60
        while True:
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
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


class Reading(threading.Thread):
    """Readers one after another, each answering all images as fast as the server lets them, until told to stop."""

    def __init__(self, port: int, paths: list[str]) -> None:
        super().__init__(daemon=True)
        self.port, self.paths, self.acknowledged, self.enough = port, paths, dict[str, str](), threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for path in self.paths:
                self._read(Reader(self.port, path))
        except BaseException as error:
            self.failure = error

    def _read(self, reader: Reader) -> None:
        state = reader.state()
        while state["current"] is not None and not self.enough.is_set():
            shown, note = state["current"]["id"], os.urandom(8).hex()
            status, body = reader.answer(shown, description=note)
            assert status == 200, body
            self.acknowledged[shown] = note
            state = body["next_state"]
