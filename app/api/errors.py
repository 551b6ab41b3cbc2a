"""Everything that goes wrong, as RFC 9457: the only place that turns an exception into an HTTP answer.

A body also carries `error`, the shape that OpenAI's clients read, so that one answer serves both.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.api.explanations import EXPLANATIONS
from app.api.refusals import refused_request
from app.contract.base import Contract
from app.contract.errors import ErrorCode, FieldError, NotFound, ServiceError, Unavailable
from app.db.session import DATABASE_AWAY

PROBLEM_TYPE = "application/problem+json"
DATABASE_BACK_SECONDS = 2
STORE_BACK_SECONDS = 5

_log = structlog.get_logger(__name__)

_CODES = {
    HTTPStatus.NOT_FOUND: ErrorCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ErrorCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ErrorCode.PAYLOAD_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}


class OpenAIError(Contract):
    """What OpenAI's clients read. `param` is the first location of `errors`."""

    message: str
    type: str
    param: str | None
    code: ErrorCode


class ProblemBody(Contract):
    """RFC 9457. `type` is a page that explains the code; input errors list every place that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    errors: list[FieldError] = []
    error: OpenAIError


class Problem(JSONResponse):
    """A ServiceError as an answer."""

    media_type = PROBLEM_TYPE

    def __init__(self, error: ServiceError, headers: dict[str, str] | None = None) -> None:
        retry = error.retry_after_seconds
        timing = {} if retry is None else {"Retry-After": str(retry)}
        challenge = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
        content = _body(error).model_dump(mode="json", exclude_defaults=True)
        super().__init__(content, error.status, timing | _advice(error) | challenge | (headers or {}))


def _advice(error: ServiceError) -> dict[str, str]:
    """OpenAI's clients send again what conflicts: in vain, unless the conflict names a time to come back. A quota that
    is used up is not freed while they wait either."""
    conflicts = error.status == HTTPStatus.CONFLICT and error.retry_after_seconds is None
    lasts = conflicts or error.code is ErrorCode.QUOTA_EXCEEDED
    return {"x-should-retry": "false"} if lasts else {}


def _body(error: ServiceError) -> ProblemBody:
    return ProblemBody(
        type=f"/errors/{error.code}",
        title=EXPLANATIONS[error.code].title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        errors=list(error.errors),
        error=openai_error(error),
    )


def openai_error(error: ServiceError) -> OpenAIError:
    return OpenAIError(
        message=_openai_message(error),
        type=_openai_type(error.status),
        param=error.errors[0].location if error.errors else None,
        code=error.code,
    )


def install_error_handlers(app: FastAPI) -> None:
    """For everything but the exceptions that nobody foresaw, which `app.api.requests` catches outside of all else."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


def handler_of(error: Exception) -> "Handler | None":
    """For whoever answers before the framework does."""
    return next((_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS), None)


async def _service_error(_request: Request, error: Exception) -> Problem:
    assert isinstance(error, ServiceError)
    return Problem(error)


async def _invalid_request(request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    return Problem(refused_request(request, error))


async def _http_exception(request: Request, error: Exception) -> Problem:
    """What the framework itself refuses."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    refusal = ServiceError(_framework_detail(request, status, error.detail), code=_code_of(status))
    refusal.status = status
    return Problem(refusal, dict(error.headers or {}))


async def _database_away(_request: Request, error: Exception) -> Problem:
    """The text of such an error holds addresses and statements: it is for the log."""
    _log.error("database_away", error=str(error))
    detail = "The database does not answer now. Send the request again in a moment."
    return Problem(Unavailable(detail, retry_after_seconds=DATABASE_BACK_SECONDS))


async def _storage_fails(request: Request, error: Exception) -> Problem:
    """A disk or the store, where no service knew better what it was for."""
    assert isinstance(error, OSError)
    _log.error("storage_fails", path=request.url.path, error=str(error), exc_info=error)
    detail = f"The service's storage fails now: {error.strerror or type(error).__name__}. The request is not at fault."
    return Problem(Unavailable(detail, retry_after_seconds=STORE_BACK_SECONDS))


Handler = Callable[[Request, Exception], Awaitable[Problem]]
_HANDLERS: dict[type[Exception], Handler] = {
    ServiceError: _service_error,
    RequestValidationError: _invalid_request,
    HTTPException: _http_exception,
    **dict.fromkeys((*DATABASE_AWAY, PoolTimeout), _database_away),
    OSError: _storage_fails,
}


def _framework_detail(request: Request, status: HTTPStatus, detail: str) -> str:
    match status:
        case HTTPStatus.NOT_FOUND:
            return nothing_there(request.url.path).detail
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.url.path} does not take {request.method}."
        case _:
            return detail


def nothing_there(path: str) -> NotFound:
    return NotFound(f"There is nothing at {path[:200]}. See /docs for what there is.")


def _code_of(status: HTTPStatus) -> ErrorCode:
    if status in _CODES:
        return _CODES[status]
    return ErrorCode.INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ErrorCode.VALIDATION_FAILED


def _openai_message(error: ServiceError) -> str:
    """With the first thing that is wrong: OpenAI's clients keep nothing of `errors`."""
    if not error.errors or error.errors[0].message.rstrip(".") in error.detail:
        return error.detail
    return f"{error.detail} {error.errors[0].location}: {error.errors[0].message}"


def _openai_type(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case _:
            return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
