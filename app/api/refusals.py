"""A request that FastAPI could not read, told as `app.services.refusals` tells it."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from app.contract.errors import InvalidRequest
from app.services.refusals import place_in, refusal


def refused_request(request: Request, error: RequestValidationError) -> InvalidRequest:
    """A request whose body, path, query or headers FastAPI could not read."""
    body = getattr(request.scope.get("route"), "body_field", None)
    annotation = body.field_info.annotation if body else None
    return refusal(error.errors(), lambda loc: place_in(annotation if loc[0] == "body" else None, loc[1:]))
