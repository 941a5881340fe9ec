"""Whose request this is: cookies, CSRF tokens, the Origin, and how often one may ask."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...web.guard import is_own
from ..store.access import SESSION_DAYS
from ..store.errors import NoSessionError


class Buckets:
    """A bucket of tokens for each key: `rate` a second come in, at most `burst` are kept, each request takes one.

    debt: who goes on asking without a token has to wait longer and longer, up to so many tokens.
    """

    def __init__(self, rate: float, burst: float, debt: float = 0, keys: int = 10_000) -> None:
        self.rate, self.burst, self.debt, self.keys = rate, burst, debt, keys
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Take a token. Raises HTTPException 429 if there is none, with the seconds until there is."""
        now = monotonic()
        tokens, seen = self._kept.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + self.rate * (now - seen))
        left = tokens - 1 if tokens >= 1 else max(tokens - bool(self.debt), -self.debt)
        self._kept[key] = (left, now)
        if len(self._kept) > self.keys:
            self._kept.popitem(last=False)
        if tokens < 1:
            wait = max(2, math.ceil((1 - left) / self.rate))
            raise HTTPException(429, "Too many requests; please wait a moment.", {"Retry-After": str(wait)})


def csrf_token(secret: str) -> str:
    """The token that shows that a form or a script came from a page made for the holder of a secret."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"phonybrains csrf", hashlib.sha256).hexdigest()


def check_csrf(secret: str, given: object) -> None:
    """Raises HTTPException 403 unless the token is the one of this secret."""
    said = given.encode("utf-8", "replace") if isinstance(given, str) else b""
    if not hmac.compare_digest(csrf_token(secret).encode(), said):
        raise HTTPException(403, "This page is out of date: please load it again.")


def check_origin(request: Request, public: str | None, *, form: bool = False) -> None:
    """Raises HTTPException 403 if another site's page sends this; `public` is the server's origin behind a proxy.

    With no-referrer a browser says `Origin: null` for a form of our own; the form's token then has to do.
    """
    own_form = form and request.headers.get("origin") == "null"
    site = request.headers.get("sec-fetch-site", "same-origin")
    if not (site in ("same-origin", "none") if own_form else is_own(request.headers, public)):
        raise HTTPException(403, "This request comes from another site.")


@dataclass(frozen=True)
class Cookies:
    """The cookies of one study: `mark` tells them from those of another study at the same host, whatever its port."""

    mark: str
    root: str
    https: bool

    def name(self, kind: str) -> str:
        """The cookie of a `reader` or an `investigator`; its prefix has browsers take it over HTTPS only."""
        prefix = "" if not self.https else "__Secure-" if self.root else "__Host-"
        return f"{prefix}{kind}-{self.mark}"

    def session(self, request: Request, kind: str) -> str:
        """The session's token. Raises NoSessionError where there is no cookie."""
        token = request.cookies.get(self.name(kind))
        if not token:
            raise NoSessionError("This page needs your personal link: open it again.")
        return token

    def give(self, response: Response, kind: str, token: str) -> None:
        """Give the browser a session that scripts cannot read; none: take it away."""
        response.set_cookie(
            self.name(kind),
            token,
            max_age=round(SESSION_DAYS * 86400) if token else 0,
            path=self.root or "/",
            httponly=True,
            samesite="lax",
            secure=self.https,
        )


SAY_SO = ("iPhone", "iPad", "Android", "Windows")
SYSTEMS = {name: name for name in SAY_SO} | {"CrOS": "ChromeOS", "Mac OS X": "macOS", "Linux": "Linux"}
FIREFOX, CHROME = dict.fromkeys(("Firefox/", "FxiOS/"), "Firefox"), dict.fromkeys(("CriOS/", "Chrom"), "Chrome")
BROWSERS = {"Edg": "Edge", "OPR/": "Opera"} | FIREFOX | CHROME | {"Safari/": "Safari"}
"""What tells a browser or a system, the first that is found: others' signs stand in it too."""


def device_of(request: Request) -> str:
    """The kind of browser and of system, coarsely: `Firefox on Windows`; nothing else of it is kept."""
    agent = request.headers.get("user-agent", "")
    found = (next((kinds[sign] for sign in kinds if sign in agent), "") for kinds in (BROWSERS, SYSTEMS))
    return " on ".join(filter(None, found)) or "unknown"
