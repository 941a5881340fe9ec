"""The investigator's page: how far readers are, and what can be done about it. Nothing here tells what an image is."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..store import access, readers
from ..store.errors import EndedError, UnknownError
from . import exports
from .context import Desk
from .security import check_csrf, check_origin, csrf_token

KIND = "investigator"


def investigator_routes(desk: Desk) -> APIRouter:
    """The routes of the investigator."""
    router = APIRouter(prefix="/investigator")
    _add_exports(router, desk)
    _add_page(router, desk)
    _add_readers(router, desk)
    _add_study(router, desk)
    _add_invitation(router, desk)
    return router


def _add_invitation(router: APIRouter, desk: Desk) -> None:
    @router.get("/{token}")
    async def show_invitation(request: Request, token: str) -> Response:
        now = desk.store.clock.now()
        await desk.guess(request, lambda c: access.check_invitation(c, token, now, investigator=True))
        return desk.page(request, "investigator_join.html", csrf=csrf_token(token))

    @router.post("/{token}")
    async def redeem(request: Request, token: str) -> Response:
        session = await desk.redeem(request, token, KIND)
        response = _home(desk)
        desk.cookies.give(response, KIND, session)
        return response


def _add_page(router: APIRouter, desk: Desk) -> None:
    @router.get("")
    async def progress(request: Request) -> Response:
        used = request.headers.get("x-background") is None  # the page brings itself up to date: nobody needs be there
        await desk.visitor(request, desk.cookies.session(request, KIND), investigator=True, used=used)
        return await _page(request, desk)

    @router.post("/leave")
    async def leave(request: Request) -> Response:
        return await desk.leave(request, KIND)

    @router.post("/sessions/end")
    async def end_session(request: Request) -> Response:
        given = str((await _form(request, desk)).get("id", ""))
        if not re.fullmatch(r"[0-9]{1,9}", given):
            raise UnknownError("There is no such session.")
        await desk.write(lambda writing: access.end_session(writing, int(given)))
        return _home(desk)


def _add_readers(router: APIRouter, desk: Desk) -> None:
    @router.post("/readers")
    async def add(request: Request) -> Response:
        form = await _form(request, desk)
        await _check_open(request, desk)
        name = readers.checked_name(str(form.get("name", "")))
        token = await desk.write(lambda writing: desk.store.enter_reader(writing, name, "invited"))
        return await _page(request, desk, link=desk.link(request, f"/join/{token}"), link_of=name)

    @router.post("/readers/link")
    async def new_link(request: Request) -> Response:
        form = await _form(request, desk)
        await _check_open(request, desk)
        name, days = str(form.get("name", "")), desk.study.config.days_valid
        if form.get("confirm") != "yes":
            await desk.read(lambda connection: readers.find(connection, name))
            return await _page(request, desk, asking=name)
        token = await desk.write(lambda writing: readers.new_link(writing, name, days))
        return await _page(request, desk, link=desk.link(request, f"/join/{token}"), link_of=name)

    @router.post("/readers/revoke")
    async def revoke(request: Request) -> Response:
        name = str(_confirmed(await _form(request, desk)).get("name", ""))
        await desk.write(lambda writing: readers.revoke(writing, name))
        return _home(desk)


def _add_study(router: APIRouter, desk: Desk) -> None:
    @router.post("/pause")
    async def pause(request: Request) -> Response:
        await _form(request, desk)
        await desk.write(lambda writing: desk.store.set_paused(writing, True))
        return _home(desk)

    @router.post("/resume")
    async def resume(request: Request) -> Response:
        await _form(request, desk)
        await desk.write(lambda writing: desk.store.set_paused(writing, False))
        return _home(desk)

    @router.post("/close")
    async def close(request: Request) -> Response:
        _confirmed(await _form(request, desk))
        await desk.write(desk.store.set_closed)
        return _home(desk)


def _add_exports(router: APIRouter, desk: Desk) -> None:
    @router.get("/answers.csv")
    async def answers(request: Request) -> Response:
        return await export(request, "answers.csv", "text/csv; charset=utf-8", exports.answers_csv)

    @router.get("/audit.csv")
    async def audit(request: Request) -> Response:
        return await export(request, "audit.csv", "text/csv; charset=utf-8", exports.audit_csv)

    @router.get("/protocol.json")
    async def protocol(request: Request) -> Response:
        return await export(request, "protocol.json", "application/json", exports.protocol_json(desk.study))

    async def export(request: Request, name: str, kind: str, content: Any) -> Response:
        await desk.visitor(request, desk.cookies.session(request, KIND), investigator=True)
        await desk.write(lambda writing: writing.note("exported", file=name))
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(await desk.read(content), media_type=kind, headers=disposition)


async def _form(request: Request, desk: Desk) -> FormData:
    """The form of a change the investigator asks for. Raises unless it is truly theirs."""
    check_origin(request, desk.public, form=True)
    session = desk.cookies.session(request, KIND)
    await desk.visitor(request, session, investigator=True)
    form = await request.form()
    check_csrf(session, form.get("csrf"))
    return form


def _confirmed(form: FormData) -> FormData:
    if form.get("confirm") != "yes":
        raise HTTPException(409, "This cannot be undone: tick the box beside the button first.")
    return form


async def _check_open(request: Request, desk: Desk) -> None:
    who = await desk.visitor(request, desk.cookies.session(request, KIND), investigator=True)
    if who.closed:
        raise EndedError("This study is closed.")


async def _page(request: Request, desk: Desk, **values: Any) -> Response:
    session, now = desk.cookies.session(request, KIND), desk.store.clock.now()
    overview = await desk.read(exports.overview)
    who = await desk.visitor(request, session, investigator=True, used=False)
    overview["sessions"] = await desk.read(lambda connection: access.sessions(connection, now))
    own = {"link": None, "link_of": None, "asking": None, "csrf": csrf_token(session), "own_session": who.session_id}
    values = own | overview | values
    return desk.page(request, "investigator.html", protocol_hash=desk.study.hash, **values)


def _home(desk: Desk) -> Response:
    return RedirectResponse(f"{desk.root}/investigator", 303)
