"""A text-to-image service on this machine that goes wrong at random, and charges for whatever it may have charged."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

KEY = "sk-proj-Zq7vLx2TnW8rKd5mYb3c"
PRICE, INPUT, OUTPUT = 0.25, 5.0, 30.0
ROUNDING = 1e-9


@dataclass
class Service:
    """What was ordered, sent and charged; each order is known by its seed, which is the number of the image."""

    rng: random.Random
    address: str = ""
    budget: float = 0.0
    charged: float = 0.0
    orders: int = 0
    hangs: set[int] = field(default_factory=set)
    """Runs that get no answer to anything."""
    behaves: bool = False
    faults: Counter[str] = field(default_factory=Counter)
    sent: dict[tuple[int, int], str] = field(default_factory=dict)
    """By seed and run: the hash of the image that was sent whole, or "" where what was sent whole holds none."""
    tried: set[tuple[int, int]] = field(default_factory=set)
    """Seed and run of each order that was charged."""
    lost: set[tuple[int, int]] = field(default_factory=set)
    """Seed and run of each order that was under way when its run was killed: nobody was there to read the answer."""
    downloads: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """By path: the image, and how many more times it is refused."""
    broken: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, order: tuple[int, int], cost: float) -> None:
        """Take money, and note whether that breaks a promise."""
        self.charged += cost
        if self.charged > self.budget + ROUNDING:
            self.broken.append(f"charged {self.charged} of {self.budget}")
        if order in self.tried:
            self.broken.append(f"{order} was ordered twice in a run, though the first order may be paid for")
        if any(seed == order[0] and (seed, run) not in self.lost for seed, run in self.sent):
            self.broken.append(f"{order} was ordered again, though an answer was sent whole")
        self.tried.add(order)


def picture(rng: random.Random) -> bytes:
    """A PNG like no other."""
    buffer = io.BytesIO()
    Image.frombytes("L", (16, 16), rng.randbytes(256)).save(buffer, "PNG")
    return buffer.getvalue()


NONSENSE: list[Any] = [None, {}, "many", [1]]
NONSENSE += [{"output_tokens": 0, "input_tokens": 0}, {"output_tokens": -5000, "input_tokens": 9}]
NONSENSE += [{"output_tokens": count} for count in (1, 1e999, True)]
NONSENSE += [{"output_tokens": 1000, "input_tokens": -(10**9)}]
"""Usage that no price can be told from."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    order: tuple[int, int]
    cost: float
    fault: str

    @property
    def service(self) -> Service:
        return self.server.service  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the client was killed
            super().handle()

    def do_POST(self) -> None:
        self.close_connection = True
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        service, self.order = self.service, (body["seed"], int(self.headers["X-Run"]))
        with service.lock:
            service.orders += 1
            self.fault = "image" if service.behaves else service.rng.choices(list(FAULTS), WEIGHTS)[0]
            service.faults[self.fault] += 1
            self.cost = 0.0 if self.fault in FREE else PRICE
            usage = self._usage() if self.fault in IMAGES else None
            if self.fault not in FREE:
                service.charge(self.order, self.cost)
            image = picture(service.rng)
        if self.order[1] in service.hangs:
            time.sleep(0.6)
            return
        FAULTS[self.fault][1](self, image, usage)

    def _usage(self) -> Any:
        """Tokens: of what is charged, or nonsense beside the price of an image."""
        rng = self.service.rng
        made, read = rng.randint(272, 8000), rng.randint(8, 200)
        if rng.random() < 0.4:
            self.cost = (made * OUTPUT + read * INPUT) / 1e6
            return {"output_tokens": made, "input_tokens": read}
        return rng.choice(NONSENSE)

    def do_GET(self) -> None:
        self.close_connection = True
        service = self.service
        if "Authorization" in self.headers:
            service.broken.append("the key went to where images are fetched")
        with service.lock:
            image, refusals = service.downloads.get(self.path, (b"", 0))
            if refusals and not service.behaves:
                service.downloads[self.path] = (image, refusals - 1)
                image = b""
        self.send(200 if image else 403, image, kind="image/png")

    def send(self, status: int, content: bytes, *, kind: str = "application/json", missing: int = 0, **headers: str):
        """Send an answer, or say that it is longer by some bytes that never come."""
        self.send_response(status)
        more = {"Content-Type": kind, "Content-Length": str(len(content) + missing), "Connection": "close"}
        for name, value in (more | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def whole(self, image: bytes, body: Any, missing: int = 0) -> None:
        """Send all of a body, and note that it was."""
        self.send(200, body if isinstance(body, bytes) else json.dumps(body).encode(), missing=missing)
        with self.service.lock:
            self.service.sent[self.order] = hashlib.sha256(image).hexdigest() if image else ""

    def error(self, status: int, code: str, **more: Any) -> None:
        self.send(status, json.dumps({"error": {"code": code, "message": code, **more}}).encode(), Retry_After="0.01")


Fault = Callable[[Handler, bytes, Any], None]


def b64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def answers(item: Callable[[bytes], dict[str, Any]], missing: int = 0) -> Fault:
    """Send an image in some way, whole."""

    def act(handler: Handler, image: bytes, usage: Any) -> None:
        handler.whole(image, {"data": [item(image)], "usage": usage}, missing)

    return act


def holds_none(body: Any) -> Fault:
    """Send, with success, something whole that holds no image."""
    return lambda handler, image, usage: handler.whole(b"", body)


def by_address(refusals: int) -> Fault:
    def act(handler: Handler, image: bytes, usage: Any) -> None:
        path = f"/{handler.order[0]}-{handler.order[1]}-{handler.service.orders}.png"
        handler.service.downloads[path] = (image, refusals)
        handler.whole(image, {"data": [{"url": handler.service.address + path}], "usage": usage})

    return act


def says(status: int, code: str, **more: Any) -> Fault:
    return lambda handler, image, usage: handler.error(status, code, **more)


def cut(share: float) -> Fault:
    """Send a part of an answer, then hang up."""

    def act(handler: Handler, image: bytes, usage: Any) -> None:
        content = json.dumps({"data": [{"b64_json": b64(image)}]}).encode()
        kept = int(len(content) * share)
        if share:
            handler.send(200, content[:kept], missing=len(content) - kept)

    return act


def refuses(code: str, **more: Any) -> Fault:
    """Refuse: for nothing, as OpenAI does, or for money, as Azure does."""

    def act(handler: Handler, image: bytes, usage: Any) -> None:
        handler.error(400, code, **more)
        with handler.service.lock:
            handler.service.sent[handler.order] = ""

    return act


FAULTS: dict[str, tuple[float, Fault]] = {
    "image": (40, answers(lambda image: {"b64_json": b64(image)})),
    "data address": (4, answers(lambda image: {"b64_json": "data:image/png;base64," + b64(image)})),
    "data address as url": (2, answers(lambda image: {"url": "data:image/png;base64," + b64(image)})),
    "surrogate": (4, answers(lambda image: {"b64_json": b64(image), "revised_prompt": "a \ud800 brain \x1b[31m"})),
    "key echoed": (2, answers(lambda image: {"b64_json": b64(image), "revised_prompt": f"brain {KEY}"})),
    "cut behind the end": (2, answers(lambda image: {"b64_json": b64(image)}, missing=7)),
    "address": (4, by_address(0)),
    "address refused": (6, by_address(4)),
    "429": (6, says(429, "rate_limit_exceeded")),
    "401": (0.3, says(401, "invalid_api_key")),
    "400": (0.3, says(400, "invalid_value")),
    "refusal": (4, refuses("moderation_blocked")),
    "contentFilter": (2, refuses("contentFilter")),
    "inner error": (2, refuses("content_policy_violation", inner_error={"code": "ResponsibleAI"})),
    "data null": (2, holds_none({"data": None})),
    "data empty": (1, holds_none({"data": []})),
    "item null": (1, holds_none({"data": [{"b64_json": None}]})),
    "wrong JSON": (1, holds_none(b'{"data": [{"b64_json": "')),
    "a page": (0.5, holds_none(b"<html>It works!</html>")),
    "error as success": (0.5, holds_none({"error": {"message": "try later"}})),
    "not an image": (1, holds_none({"data": [{"b64_json": b64(b"not an image")}]})),
    "500": (2, says(500, "server_error")),
    "503": (2, says(503, "overloaded")),
    "504": (2, says(504, "timeout")),
    "524": (1, says(524, "timeout")),
    "408": (1, says(408, "timeout")),
    "409": (1, says(409, "conflict")),
    "no answer": (3, cut(0)),
    "cut": (3, cut(0.5)),
    "redirect": (0.2, lambda handler, image, usage: handler.send(307, b"", Location="http://127.0.0.1:9/")),
}
WEIGHTS = [weight for weight, _ in FAULTS.values()]
FREE = ("429", "401", "400", "refusal", "redirect")
IMAGES = list(FAULTS)[: list(FAULTS).index("429")]


@contextmanager
def serving(seed: int) -> Iterator[Service]:
    """Serve on a free port of this machine meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = Service(random.Random(seed), f"http://127.0.0.1:{server.server_port}")
    server.service = service  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
