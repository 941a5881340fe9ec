"""What holds for every request, before any route: a sane host, a small body, a token, headers that let nothing in."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusal import Refusal

BODY_LIMIT = 64 * 1024
BODY_SECONDS = 30.0
HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Guard:
    """Wraps the whole application; with a token, all that paints or tells of the model asks for it.

    local: only this machine's own names will do as host, so that no page can come in by a name of its own that leads
    here (DNS rebinding).
    """

    app: ASGIApp
    token: str = ""
    local: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = number
        caching = "no-cache" if scope["path"].startswith("/static/") else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["X-Request-Id"] = number
                headers.setdefault("Cache-Control", caching)
            await send(message)

        try:
            self._check(Headers(scope=scope), scope)
            body = await asyncio.wait_for(_read_body(scope, receive), BODY_SECONDS)
        except TimeoutError:
            refusal = Refusal(408, "The request took too long to arrive.", headers={"Connection": "close"})
            await refusal.response()(scope, receive, send_with_headers)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send_with_headers)
        else:
            await self.app(scope, _replay(body, receive), send_with_headers)

    def _check(self, headers: Headers, scope: Scope) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            raise Refusal(400, "This host name cannot be.", headers={"Connection": "close"})
        if self.local and not is_local(urlsplit(f"//{hosts[0]}").hostname or ""):
            raise Refusal(403, "This server answers to localhost and 127.0.0.1. A proxy in front has to set such a "
                          "host, or the server a --token.")  # fmt: skip
        if scope["method"] == "POST":
            _check_origin(headers, hosts[0])
        if self.token and scope["path"].startswith(("/v1/", "/playground/")):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise Refusal(401, "This server asks for its token: send it as 'Authorization: Bearer TOKEN', or give "
                              "it to the client as its API key.", code="invalid_api_key",
                              headers={"WWW-Authenticate": "Bearer"})  # fmt: skip


def is_local(host: str) -> bool:
    """Whether a name or an address can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_origin(headers: Headers, host: str) -> None:
    """Raises Refusal if another site's page sends this: it could keep this machine busy unseen."""
    origin = headers.get("origin")
    foreign = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign or (origin is not None and urlsplit(origin).netloc.lower() != host.lower()):
        raise Refusal(403, "This request comes from another site.")


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises Refusal if it is, or says it is, larger than the limit."""
    too_large = Refusal(413, f"The body is larger than {BODY_LIMIT} bytes.", headers={"Connection": "close"})
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_LIMIT:
        raise too_large
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise too_large
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
