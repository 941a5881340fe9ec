"""The whole web application of a study."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ...errors import StudyError
from ..store import (
    BusyError,
    ConflictError,
    DiskFullError,
    EndedError,
    LostError,
    NoSessionError,
    PausedError,
    Store,
    UnknownError,
)
from ..study import Study
from .address import Address
from .context import HERE, Desk
from .guard import StudyGuard
from .investigator_routes import investigator_routes
from .reader_routes import reader_routes

STATUS = {
    StudyError: 400,
    LostError: 500,
    NoSessionError: 401,
    UnknownError: 404,
    ConflictError: 409,
    EndedError: 410,
    PausedError: 423,
    BusyError: 503,
    DiskFullError: 507,
}
DISK_FULL = "The server's disk is full; your answer is kept in this browser and sent again."
LOST = (
    "The server has lost its database and takes no answers. What you entered is kept in this browser. "
    "Please tell the person who invited you."
)
BUSY = "The server is busy; your answer is kept in this browser and sent again."
TITLES = {
    400: "That is not possible",
    401: "Please open your link",
    403: "That is not possible",
    404: "Nothing is here",
    409: "That is not possible",
    410: "This is over",
    423: "The study is paused",
    429: "Please wait",
    503: "The server is busy",
    507: "The server's disk is full",
}


def make_app(study: Study, store: Store, *, https: bool = False, address: Address | None = None) -> ASGIApp:
    """The application over an open study and its store; `https` where browsers reach it that way, `address` where."""
    desk = Desk(study, store, https=https, address=address)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(reader_routes(desk))
    app.include_router(investigator_routes(desk))
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    _handle_errors(app, desk)
    return StudyGuard(app, https=desk.https, root=desk.root)


def _handle_errors(app: FastAPI, desk: Desk) -> None:
    def refuse(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
        if request.scope["path"].startswith("/api/"):
            return JSONResponse({"error": sentence}, status, headers)
        page = desk.page(request, "message.html", status, title=TITLES.get(status, "That did not work"), text=sentence)
        page.headers.update(headers or {})
        return page

    def of_study(status: int):
        def handle(request: Request, error: Exception) -> Response:
            if status == 507:
                return refuse(request, status, DISK_FULL, {"Retry-After": "10"})
            if status == 500:
                return refuse(request, status, LOST)
            if status == 503:
                return refuse(request, status, BUSY, {"Retry-After": "2"})
            return refuse(request, status, str(error))

        return handle

    for kind, status in STATUS.items():
        app.add_exception_handler(kind, of_study(status))

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        sentence = "There is no such page." if error.status_code == 404 else str(error.detail)
        return refuse(request, error.status_code, sentence, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def of_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str | int))
        return refuse(request, 422, f"{place}: {first['msg']}." if place else f"{first['msg']}.")

    @app.exception_handler(Exception)
    def of_fault(request: Request, _: Exception) -> Response:
        return refuse(request, 500, "Something went wrong on the server. Your answer is kept in this browser.")
