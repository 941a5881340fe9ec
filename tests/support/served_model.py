"""A model served by `phonybrains serve` in a process of its own, asked by OpenAI's own client."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ADDRESS = re.compile(r"protocol:\s+(http://\S+)/v1 ")


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    base: str
    said: list[str]

    def client(self, key: str = "none", **settings: Any) -> Any:
        """OpenAI's client, which does not try again what failed."""
        from openai import OpenAI

        return OpenAI(base_url=f"{self.base}/v1", api_key=key, **({"max_retries": 0} | settings))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit status and what was written to standard error."""
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def command(model: Path | str, *options: str) -> list[str]:
    return [sys.executable, "-m", "phonybrains", "serve", str(model), *options]


def start(model: Path | str, *options: str) -> Served:
    """Start a server on a free port and wait until it says that it serves."""
    process = subprocess.Popen(
        command(model, "--port", "0", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Serving"):
            address = ADDRESS.search("".join(said))
            assert address
            return Served(process, address[1], said)
    raise AssertionError(f"the server did not start: {process.stderr.read() if process.stderr else ''}")


@contextmanager
def serving(model: Path | str, *options: str) -> Iterator[Served]:
    """Serve a model until the end of the block."""
    served = start(model, *options)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.stop()


def pngs(answer: Any) -> list[bytes]:
    return [base64.b64decode(item.b64_json) for item in answer.data]


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "L"
        return np.asarray(image)


def ask(
    served: Served,
    body: bytes | dict[str, Any],
    path: str = "/v1/images/generations",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers of an answer to a POST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(served.base + path, data, {"Content-Type": "application/json"} | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def waiting(served: Served) -> int:
    """How many images wait there."""
    with urllib.request.urlopen(f"{served.base}/health", timeout=60) as response:
        return json.load(response)["waiting"]
