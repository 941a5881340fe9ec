"""How a reader, or the investigator, comes in by a link and goes out again."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..store import access
from .context import StudyContext
from .security import check_csrf, check_origin, csrf_token, device_of


def add_session_routes(
    router: APIRouter, context: StudyContext, kind: Literal["reader", "investigator"], *, links: str, home: str
) -> None:
    """Invitations below `links`, each of which leads to `home`, and `/leave`."""
    investigator = kind == "investigator"

    async def check_link(request: Request, token: str) -> None:
        now = context.store.clock.now()
        await context.guess(request, lambda c: access.check_invitation(c, token, now, investigator=investigator))

    @router.post("/leave")
    async def leave(request: Request) -> Response:
        check_origin(request, context.public, form=True)
        session = context.cookies.session(request, kind)
        check_csrf(session, (await request.form()).get("csrf"))
        who = await context.visitor(request, session, investigator=investigator, used=False)
        await context.write(lambda writing: access.end_session(writing, who.session_id))
        text = "What you did is kept. To go on, open your personal link again."
        response = context.page(request, "message.html", title="You are logged out", text=text)
        context.cookies.give(response, kind, "")
        return response

    @router.get(f"{links}/{{token}}")
    async def show_invitation(request: Request, token: str) -> Response:
        await check_link(request, token)
        return context.page(request, f"join_{kind}.html", csrf=csrf_token(token))

    @router.post(f"{links}/{{token}}")
    async def redeem(request: Request, token: str) -> Response:
        check_origin(request, context.public, form=True)
        await check_link(request, token)
        check_csrf(token, (await request.form()).get("csrf"))
        context.joins.take(access.digest(token))
        device, before = device_of(request), request.cookies.get(context.cookies.name(kind), "")
        session = await context.write(
            lambda writing: access.redeem(writing, token, investigator=investigator, device=device, before=before)
        )
        response = RedirectResponse(f"{context.root}{home}", 303)
        context.cookies.give(response, kind, session)
        return response
