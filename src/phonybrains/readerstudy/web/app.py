"""The whole web application of a study."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from ...errors import StudyError
from ...web.pages import plain_app
from ..store import Store
from ..study import Study
from .address import Address
from .context import HERE, StudyContext
from .guard import StudyGuard
from .investigator_routes import investigator_routes
from .reader_routes import reader_routes

KEPT = "your answer is kept in this browser and sent again."
SENTENCES = {
    500: "The server has lost its database and takes no answers. What you entered is kept in this browser. "
    "Please tell the person who invited you.",
    503: f"The server is busy; {KEPT}",
    507: f"The server's disk is full; {KEPT}",
}
"""What a reader is told instead of the error."""
RETRY_AFTER = {503: "2", 507: "10"}
TITLES = dict.fromkeys((400, 403, 409), "That is not possible") | {
    401: "Please open your link",
    404: "Nothing is here",
    410: "This is over",
    423: "The study is paused",
    429: "Please wait",
    503: "The server is busy",
    507: "The server's disk is full",
}


def make_app(study: Study, store: Store, *, https: bool = False, address: Address | None = None) -> ASGIApp:
    """The application over an open study and its store; `https` where browsers reach it that way, `address` where."""
    context = StudyContext(study, store, https=https, address=address)

    def refuse(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
        if request.scope["path"].startswith("/api/"):
            return JSONResponse({"error": sentence}, status, headers)
        title = TITLES.get(status, "That did not work")
        page = context.page(request, "message.html", status, title=title, text=sentence)
        page.headers.update(headers or {})
        return page

    def of_study(request: Request, error: StudyError) -> Response:
        status = getattr(error, "status", 400)
        headers = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else None
        return refuse(request, status, SENTENCES.get(status, str(error)), headers)

    def of_http(request: Request, error: HTTPException) -> Response:
        sentence = "There is no such page." if error.status_code == 404 else str(error.detail)
        return refuse(request, error.status_code, sentence, dict(error.headers or {}))

    def of_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str | int))
        return refuse(request, 422, f"{place}: {first['msg']}." if place else f"{first['msg']}.")

    def of_fault(request: Request, _: Exception) -> Response:
        return refuse(request, 500, "Something went wrong on the server. Your answer is kept in this browser.")

    handlers = {StudyError: of_study, HTTPException: of_http, RequestValidationError: of_body, Exception: of_fault}
    app = plain_app(HERE, [reader_routes(context), investigator_routes(context)], handlers)
    return StudyGuard(app, https=context.https, root=context.root)
