"""Who looks at a page, and what becomes of a page that cannot be shown."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.api.auth import SESSION_COOKIE, Gate
from app.api.deps import Services
from app.api.explanations import EXPLANATIONS
from app.api.refusals import refused_request
from app.contract.errors import ServiceError, Unauthenticated
from app.contract.scopes import Scope
from app.web.rendering import render


@dataclass(frozen=True, slots=True)
class Visitor:
    """`has_key`: whether the service asks for keys at all."""

    project_id: str
    services: Services
    has_key: bool
    scopes: Sequence[Scope]


async def get_visitor(request: Request) -> Visitor:
    """Raises as `Gate.caller`. A page changes nothing, so it may be opened from anywhere."""
    services: Services = request.app.state.services
    gate: Gate = services.gate
    caller = await gate.caller(request, request.cookies.get(SESSION_COOKIE), Scope.READ)
    return Visitor(caller.project_id, services, caller.key_id is not None, caller.scopes)


ThisVisitor = Annotated[Visitor, Depends(get_visitor)]


class PageRoute(APIRoute):
    """Refusals are pages too; whoever is not known is asked for a key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except Unauthenticated:
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"/login?next={quote(wanted, safe='')}", HTTPStatus.SEE_OTHER)
            except RequestValidationError as error:
                return _refusal(request, refused_request(request, error))
            except ServiceError as error:
                return _refusal(request, error)

        return answered


def _refusal(request: Request, error: ServiceError) -> Response:
    title = EXPLANATIONS[error.code].title
    return render(request, "refusal.html", error.status, title=title, detail=error.detail, code=error.code.value)
