"""The schema at `/openapi.json`, with every error as the problem that it is."""

from collections.abc import Iterator
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.errors import PROBLEM_TYPE, ProblemBody

DESCRIPTION = (
    "Pretrain models, fine-tune them, serve them. Errors are RFC 9457 problems, whose `code` is stable and explained "
    "at `/errors/{code}`. Every answer has an `x-request-id`."
)
_REF = "#/components/schemas/{model}"
_PROBLEM = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model=ProblemBody.__name__)}}}
#: What FastAPI would answer by itself, and never does here.
_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})

#: Refusals that need no line at their route.
_WITH_KEY = {
    401: "An API key is missing or wrong.",
    403: "The key has not the scope that this needs; without keys, only this machine may call.",
    429: "The service or your project has its fill. Try again after `Retry-After`.",
    503: "A part of the service does not answer now. Try again after `Retry-After`.",
}
_WITH_BODY = {
    400: "The body is no strict JSON or no form.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is of another type.",
}
_WITH_INPUT = {422: "The request is not valid; `errors` names each place."}
_WITH_PATH = {404: "There is no such thing in this project."}


def install_schema(app: FastAPI) -> None:
    """Made once, when it is first asked for."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = deepcopy(plain())  # it shares its parts with the routes
            _tell_problems(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def operation_id(route: APIRoute) -> str:
    """The handler's name: clients are generated from it, so it stays when a path moves."""
    return route.name


def _tell_problems(schema: dict[str, Any]) -> None:
    for path, operation in _operations(schema):
        _tell_refusals(path, operation)
    schemas = schema["components"]["schemas"]
    for name in _UNUSED_SCHEMAS:
        schemas.pop(name, None)
    problem = ProblemBody.model_json_schema(ref_template=_REF)
    schemas |= problem.pop("$defs") | {ProblemBody.__name__: problem}


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method in _METHODS & item.keys():
            yield path, item[method]


def _tell_refusals(path: str, operation: dict[str, Any]) -> None:
    """What the route tells itself stands; the rest follows from what it takes."""
    takes_body = "requestBody" in operation
    implied = {
        **(_WITH_KEY if "security" in operation else {}),
        **(_WITH_BODY if takes_body else {}),
        **(_WITH_PATH if "{" in path else {}),
        **(_WITH_INPUT if takes_body or "parameters" in operation else {}),
    }
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own shape
    for status, description in implied.items():
        responses.setdefault(str(status), {"description": description})
    for status, response in responses.items():
        if int(status) >= HTTPStatus.BAD_REQUEST:
            response.setdefault("content", _PROBLEM)
    operation["responses"] = dict(sorted(responses.items()))
