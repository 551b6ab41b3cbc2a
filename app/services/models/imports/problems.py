"""What is wrong with an uploaded model."""

from collections.abc import Sequence

from app.contract.errors import ErrorCode, FieldError, InvalidRequest

MAX_ERRORS_TOLD = 20


def refused(location: str, message: str) -> InvalidRequest:
    """One thing wrong, at a file of the archive or a field of one: to be raised."""
    return all_refused([FieldError(location=location, message=message)])


def all_refused(errors: Sequence[FieldError]) -> InvalidRequest:
    first, more = errors[0], len(errors) - 1
    others = f" {more} more {'is' if more == 1 else 'are'} wrong." if more else ""
    return InvalidRequest(
        f"This is no model that can be imported. {first.location}: {first.message}{others} Nothing was stored.",
        code=ErrorCode.INVALID_MODEL,
        errors=errors[:MAX_ERRORS_TOLD],
    )
