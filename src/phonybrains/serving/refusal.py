"""What a request is refused with, in OpenAI's format of errors, so that its clients raise the errors they know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


@dataclass(eq=False)
class Refusal(Exception):
    """A request that cannot be met: status, a sentence for the person, the parameter it is about, a code."""

    status: int
    sentence: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return self.sentence

    def response(self) -> JSONResponse:
        """{"error": {"message", "type", "param", "code"}}, as OpenAI's clients read it."""
        kind = TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": error}, self.status, self.headers and dict(self.headers))


def invalid(param: str, sentence: str, code: str = "invalid_value") -> Refusal:
    """What is wrong with the value of a parameter."""
    return Refusal(400, sentence, param=param, code=code)


def no_model(name: str, own: str) -> Refusal:
    """A model is asked for that is not served here."""
    sentence = f"The model '{name}' does not exist here. This server has {own}."
    return Refusal(404, sentence, param="model", code="model_not_found")
