"""What holds for every request, before any route: a host and an origin that can be, a small body, strict headers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import BODY_SECONDS

BODY_LIMIT = 64 * 1024
CLOSE = {"Connection": "close"}
HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,253})|\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?")
ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://(?P<host>.{1,300})")
DEFAULT_PORTS = {"http": 80, "https": 443}
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Guard(ABC):
    """Wraps a whole application, so that error pages have the same headers as all others."""

    app: ASGIApp

    @abstractmethod
    def prepare(self, scope: Scope) -> Mapping[str, str]:
        """The server's own headers of the response to a request, and what it keeps in the request's state."""

    @abstractmethod
    def admit(self, headers: Headers, scope: Scope) -> None:
        """Raises HTTPException for a request that may not come in; its host is one that can be."""

    def body_limit(self, scope: Scope) -> int:
        """How many bytes the body of a request may have."""
        return BODY_LIMIT

    @abstractmethod
    def refuse(self, error: HTTPException) -> Response:
        """The response to what did not come in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        own = self.prepare(scope)
        caching = "no-cache" if scope["path"].startswith("/static/") else "no-store"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**HEADERS, **own})
                headers.setdefault("Cache-Control", caching)
            await send(message)

        try:
            headers = Headers(scope=scope)
            _check_names(headers)
            self.admit(headers, scope)
            body = await asyncio.wait_for(_read_body(headers, receive, self.body_limit(scope)), BODY_SECONDS)
        except TimeoutError:
            error = HTTPException(408, "The request took too long to arrive.", CLOSE)
            await self.refuse(error)(scope, receive, send_with_headers)
        except HTTPException as error:
            await self.refuse(error)(scope, receive, send_with_headers)
        else:
            await self.app(scope, _replay(body, receive), send_with_headers)


def parse_host(text: str) -> tuple[str, int | None]:
    """Name or address in lower case, and port, of a Host header. Raises ValueError if it cannot be one."""
    found = HOST.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65535:
        raise ValueError(f"'{text[:60]}' cannot be a host.")
    name = found["name"] or f"[{ipaddress.IPv6Address(found['ipv6'])}]"
    return name.lower(), int(found["port"]) if found["port"] else None


def parse_origin(text: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, the scheme's own port filled in, of an Origin. Raises ValueError if it cannot be one."""
    found = ORIGIN.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text[:60]}' cannot be an origin.")
    scheme = found["scheme"].lower()
    host, port = parse_host(found["host"])
    return scheme, host, port or DEFAULT_PORTS.get(scheme)


def is_local(host: str) -> bool:
    """Whether a name or an address can only mean this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_own(headers: Headers, public: str | None = None) -> bool:
    """Whether a request comes from a page of this server, as far as the browser says.

    public: the server's origin as browsers see it; without it, what the request's Host says, in any scheme.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    given = headers.get("origin")
    if given is None:
        return True
    if given == "null":
        return False
    scheme, host, port = parse_origin(given)
    if public is not None:
        return (scheme, host, port) == parse_origin(public)
    own_host, own_port = parse_host(headers["host"])
    return (host, port) == (own_host, own_port or DEFAULT_PORTS.get(scheme))


def _check_names(headers: Headers) -> None:
    """Raises HTTPException 400 for a Host or an Origin that cannot be."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    try:
        if len(hosts) != 1 or len(origins) > 1:
            raise ValueError
        parse_host(hosts[0])
        if origins and origins[0] != "null":
            parse_origin(origins[0])
    except ValueError:
        raise HTTPException(400, "This host name, or this origin, cannot be.", CLOSE) from None


async def _read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises HTTPException if it is, or says it is, larger than the limit."""
    too_large = HTTPException(413, f"The body is larger than {limit} bytes.", CLOSE)
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,20}", length):
        raise HTTPException(400, "This Content-Length cannot be.", CLOSE)
    if int(length) > limit:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
