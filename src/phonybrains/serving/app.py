"""The whole web application of a served model."""

from __future__ import annotations

import sys

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from .api_routes import api_routes
from .gallery import ClientGone, Gallery
from .guard import ModelGuard
from .page_routes import WEB, page_routes
from .refusal import Refusal

CLIENT_GONE = 499  # as nginx says it; nobody reads it


def make_app(gallery: Gallery, *, local: bool) -> ASGIApp:
    """The application over a loaded model; `local` where only this machine may ask."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(api_routes(gallery))
    app.include_router(page_routes(gallery))
    app.mount("/static", StaticFiles(directory=WEB / "static"))
    _handle_errors(app)
    return ModelGuard(app, gallery.token, local)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    def of_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return error.response()

    @app.exception_handler(ClientGone)
    def of_nobody(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        place = f"{request.method} {request.scope['path']}"
        sentence = f"There is no {place} here." if error.status_code in (404, 405) else str(error.detail)
        return Refusal(
            error.status_code, sentence, code="unknown_url" if error.status_code == 404 else None, headers=error.headers
        ).response()

    @app.exception_handler(RequestValidationError)
    def of_path(request: Request, _: Exception) -> Response:
        return Refusal(
            404, f"There is no {request.method} {request.scope['path']} here.", code="unknown_url"
        ).response()

    @app.exception_handler(Exception)
    def of_fault(request: Request, _: Exception) -> Response:
        number = request.state.request_id
        print(f"request {number} failed:", file=sys.stderr)  # the server goes on to log the error
        return Refusal(
            500, f"Something went wrong on the server; what, its output says at request {number}."
        ).response()
