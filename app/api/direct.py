"""A shorter way for questions to models: what FastAPI resolves for each call costs more than all the rest of the api.

The route is declared as every other, and stands so in the schema. A body that is in order, by the same model, goes to
the handler past the same gate; whatever is not goes the usual way, which tells what is wrong with it.
"""

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from pydantic import ValidationError

from app.api.auth import BEARER, get_caller
from app.api.deps import Services
from app.contract.base import Contract
from app.services.inference import Inference


class DirectRoute(APIRoute):
    """Of a handler that takes `model`, a path, `body`, `request`, `caller` and `inference`, and gives a Response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual, handler = super().get_route_handler(), self.endpoint
        hints = get_type_hints(handler, include_extras=True)
        body_type: type[Contract] = hints["body"]
        needed = SecurityScopes(hints["caller"].__metadata__[0].scopes)

        async def answer(request: Request) -> Response:
            try:
                body = body_type.model_validate_json(await request.body())
            except ValidationError:
                return await usual(request)
            services: Services = request.app.state.services
            response: Response = await handler(
                model=request.path_params["model"],
                body=body,
                request=request,
                caller=await get_caller(request, await BEARER(request), needed),
                inference=Inference(services.database, services.inference),
            )
            return response

        return answer
