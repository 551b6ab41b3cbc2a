"""What a call may raise. Every message is whole: it can be shown to a user as it is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class PretuneError(Exception):
    """All that this package raises of itself."""


class FieldProblem(NamedTuple):
    """`location` names the field of the request, as in `training.batch_size`."""

    location: str
    message: str


class ApiError(PretuneError):
    """An answer of 4xx or 5xx. `code` is stable; `{url}/errors/{code}` explains it.

    `retry_after_seconds`: what the service asked to wait, where it did.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        places = [f"{error.location}: {error.message}" for error in errors if error.message != detail]
        untold = "; ".join(place for place in places if place not in detail)
        super().__init__(f"{detail} {untold}".strip())
        self.status, self.code, self.detail, self.errors = status, code, detail, tuple(errors)
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, status: int, problem: Any, headers: Mapping[str, str]) -> "ApiError":
        """`problem`: the parsed body, whatever it is."""
        told = problem if isinstance(problem, dict) else {}
        errors = [FieldProblem(str(each["location"]), str(each["message"])) for each in told.get("errors", ())]
        return STATUS_ERRORS.get(status, cls)(
            status,
            told.get("code", "unknown"),
            told.get("detail") or f"The service answered {status}: {str(problem)[:500]}",
            errors,
            _seconds(headers.get("retry-after")),
        )


class InvalidRequest(ApiError):
    """400, 413, 415 or 422: what was sent is wrong, and `errors` tells where."""


class Unauthenticated(ApiError):
    """401: there is no key, or none that holds."""


class Forbidden(ApiError):
    """403: the key lacks the scope."""


class NotFound(ApiError):
    """404: it is not there, or another project's."""


class Conflict(ApiError):
    """409: not as things stand."""


class TooManyRequests(ApiError):
    """429: a rate, a quota or an overload."""


class NoAnswer(PretuneError):
    """The service cannot be reached, or the connection broke off. Whether it did what was asked is not known."""


class JobDidNotSucceed(PretuneError):
    """A job that was waited for has failed or was cancelled. `code` is that of the job's own error."""

    def __init__(self, job_id: str, status: str, code: str, message: str) -> None:
        super().__init__(f"{job_id} {status} ({code}): {message}")
        self.job_id, self.status, self.code, self.message = job_id, status, code, message


STATUS_ERRORS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}


def _seconds(header: str | None) -> float | None:
    """The service sends seconds, never a date."""
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None
