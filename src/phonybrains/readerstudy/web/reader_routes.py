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
from .context import StudyContext
from .security import check_csrf, check_origin, csrf_token
from .session_routes import add_session_routes

KIND = "reader"
ID = re.compile(r"[0-9a-f]{32}")
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class DraftBody(BaseModel, frozen=True):
    """What was said so far."""

    call: Literal["real", "phony", "unclear"] | None = None
    confidence: Annotated[int, Field(ge=0, le=100, strict=True)] | None = None
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT, pattern=r"^[^\x00]*$")] = ""
    marks: Annotated[list[tuple[Fraction, Fraction]], Field(max_length=MARKS_LIMIT)] = []
    seconds: Annotated[float, Field(ge=0, le=SECONDS_LIMIT, allow_inf_nan=False)] | None = None
    revision: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def said(self) -> Said:
        return Said(self.call, self.confidence, self.description, tuple(self.marks), self.seconds, self.revision)


class AnswerBody(DraftBody, frozen=True):
    """A final answer."""

    call: Literal["real", "phony", "unclear"] = Field()


def reader_routes(context: StudyContext) -> APIRouter:
    """The routes of the readers."""
    router = APIRouter()
    add_session_routes(router, context, KIND, links="/join", home="/read")
    _add_pages(router, context)
    _add_reading(router, context)
    _add_answering(router, context)
    return router


def _add_pages(router: APIRouter, context: StudyContext) -> None:
    @router.get("/")
    async def start(request: Request) -> Response:
        text = "Please open the personal link you were sent."
        return context.page(request, "message.html", title=context.study.config.name, text=text)

    @router.get("/instructions")
    async def instructions(request: Request) -> Response:
        return context.page(request, "instructions.html")

    @router.get("/read")
    async def read(request: Request) -> Response:
        session = context.cookies.session(request, KIND)
        who = await context.visitor(request, session)
        if who.finished:
            return RedirectResponse(f"{context.root}/finished", 303)
        if who.closed:
            raise EndedError("This study is closed.")
        size = {"width": context.study.width, "height": context.study.height}
        return context.page(request, "read.html", csrf=csrf_token(session), **size)

    @router.get("/finished")
    async def finished(request: Request) -> Response:
        session = context.cookies.session(request, KIND)
        who = await context.visitor(request, session)
        if not who.finished:
            return RedirectResponse(f"{context.root}/read", 303)
        last = await context.read(lambda c: audit.first(c, "finished", who.reader))
        return context.page(request, "finished.html", csrf=csrf_token(session), receipt=last.head if last else "")


def _add_reading(router: APIRouter, context: StudyContext) -> None:
    @router.get("/api/state")
    async def state(request: Request) -> Response:
        session = _api_session(request, context)
        return JSONResponse(await context.guess(request, lambda c: context.state(c, _visitor(c, context, session))))

    @router.get("/api/presentations/{presentation_id}/image")
    async def image(request: Request, presentation_id: str) -> Response:
        session, shown = _api_session(request, context), _checked_id(presentation_id)
        who = await context.visitor(request, session)
        showing = await context.guess(request, lambda c: answering.shown(c, who, shown))
        return Response(context.images[showing.case_id], media_type="application/octet-stream")


def _add_answering(router: APIRouter, context: StudyContext) -> None:
    @router.put("/api/presentations/{presentation_id}/draft")
    async def save_draft(request: Request, presentation_id: str, body: DraftBody) -> Response:
        session, shown = await _change_session(request, context), _checked_id(presentation_id)

        def save(writing: Writing) -> None:
            who = _visitor(writing.connection, context, session)
            answering.save_draft(writing, who, shown, body.said())

        await context.write(save)
        return Response(status_code=204)

    @router.post("/api/presentations/{presentation_id}/answer")
    async def answer(request: Request, presentation_id: str, body: AnswerBody) -> Response:
        session, shown = await _change_session(request, context), _checked_id(presentation_id)

        def record(writing: Writing) -> dict[str, Any]:
            who = _visitor(writing.connection, context, session)
            case_id, kind = answering.give_answer(writing, who, shown, body.said())
            feedback = {"truth": context.study.cases[case_id].truth} if kind == "training" else None
            return {"next_state": context.state(writing.connection, who), "feedback": feedback}

        try:
            return JSONResponse(await context.write(record))
        except ConflictError as error:  # another tab was quicker: where the reader is now comes with it
            state = await context.read(lambda c: context.state(c, _visitor(c, context, session)))
            return JSONResponse({"error": str(error), "next_state": state}, 409)

    @router.post("/api/finish")
    async def finish(request: Request) -> Response:
        session = await _change_session(request, context)

        def lock(writing: Writing) -> dict[str, Any]:
            who = _visitor(writing.connection, context, session)
            if not who.finished:
                answering.check_open(who)
            readers.finish(writing, who.reader)
            return context.state(writing.connection, _visitor(writing.connection, context, session))

        return JSONResponse(await context.write(lock))


def _api_session(request: Request, context: StudyContext) -> str:
    session = context.cookies.session(request, KIND)
    context.requests.take(access.digest(session))
    return session


async def _change_session(request: Request, context: StudyContext) -> str:
    """The session of a change; one that is none never reaches the thread that writes."""
    check_origin(request, context.public)
    session = _api_session(request, context)
    check_csrf(session, request.headers.get("x-csrf-token"))
    await context.visitor(request, session)
    return session


def _visitor(connection: Connection, context: StudyContext, session: str) -> Visitor:
    return access.visitor(connection, session, context.store.clock.now(), investigator=False)


def _checked_id(presentation_id: str) -> str:
    if not ID.fullmatch(presentation_id):
        raise UnknownError("There is no such image.")
    return presentation_id
