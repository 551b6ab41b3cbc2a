"""A key for a cookie, so that a browser shows it by itself and no script can read it.

The cookie holds the key itself: what is revoked is out at once, and there is no second secret to keep. `SameSite` keeps
other sites from using it, and `app.api.auth` refuses it where the browser tells that another origin asks.
"""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from app.api.auth import SESSION_COOKIE, Gate, check_same_origin
from app.contract.base import Contract
from app.contract.errors import Unauthenticated
from app.contract.scopes import Scope
from app.web.rendering import render
from app.web.visitors import PageRoute

MAX_KEY_LENGTH = 200

router = APIRouter(include_in_schema=False)
pages = APIRouter(include_in_schema=False, route_class=PageRoute)


class KeyForm(Contract):
    #: What a cookie can hold: visible ASCII without its separators.
    key: Annotated[str, Field(max_length=MAX_KEY_LENGTH, pattern=r"^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$")]


class SessionView(Contract):
    """Whether this browser may look at pages without showing a key."""

    known: bool


@pages.get("/login")
async def show_login(request: Request) -> HTMLResponse:
    return render(request, "login.html")


@router.get("/session")
async def check_session(request: Request) -> SessionView:
    gate: Gate = request.app.state.services.gate
    try:
        await gate.caller(request, request.cookies.get(SESSION_COOKIE), Scope.READ)
    except Unauthenticated:
        return SessionView(known=False)
    return SessionView(known=True)


@router.post("/session", status_code=204)
async def open_session(form: KeyForm, request: Request, response: Response) -> None:
    """Raises Unauthenticated for a key that is not taken, and InsufficientScope for one that may not look."""
    check_same_origin(request)
    gate: Gate = request.app.state.services.gate
    await gate.caller(request, form.key, Scope.READ)
    response.set_cookie(
        SESSION_COOKIE, form.key, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


@router.delete("/session", status_code=204)
async def close_session(request: Request, response: Response) -> None:
    check_same_origin(request)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
