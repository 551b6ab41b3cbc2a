"""What a deletion would do, told before it is done, and why it cannot be done."""

from collections.abc import Iterable, Sequence

from pydantic import Field

from app.contract.base import Contract
from app.contract.errors import Conflict, ErrorCode


class Deletion(Contract):
    """What DELETE on the same resource would do now."""

    freed_bytes: int = Field(description="Of the store.")
    freed_files: int
    blocked_by: list[str] = Field(description="What keeps it from going, in sentences that name it; empty: it can go.")
    stays: list[str] = Field(description="What has to do with it and stays as it is, in sentences.")


def deletion_of(sizes: Iterable[int], blocked_by: Sequence[str], stays: Sequence[str]) -> Deletion:
    """`sizes` of the files that would go, in bytes."""
    listed = list(sizes)
    return Deletion(freed_bytes=sum(listed), freed_files=len(listed), blocked_by=list(blocked_by), stays=list(stays))


def refuse_deletion(what: str, blocked_by: Sequence[str]) -> None:
    """Raises Conflict if anything is in the way."""
    if blocked_by:
        raise Conflict(
            f"{what[0].upper()}{what[1:]} is in use. {' '.join(blocked_by)} Delete, cancel or unpin those first.",
            code=ErrorCode.RESOURCE_IN_USE,
        )
