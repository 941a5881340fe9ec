"""What holds for every request, before any route: a sane host, a small body, and headers that let nothing else in."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 64 * 1024
BODY_SECONDS = 30.0
HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


@dataclass(frozen=True)
class Guard:
    """Wraps the whole application, so that error pages have the same headers as all others."""

    app: ASGIApp
    https: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        own = _headers(nonce, static=scope["path"].startswith("/static/"), https=self.https)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            await _refuse(400, "This host name cannot be.", scope, receive, send_with_headers)
            return
        try:
            body = await asyncio.wait_for(_read_body(scope, receive), BODY_SECONDS)
        except TimeoutError:
            await _refuse(408, "The request took too long.", scope, receive, send_with_headers)
            return
        if body is None:
            await _refuse(413, "This is more than an answer can be.", scope, receive, send_with_headers)
            return
        await self.app(scope, _replay(body, receive), send_with_headers)


def _headers(nonce: str, *, static: bool, https: bool) -> list[tuple[bytes, bytes]]:
    policy = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    pairs = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-cache" if static else "no-store",
    }
    if https:
        pairs["Strict-Transport-Security"] = "max-age=31536000"
    return [(name.lower().encode(), value.encode()) for name, value in pairs.items()]


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; none if it is, or says it is, larger than the limit."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > BODY_LIMIT:
            return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"error": sentence}, status, {"Connection": "close"})(scope, receive, send)
