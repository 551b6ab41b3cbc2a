"""What a replica's refusal means to the user: the same error, raised in this process."""

import logging
from http import HTTPStatus

from pydantic import ValidationError

from app.contract.base import Contract
from app.contract.errors import ErrorCode, FieldError, ServiceError, Unavailable
from app.inference_client.connection import Head

logger = logging.getLogger(__name__)


class ReplicaError(Contract):
    """The body of a replica's refusal."""

    code: ErrorCode
    message: str
    errors: tuple[FieldError, ...] = ()


class RemoteError(ServiceError):
    """A ServiceError that a replica raised, with its own status."""

    def __init__(self, head: Head, error: ReplicaError) -> None:
        retry_after = head.headers.get("retry-after")
        super().__init__(
            error.message,
            code=error.code,
            errors=error.errors,
            retry_after_seconds=int(retry_after) if retry_after else None,
        )
        self.status = HTTPStatus(head.status)


def is_success(head: Head) -> bool:
    return head.status == HTTPStatus.OK


def remote_error(head: Head, body: bytes) -> ServiceError:
    """A token that the replica does not know is our fault, and never the user's 401."""
    if head.status == HTTPStatus.UNAUTHORIZED:
        logger.error("The inference replica refuses our token: PRETUNE_INTERNAL_TOKEN must be the same on both sides")
        return Unavailable("The inference replica refuses this api.")
    try:
        return RemoteError(head, ReplicaError.model_validate_json(body))
    except ValidationError:
        logger.exception("The inference replica answered %s with an unknown body", head.status)
        return ServiceError("The inference replica gave an answer that is not understood.")
