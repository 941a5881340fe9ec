"""Whose request this is: cookies, CSRF tokens, the Origin, and how often one may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from time import monotonic
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..store.errors import NoSessionError


class Buckets:
    """A bucket of tokens for each key: `rate` a second come in, at most `burst` are kept, each request takes one."""

    def __init__(self, rate: float, burst: float, keys: int = 10_000) -> None:
        self.rate, self.burst, self.keys = rate, burst, keys
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Take a token. Raises HTTPException 429 if there is none."""
        now = monotonic()
        tokens, seen = self._kept.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + self.rate * (now - seen))
        self._kept[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._kept) > self.keys:
            self._kept.popitem(last=False)
        if tokens < 1:
            raise HTTPException(429, "Too many requests; please wait a moment.", {"Retry-After": "2"})


def csrf_token(secret: str) -> str:
    """The token that shows that a form or a script came from a page made for the holder of a secret."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"phonybrains csrf", hashlib.sha256).hexdigest()


def check_csrf(secret: str, given: object) -> None:
    """Raises HTTPException 403 unless the token is the one of this secret."""
    if not isinstance(given, str) or not hmac.compare_digest(
        csrf_token(secret).encode(), given.encode("utf-8", "replace")
    ):
        raise HTTPException(403, "This page is out of date: please load it again.")


def check_origin(request: Request, *, form: bool = False) -> None:
    """Raises HTTPException 403 if another site's page sends this.

    With no-referrer a browser says `Origin: null` for a form of our own; the form's token then has to do.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "This request comes from another site.")
    origin = request.headers.get("origin")
    if origin is None or (form and origin == "null"):
        return
    if urlsplit(origin).netloc.lower() != request.headers["host"].lower():
        raise HTTPException(403, "This request comes from another site.")


def session_of(request: Request, cookie: str) -> str:
    """The session's token. Raises NoSessionError where there is no cookie."""
    token = request.cookies.get(cookie)
    if not token:
        raise NoSessionError("This page needs your personal link: open it again.")
    return token


def set_session(response: Response, cookie: str, token: str, *, days: int, https: bool) -> None:
    """Give the browser a session that scripts cannot read."""
    response.set_cookie(cookie, token, max_age=days * 86400, path="/", httponly=True, samesite="lax", secure=https)
