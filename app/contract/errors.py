"""Every error that users can meet: one enum of stable codes, and the exceptions that carry them.

An exception is a noun with facts. `app.api.errors` renders it as RFC 9457; nothing else turns one into HTTP.
"""

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus

from app.contract.base import Contract
from app.contract.job import Fault


class ErrorCode(StrEnum):
    """Stable, machine-readable; `/errors/{code}` explains each."""

    # requests
    VALIDATION_FAILED = "validation_failed"
    MALFORMED_JSON = "malformed_json"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    REQUEST_TOO_SLOW = "request_too_slow"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_KEY_IN_FLIGHT = "idempotency_key_in_flight"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    # resources
    INVALID_DATASET = "invalid_dataset"
    INVALID_MODEL = "invalid_model"
    RESOURCE_IN_USE = "resource_in_use"
    INVALID_STATE = "invalid_state"
    PARENT_INCOMPATIBLE = "parent_incompatible"
    DATASET_INCOMPATIBLE = "dataset_incompatible"
    TOO_LARGE = "too_large"
    # inference
    INVALID_INPUT = "invalid_input"
    OPERATION_NOT_SUPPORTED = "operation_not_supported"
    MODEL_CORRUPTED = "model_corrupted"
    # jobs
    PARENT_FAILED = "parent_failed"
    BAD_DATA = "bad_data"
    OUT_OF_MEMORY = "out_of_memory"
    LOSS_NOT_FINITE = "loss_not_finite"
    LOST = "lost"
    STALLED = "stalled"
    TIME_LIMIT = "time_limit"
    DISK_FULL = "disk_full"
    TRAINING_CRASHED = "training_crashed"


class FieldError(Contract):
    """One thing wrong with an input: where (`method.architecture.num_heads`, `line 17`) and what."""

    location: str
    message: str


class JobError(Contract):
    """Why a job failed."""

    code: ErrorCode
    message: str
    fault: Fault


class ServiceError(Exception):
    """The root of all errors that become an HTTP answer. `detail` names the value refused and the remedy."""

    code: ErrorCode = ErrorCode.INTERNAL
    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(
        self,
        detail: str,
        *,
        code: ErrorCode | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(ServiceError):
    """The request is well formed and yet cannot be accepted as it is."""

    code = ErrorCode.VALIDATION_FAILED
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unauthenticated(ServiceError):
    code = ErrorCode.UNAUTHENTICATED
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(ServiceError):
    code = ErrorCode.FORBIDDEN_ORIGIN
    status = HTTPStatus.FORBIDDEN


class InsufficientScope(ServiceError):
    """The key is good, and not for this."""

    code = ErrorCode.INSUFFICIENT_SCOPE
    status = HTTPStatus.FORBIDDEN


class NotFound(ServiceError):
    code = ErrorCode.NOT_FOUND
    status = HTTPStatus.NOT_FOUND


class Conflict(ServiceError):
    code = ErrorCode.INVALID_STATE
    status = HTTPStatus.CONFLICT


class PayloadTooLarge(ServiceError):
    code = ErrorCode.PAYLOAD_TOO_LARGE
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TooSlow(ServiceError):
    """The body does not come: whoever holds a connection so holds nothing else for long."""

    code = ErrorCode.REQUEST_TOO_SLOW
    status = HTTPStatus.REQUEST_TIMEOUT


class Overloaded(ServiceError):
    code = ErrorCode.OVERLOADED
    status = HTTPStatus.TOO_MANY_REQUESTS


class Unavailable(ServiceError):
    """Something of ours does not answer; the same request may work in a moment."""

    code = ErrorCode.UNAVAILABLE
    status = HTTPStatus.SERVICE_UNAVAILABLE
