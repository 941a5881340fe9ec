"""What a request is refused with, in OpenAI's format of errors, so that its clients raise the errors they know."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class Refusal(Exception):
    """A request that cannot be met: status, a sentence for the person, the parameter it is about, a code."""

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.param, self.code, self.headers = status, param, code, dict(headers or {})

    def response(self) -> JSONResponse:
        """{"error": {"message", "type", "param", "code"}}, as OpenAI's clients read it."""
        kind = TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status, self.headers)
