"""The whole web application of a served model."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..web.pages import plain_app
from .api_routes import api_routes
from .context import ClientGone, ModelContext
from .edit_routes import edit_routes
from .guard import ModelGuard
from .page_routes import WEB, page_routes
from .refusal import Refusal

CLIENT_GONE = 499  # as nginx says it; nobody reads it


def make_app(context: ModelContext, *, local: bool) -> ASGIApp:
    """The application over a loaded model; `local` where only this machine may ask."""
    handlers = {
        Refusal: lambda _, error: error.response(),
        ClientGone: lambda _, __: Response(status_code=CLIENT_GONE),
        HTTPException: _of_http,
        RequestValidationError: lambda request, _: _unknown(request, 404),
        Exception: _of_fault,
    }
    app = plain_app(WEB, [api_routes(context), page_routes(context), edit_routes(context)], handlers)
    return ModelGuard(app, context.token, local)


def _of_http(request: Request, error: HTTPException) -> Response:
    if error.status_code in (404, 405):
        return _unknown(request, error.status_code, error.headers)
    return Refusal(error.status_code, str(error.detail), headers=error.headers).response()


def _unknown(request: Request, status: int, headers: Mapping[str, str] | None = None) -> Response:
    sentence, code = f"There is no {request.method} {request.scope['path']} here.", "unknown_url"
    return Refusal(status, sentence, code=code if status == 404 else None, headers=headers).response()


def _of_fault(request: Request, _: Exception) -> Response:
    number = request.state.request_id
    print(f"request {number} failed:", file=sys.stderr)  # the server goes on to log the error
    return Refusal(500, f"Something went wrong on the server; what, its output says at request {number}.").response()
