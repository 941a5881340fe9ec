"""The investigator's page: how far readers are, and what can be done about it. Nothing here tells what an image is."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..store import access, readers
from ..store.errors import EndedError, UnknownError
from ..store.writer import Writing
from . import exports
from .context import StudyContext
from .security import check_csrf, check_origin, csrf_token
from .session_routes import add_session_routes

KIND = "investigator"


def investigator_routes(context: StudyContext) -> APIRouter:
    """The routes of the investigator."""
    router, store = APIRouter(prefix="/investigator"), context.store
    protocol = partial(exports.protocol_json, study=context.study)
    _add_export(router, context, "answers.csv", "text/csv; charset=utf-8", exports.answers_csv)
    _add_export(router, context, "audit.csv", "text/csv; charset=utf-8", exports.audit_csv)
    _add_export(router, context, "protocol.json", "application/json", protocol)
    _add_page(router, context)
    _add_links(router, context)
    _add_change(router, context, "/readers/revoke", lambda form: store.revoke(str(form.get("name", ""))), final=True)
    _add_change(router, context, "/pause", lambda _: store.pause())
    _add_change(router, context, "/resume", lambda _: store.pause(False))
    _add_change(router, context, "/close", lambda _: store.close_study(), final=True)
    _add_change(router, context, "/sessions/end", lambda form: store.write(_ending(str(form.get("id", "")))))
    add_session_routes(router, context, KIND, links="", home="/investigator")
    return router


def _add_export(
    router: APIRouter, context: StudyContext, name: str, kind: str, content: Callable[[Connection], str]
) -> None:
    @router.get(f"/{name}")
    async def export(request: Request) -> Response:
        await context.visitor(request, context.cookies.session(request, KIND), investigator=True)
        await run_in_threadpool(context.store.note, "exported", file=name)
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(await context.read(content), media_type=kind, headers=disposition)


def _add_page(router: APIRouter, context: StudyContext) -> None:
    @router.get("")
    async def progress(request: Request) -> Response:
        used = request.headers.get("x-background") is None  # the page brings itself up to date: nobody needs be there
        await context.visitor(request, context.cookies.session(request, KIND), investigator=True, used=used)
        return await _page(request, context)


def _add_links(router: APIRouter, context: StudyContext) -> None:
    """What shows a reader's new link, once."""

    async def show_link(request: Request, name: str, make: Callable[[str], str]) -> Response:
        link = context.link(request, f"/join/{await run_in_threadpool(make, name)}")
        return await _page(request, context, link=link, link_of=name)

    @router.post("/readers")
    async def add(request: Request) -> Response:
        form = await _form(request, context, still_open=True)
        name = readers.checked_name(str(form.get("name", "")))
        return await show_link(request, name, context.store.add_reader)

    @router.post("/readers/link")
    async def new_link(request: Request) -> Response:
        form = await _form(request, context, still_open=True)
        name = str(form.get("name", ""))
        if form.get("confirm") != "yes":
            await context.read(lambda connection: readers.find(connection, name))
            return await _page(request, context, asking=name)
        return await show_link(request, name, context.store.new_link)


def _add_change(
    router: APIRouter, context: StudyContext, path: str, change: Callable[[FormData], None], *, final: bool = False
) -> None:
    """A change after which the page is shown again; `final`: it needs a tick in the box beside the button."""

    @router.post(path)
    async def act(request: Request) -> Response:
        await run_in_threadpool(change, await _form(request, context, confirmed=final))
        return RedirectResponse(f"{context.root}/investigator", 303)


def _ending(number: str) -> Callable[[Writing], None]:
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise UnknownError("There is no such session.")
    return partial(access.end_session, session_id=int(number))


async def _form(
    request: Request, context: StudyContext, *, confirmed: bool = False, still_open: bool = False
) -> FormData:
    """The form of a change the investigator asks for. Raises unless it is truly theirs, and can be done now."""
    check_origin(request, context.public, form=True)
    session = context.cookies.session(request, KIND)
    who = await context.visitor(request, session, investigator=True)
    form = await request.form()
    check_csrf(session, form.get("csrf"))
    if confirmed and form.get("confirm") != "yes":
        raise HTTPException(409, "This cannot be undone: tick the box beside the button first.")
    if still_open and who.closed:
        raise EndedError("This study is closed.")
    return form


async def _page(request: Request, context: StudyContext, **values: Any) -> Response:
    session, now = context.cookies.session(request, KIND), context.store.clock.now()
    who = await context.visitor(request, session, investigator=True, used=False)
    shown: dict[str, Any] = dict.fromkeys(("link", "link_of", "asking")) | {
        "csrf": csrf_token(session),
        "own_session": who.session_id,
        "protocol_hash": context.study.hash,
        "sessions": await context.read(lambda connection: access.sessions(connection, now)),
    }
    overview = await context.read(exports.overview)
    return context.page(request, "investigator.html", **shown | overview | values)
