"""What holds for every request to a study: policy headers with a nonce, and paths below the one that browsers see."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ...web.guard import Guard


@dataclass(frozen=True)
class StudyGuard(Guard):
    """`root` is the path under which browsers see the study; a proxy in front may pass it on, or leave it out."""

    https: bool = False
    root: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self.root and (path == self.root or path.startswith(f"{self.root}/")):
            scope = {**scope, "path": path.removeprefix(self.root) or "/"}
        await super().__call__(scope, receive, send)

    def prepare(self, scope: Scope) -> Mapping[str, str]:
        nonce = scope["state"]["nonce"] = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        own = {"Content-Security-Policy": policy}
        return own | {"Strict-Transport-Security": "max-age=31536000"} if self.https else own

    def admit(self, headers: Headers, scope: Scope) -> None:
        """Whoever comes may ask for a page; what changes something is checked by its route."""

    def refuse(self, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)
