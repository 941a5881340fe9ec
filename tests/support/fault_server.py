"""A text-to-image server on this machine that answers as OpenAI's does, and goes wrong in every way it is told to."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

KEY = "sk-proj-Zq7vLx2TnW8rKd5mYb3c"
REFUSAL = "Your request was rejected by the safety system."


@dataclass
class FaultServer:
    """What the server was asked (bodies, headers), what it is to do next, and what it must do for a prompt."""

    address: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    script: list[Callable[[Handler], None]] = field(default_factory=list)
    """What to do with the next requests, one each; then images are sent."""
    for_prompt: dict[str, Callable[[Handler], None]] = field(default_factory=dict)
    always: Callable[[Handler], None] | None = None
    fetched: list[str] = field(default_factory=list)
    """Paths of the images that were asked for by their address."""
    fetching: Callable[[Handler], None] | None = None
    pause_s: float = 0.0
    usage: dict[str, Any] | None = None
    revised: str = ""
    sent: int = 0
    """Images so far."""
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def prompts(self) -> list[str]:
        return [body["prompt"] for body in self.asked]


def picture(number: int, colour: bool = False) -> bytes:
    """A PNG like no other."""
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    if not colour:
        pixels[:] = pixels[..., :1]
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body: dict[str, Any]

    @property
    def state(self) -> FaultServer:
        return self.server.state  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state = self.state
        with state.lock:
            state.asked.append(self.body)
            state.keys.append(self.headers.get("Authorization", ""))
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            act = state.for_prompt.get(self.body["prompt"]) or (state.script.pop(0) if state.script else state.always)
        time.sleep(state.pause_s)
        try:
            (act or image)(self)
        finally:
            with state.lock:
                state.at_once -= 1

    def do_GET(self) -> None:
        self.state.keys.append(self.headers.get("Authorization", ""))
        self.state.fetched.append(self.path)
        (self.state.fetching or a_picture)(self)

    def send(self, status: int, content: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def error(self, status: int, code: str, message: str, **headers: str) -> None:
        body = {"error": {"code": code, "message": message, "type": "error", "param": None}}
        self.send(status, json.dumps(body).encode(), **headers)

    def answer(self, item: dict[str, Any]) -> None:
        body: dict[str, Any] = {"created": 1, "data": [item]}
        if self.state.usage is not None:
            body["usage"] = self.state.usage
        self.send(200, json.dumps(body).encode(), x_request_id=f"req_{self.state.sent}")


def a_picture(handler: Handler) -> None:
    handler.send(200, picture(77), "image/png")


def forbidden(handler: Handler) -> None:
    handler.send(403, b"<Error>AccessDenied</Error>", "application/xml")


def image(handler: Handler, *, colour: bool = False) -> None:
    with handler.state.lock:
        handler.state.sent += 1
        number = handler.state.sent
    item = {"b64_json": base64.b64encode(picture(number, colour)).decode()}
    handler.answer(item | ({"revised_prompt": handler.state.revised} if handler.state.revised else {}))


def coloured(handler: Handler) -> None:
    image(handler, colour=True)


def by_address(handler: Handler) -> None:
    handler.answer({"url": f"{handler.state.address}/picture.png"})


def answering(item: Callable[[str], Any], **more: Any) -> Callable[[Handler], None]:
    """Answer with an item made of an image's base64, whatever is in it."""

    def act(handler: Handler) -> None:
        with handler.state.lock:
            handler.state.sent += 1
        content = base64.b64encode(picture(handler.state.sent)).decode()
        handler.send(200, json.dumps({"data": [item(content)]} | more).encode(), x_request_id="req_1")

    return act


def saying(status: int, body: Any, **headers: str) -> Callable[[Handler], None]:
    """Answer with a status and a body."""
    return lambda handler: handler.send(status, json.dumps(body).encode(), **headers)


def refuse(handler: Handler, code: str = "moderation_blocked") -> None:
    handler.error(400, code, REFUSAL, x_request_id="req_refused")


def refuse_by_policy(handler: Handler) -> None:
    refuse(handler, "content_policy_violation")


def too_many(handler: Handler) -> None:
    handler.error(429, "rate_limit_exceeded", "Slow down.", Retry_After="0.3")


def no_money(handler: Handler) -> None:
    handler.error(429, "insufficient_quota", "You exceeded your current quota.")


def broken(handler: Handler) -> None:
    handler.error(500, "server_error", "The server had an error.", Retry_After="0.05")


def bad_request(handler: Handler) -> None:
    handler.error(400, "invalid_value", "size is not supported")


def echo_key(handler: Handler) -> None:
    handler.error(401, "invalid_api_key", f"Incorrect API key provided: {handler.headers['Authorization'][7:]}.")


def echo_key_in_refusal(handler: Handler) -> None:
    key = handler.headers["Authorization"][7:]
    handler.error(400, "moderation_blocked", f"{key} asked; {key[:-4]}****", x_request_id=f"req_{key}")


def cut(handler: Handler) -> None:
    """Half of an answer, then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


def wrong_json(handler: Handler) -> None:
    handler.send(200, b'{"data": [{"b64_json": ')


def no_image(handler: Handler) -> None:
    handler.answer({"b64_json": base64.b64encode(b"not an image").decode()})


def empty(handler: Handler) -> None:
    handler.send(200, b'{"created": 1, "data": []}')


def a_page(handler: Handler) -> None:
    handler.send(200, b"<html>It works!</html>", "text/html")


def huge(handler: Handler) -> None:
    """Far more than anybody asked for, until the other side hangs up."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(1 << 34))
    handler.end_headers()
    try:
        for _ in range(1 << 14):
            handler.wfile.write(b" " * (1 << 20))
    except OSError:
        handler.close_connection = True


def late(handler: Handler) -> None:
    time.sleep(1.5)
    try:
        image(handler)
    except OSError:
        handler.close_connection = True


@contextmanager
def serving() -> Iterator[FaultServer]:
    """Serve on a free port of this machine meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.state = FaultServer(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.state  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
