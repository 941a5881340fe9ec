"""An application that tells nothing of itself, its pages, and the colours and controls that all pages share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

SHARED = Path(__file__).parent / "static"
Handler = Callable[[Request, Any], Response | Awaitable[Response]]


def make_pages(folder: Path) -> Environment:
    """The templates of a folder; what is put into them is text, and what is missing is an error."""
    loader = FileSystemLoader(folder / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, auto_reload=False)


def plain_app(folder: Path, routers: list[APIRouter], handlers: Mapping[Any, Handler]) -> FastAPI:
    """Routes, the static files of a folder and the shared ones, and who answers each kind of error."""
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, exception_handlers=dict(handlers)
    )
    for router in routers:
        app.include_router(router)
    app.mount("/static/shared", StaticFiles(directory=SHARED))
    app.mount("/static", StaticFiles(directory=folder / "static"))
    return app
