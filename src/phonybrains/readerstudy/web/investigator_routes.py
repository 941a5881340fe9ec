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
from . import exports
from .context import StudyContext
from .security import check_csrf, check_origin, csrf_token
from .session_routes import add_session_routes

KIND = "investigator"


def investigator_routes(context: StudyContext) -> APIRouter:
    """The routes of the investigator."""
    router = APIRouter(prefix="/investigator")
    _add_exports(router, context)
    _add_page(router, context)
    _add_readers(router, context)
    _add_study(router, context)
    add_session_routes(router, context, KIND, links="", home="/investigator")
    return router


def _add_page(router: APIRouter, context: StudyContext) -> None:
    @router.get("")
    async def progress(request: Request) -> Response:
        used = request.headers.get("x-background") is None  # the page brings itself up to date: nobody needs be there
        await context.visitor(request, context.cookies.session(request, KIND), investigator=True, used=used)
        return await _page(request, context)

    @router.post("/sessions/end")
    async def end_session(request: Request) -> Response:
        given = str((await _form(request, context)).get("id", ""))
        if not re.fullmatch(r"[0-9]{1,9}", given):
            raise UnknownError("There is no such session.")
        await context.write(lambda writing: access.end_session(writing, int(given)))
        return _home(context)


def _add_readers(router: APIRouter, context: StudyContext) -> None:
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

    @router.post("/readers/revoke")
    async def revoke(request: Request) -> Response:
        form = await _form(request, context, confirmed=True)
        await run_in_threadpool(context.store.revoke, str(form.get("name", "")))
        return _home(context)


def _add_study(router: APIRouter, context: StudyContext) -> None:
    @router.post("/pause")
    async def pause(request: Request) -> Response:
        await _form(request, context)
        await run_in_threadpool(context.store.pause)
        return _home(context)

    @router.post("/resume")
    async def resume(request: Request) -> Response:
        await _form(request, context)
        await run_in_threadpool(context.store.pause, False)
        return _home(context)

    @router.post("/close")
    async def close(request: Request) -> Response:
        await _form(request, context, confirmed=True)
        await run_in_threadpool(context.store.close_study)
        return _home(context)


def _add_exports(router: APIRouter, context: StudyContext) -> None:
    async def export(request: Request, name: str, kind: str, content: Callable[[Connection], str]) -> Response:
        await context.visitor(request, context.cookies.session(request, KIND), investigator=True)
        await run_in_threadpool(context.store.note, "exported", file=name)
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(await context.read(content), media_type=kind, headers=disposition)

    @router.get("/answers.csv")
    async def answers(request: Request) -> Response:
        return await export(request, "answers.csv", "text/csv; charset=utf-8", exports.answers_csv)

    @router.get("/audit.csv")
    async def audit(request: Request) -> Response:
        return await export(request, "audit.csv", "text/csv; charset=utf-8", exports.audit_csv)

    @router.get("/protocol.json")
    async def protocol(request: Request) -> Response:
        content = partial(exports.protocol_json, study=context.study)
        return await export(request, "protocol.json", "application/json", content)


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
    shown: dict[str, Any] = {
        "link": None,
        "link_of": None,
        "asking": None,
        "csrf": csrf_token(session),
        "own_session": who.session_id,
        "protocol_hash": context.study.hash,
        "sessions": await context.read(lambda connection: access.sessions(connection, now)),
    }
    overview = await context.read(exports.overview)
    return context.page(request, "investigator.html", **shown | overview | values)


def _home(context: StudyContext) -> Response:
    return RedirectResponse(f"{context.root}/investigator", 303)
