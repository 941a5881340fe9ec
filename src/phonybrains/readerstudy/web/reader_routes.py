"""What a reader's browser asks for: the invitation, the reading page, and the API behind it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ..store import access, answering, audit, readers
from ..store.access import Visitor
from ..store.answering import DESCRIPTION_LIMIT, MARKS_LIMIT, SECONDS_LIMIT, Said
from ..store.errors import ConflictError, EndedError, UnknownError
from ..store.writer import Writing
from .context import Desk
from .security import check_csrf, check_origin, csrf_token

KIND = "reader"
ID = re.compile(r"[0-9a-f]{32}")
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Typed(BaseModel):
    """What was typed beside the call."""

    confidence: Annotated[int, Field(ge=0, le=100, strict=True)] | None = None
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT, pattern=r"^[^\x00]*$")] = ""
    marks: Annotated[list[tuple[Fraction, Fraction]], Field(max_length=MARKS_LIMIT)] = []
    seconds: Annotated[float, Field(ge=0, le=SECONDS_LIMIT, allow_inf_nan=False)] | None = None
    revision: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def with_call(self, call: str | None) -> Said:
        return Said(call, self.confidence, self.description, tuple(self.marks), self.seconds, self.revision)


class DraftBody(Typed):
    """What was said so far."""

    call: Literal["real", "phony", "unclear"] | None = None


class AnswerBody(Typed):
    """A final answer."""

    call: Literal["real", "phony", "unclear"]


def reader_routes(desk: Desk) -> APIRouter:
    """The routes of the readers."""
    router = APIRouter()
    _add_invitation(router, desk)
    _add_pages(router, desk)
    _add_reading(router, desk)
    _add_answering(router, desk)
    return router


def _add_invitation(router: APIRouter, desk: Desk) -> None:
    @router.get("/join/{token}")
    async def show_invitation(request: Request, token: str) -> Response:
        now = desk.store.clock.now()
        await desk.guess(request, lambda c: access.check_invitation(c, token, now, investigator=False))
        return desk.page(request, "join.html", csrf=csrf_token(token))

    @router.post("/join/{token}")
    async def redeem(request: Request, token: str) -> Response:
        session = await desk.redeem(request, token, KIND)
        response = RedirectResponse(f"{desk.root}/read", 303)
        desk.cookies.give(response, KIND, session)
        return response

    @router.post("/leave")
    async def leave(request: Request) -> Response:
        return await desk.leave(request, KIND)


def _add_pages(router: APIRouter, desk: Desk) -> None:
    @router.get("/")
    async def start(request: Request) -> Response:
        text = "Please open the personal link you were sent."
        return desk.page(request, "message.html", title=desk.study.config.name, text=text)

    @router.get("/instructions")
    async def instructions(request: Request) -> Response:
        return desk.page(request, "instructions.html")

    @router.get("/read")
    async def read(request: Request) -> Response:
        session = desk.cookies.session(request, KIND)
        who = await desk.visitor(request, session)
        if who.finished:
            return RedirectResponse(f"{desk.root}/finished", 303)
        if who.closed:
            raise EndedError("This study is closed.")
        size = {"width": desk.study.width, "height": desk.study.height}
        return desk.page(request, "read.html", csrf=csrf_token(session), **size)

    @router.get("/finished")
    async def finished(request: Request) -> Response:
        session = desk.cookies.session(request, KIND)
        who = await desk.visitor(request, session)
        if not who.finished:
            return RedirectResponse(f"{desk.root}/read", 303)
        last = await desk.read(lambda c: audit.first(c, "finished", who.reader))
        return desk.page(request, "finished.html", csrf=csrf_token(session), receipt=last.head if last else "")


def _add_reading(router: APIRouter, desk: Desk) -> None:
    @router.get("/api/state")
    async def state(request: Request) -> Response:
        session = _api_session(request, desk)
        return JSONResponse(await desk.guess(request, lambda c: desk.state(c, _visitor(c, desk, session))))

    @router.get("/api/presentations/{presentation_id}/image")
    async def image(request: Request, presentation_id: str) -> Response:
        session, shown = _api_session(request, desk), _checked_id(presentation_id)
        who = await desk.visitor(request, session)
        showing = await desk.guess(request, lambda c: answering.shown(c, who, shown))
        return Response(desk.images[showing.case_id], media_type="application/octet-stream")


def _add_answering(router: APIRouter, desk: Desk) -> None:
    @router.put("/api/presentations/{presentation_id}/draft")
    async def save_draft(request: Request, presentation_id: str, body: DraftBody) -> Response:
        session, shown = await _change_session(request, desk), _checked_id(presentation_id)

        def save(writing: Writing) -> None:
            answering.save_draft(writing, _visitor(writing.connection, desk, session), shown, body.with_call(body.call))

        await desk.write(save)
        return Response(status_code=204)

    @router.post("/api/presentations/{presentation_id}/answer")
    async def answer(request: Request, presentation_id: str, body: AnswerBody) -> Response:
        session, shown = await _change_session(request, desk), _checked_id(presentation_id)

        def record(writing: Writing) -> dict[str, Any]:
            who = _visitor(writing.connection, desk, session)
            case_id, kind = answering.give_answer(writing, who, shown, body.with_call(body.call))
            feedback = {"truth": desk.study.cases[case_id].truth} if kind == "training" else None
            return {"next_state": desk.state(writing.connection, who), "feedback": feedback}

        try:
            return JSONResponse(await desk.write(record))
        except ConflictError as error:  # another tab was quicker: where the reader is now comes with it
            state = await desk.read(lambda c: desk.state(c, _visitor(c, desk, session)))
            return JSONResponse({"error": str(error), "next_state": state}, 409)

    @router.post("/api/finish")
    async def finish(request: Request) -> Response:
        session = await _change_session(request, desk)

        def lock(writing: Writing) -> dict[str, Any]:
            who = _visitor(writing.connection, desk, session)
            if not who.finished:
                answering.check_open(who)
            assert who.reader is not None
            readers.finish(writing, who.reader)
            return desk.state(writing.connection, _visitor(writing.connection, desk, session))

        return JSONResponse(await desk.write(lock))


def _api_session(request: Request, desk: Desk) -> str:
    session = desk.cookies.session(request, KIND)
    desk.requests.take(access.digest(session))
    return session


async def _change_session(request: Request, desk: Desk) -> str:
    """The session of a change; one that is none never reaches the thread that writes."""
    check_origin(request, desk.public)
    session = _api_session(request, desk)
    check_csrf(session, request.headers.get("x-csrf-token"))
    await desk.visitor(request, session)
    return session


def _visitor(connection: Connection, desk: Desk, session: str) -> Visitor:
    return access.visitor(connection, session, desk.store.clock.now(), investigator=False)


def _checked_id(presentation_id: str) -> str:
    if not ID.fullmatch(presentation_id):
        raise UnknownError("There is no such image.")
    return presentation_id
