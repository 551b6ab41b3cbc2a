"""A shorter way for questions to models: what the framework does for each call costs more than all the rest of the api.

Their routes are declared as every other, and stand so in the schema. A body in order, by the same model, goes to
the handler past the same gate; whatever is not goes the usual way, which tells what is wrong with it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.auth import BEARER, get_caller
from app.api.deps import Services
from app.api.errors import handler_of
from app.api.strict_json import replayed
from app.contract.base import Contract
from app.services.inference import Inference
from app.tracing import traces


class _Way(NamedTuple):
    """A route, and what its handler's signature says."""

    route: APIRoute
    handler: Callable[..., Awaitable[Response]]
    body_type: type[Contract]
    needed: SecurityScopes

    @classmethod
    def of(cls, route: APIRoute) -> "_Way":
        hints = get_type_hints(route.endpoint, include_extras=True)
        return cls(route, route.endpoint, hints["body"], SecurityScopes(hints["caller"].__metadata__[0].scopes))


class Direct:
    """Pure ASGI, behind the checks of a body. `routes` are those of POST handlers that take `model`, a path, `body`,
    `request`, `caller` and `inference`, and give a Response.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._ways = [_Way.of(route) for route in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        way, model = found
        request = Request(scope, receive)
        content = await request.body()
        try:
            body = way.body_type.model_validate_json(content)
        except ValidationError:
            await self._app(scope, replayed(content, receive), send)
            return
        scope["route"] = way.route
        traces.routed(scope["method"], way.route.path_format)
        response = await _response(way, model, body, request)
        await response(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[_Way, str] | None:
        """The way, and the model that its path names. Below a root path the router knows better."""
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path"):
            for way in self._ways:
                if match := way.route.path_regex.match(scope["path"]):
                    return way, match["model"]
        return None


async def _response(way: _Way, model: str, body: Contract, request: Request) -> Response:
    services: Services = request.app.state.services
    try:
        return await way.handler(
            model=model,
            body=body,
            request=request,
            caller=await get_caller(request, await BEARER(request), way.needed),
            inference=Inference(services.database, services.inference),
        )
    except Exception as error:
        if (handler := handler_of(error)) is None:
            raise
        return await handler(request, error)
