"""A model served by `serve_model` in a thread of the test, asked by OpenAI's own client."""

from __future__ import annotations

import base64
import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from phonybrains.serving.serve import serve_model
from tests.support.web_server import PATIENCE, in_thread

ADDRESS = re.compile(r"protocol:\s+(http://\S+)/v1 ")


@dataclass
class ServedModel:
    """A running server."""

    base: str
    said: list[str]

    def client(self, key: str = "none", **settings: Any) -> Any:
        """OpenAI's client, which does not try again what failed."""
        from openai import OpenAI

        return OpenAI(base_url=f"{self.base}/v1", api_key=key, **({"max_retries": 0} | settings))

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.base + path, timeout=PATIENCE) as response:
            return response.read()

    def ask(
        self, body: bytes | dict[str, Any], path: str = "/v1/images/generations", **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers of an answer to a POST; in the names of headers, _ stands for -."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.base + path, data, own), timeout=PATIENCE) as said:
                return said.status, json.load(said), dict(said.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def waiting(self) -> int:
        """How many images wait there."""
        return json.loads(self.get("/health"))["waiting"]


def address_in(said: list[str]) -> str:
    """Where a server that said this is found."""
    found = ADDRESS.search("\n".join(said))
    assert found, said
    return found[1]


@contextmanager
def serving(model: Path | str, **options: Any) -> Iterator[ServedModel]:
    """Serve a model on a free port until the end of the block."""
    with in_thread(serve_model, model, **options) as said:
        yield ServedModel(address_in(said), said)


def pngs(answer: Any) -> list[bytes]:
    return [base64.b64decode(item.b64_json) for item in answer.data]


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "L"
        return np.asarray(image)


def stacked(answer: Any) -> np.ndarray:
    """The images of an answer of OpenAI's client, (N, H, W)."""
    return np.stack([pixels(png) for png in pngs(answer)])


def texts_of(png: bytes) -> dict[str, Any]:
    """The texts in a PNG; the facts of this package are read from JSON."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.load()
        texts: dict[str, Any] = dict(image.text)  # type: ignore[attr-defined]
    return texts | {"phonybrains": json.loads(texts["phonybrains"])}
