"""Who may ask a served model: a host that is this machine's, no other site's page, and whoever knows the token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from ..web.guard import BODY_LIMIT, Guard, is_local, is_own, parse_host
from .refusal import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)

EDITS = "/playground/edits/"
EDIT_LIMIT = 12 * 2**20
"""Of what edits take: a picture of 8 MB as base64, and a mask."""

NOT_LOCAL = (
    "This server answers to localhost and 127.0.0.1. A proxy in front has to set such a host, or the server a --token."
)
NO_TOKEN = (
    "This server asks for its token: send it as 'Authorization: Bearer TOKEN', or give it to the client as its API key."
)


@dataclass(frozen=True)
class ModelGuard(Guard):
    """With a token, all that paints or tells of the model asks for it.

    local: only this machine's own names will do as host, so that no page can come in by a name of its own that leads
    here (DNS rebinding).
    """

    token: str = ""
    local: bool = False

    def prepare(self, scope: Scope) -> Mapping[str, str]:
        number = scope["state"]["request_id"] = secrets.token_hex(8)
        return {"Content-Security-Policy": POLICY, "X-Request-Id": number}

    def admit(self, headers: Headers, scope: Scope) -> None:
        if self.local and not is_local(parse_host(headers["host"])[0]):
            raise HTTPException(403, NOT_LOCAL)
        if scope["method"] == "POST" and not is_own(headers):
            raise HTTPException(403, "This request comes from another site.")  # it could keep this machine busy unseen
        if self.token and scope["path"].startswith(("/v1/", "/playground/")):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise HTTPException(401, NO_TOKEN, {"WWW-Authenticate": "Bearer"})

    def body_limit(self, scope: Scope) -> int:
        return EDIT_LIMIT if scope["path"].startswith(EDITS) else BODY_LIMIT

    def refuse(self, error: HTTPException) -> Response:
        code = "invalid_api_key" if error.status_code == 401 else None
        return Refusal(error.status_code, str(error.detail), code=code, headers=error.headers).response()
