"""What all resources of the OpenAI surface share: lists, times, the fields that we do not know, and names of fields."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeVar

from pydantic import ConfigDict

from app.contract.base import Contract
from app.contract.errors import ErrorCode, FieldError, ServiceError
from app.services.idempotency import Record

PREFIX = "/openai/v1"

Item = TypeVar("Item")
View = TypeVar("View")
Told = TypeVar("Told")


class ItemList(Contract, Generic[Item]):
    """Continued with `after`, the last id of `data`, while `has_more`."""

    object: Literal["list"] = "list"
    data: Sequence[Item]
    has_more: bool = False


class Deleted(Contract):
    id: str
    object: str
    deleted: Literal[True] = True


class Unsupported(ServiceError):
    """A field of OpenAI's that would change the answer, and that this service does not know."""

    code = ErrorCode.OPERATION_NOT_SUPPORTED
    status = HTTPStatus.BAD_REQUEST


class OpenAIRequest(Contract):
    """Strict about the fields it knows. Of the others, which are many and change with each release of the client, it
    takes those that ask for nothing.
    """

    model_config = ConfigDict(extra="allow")

    def refuse_unknown(self) -> None:
        """Raises Unsupported for the first field that asks for what is not done here."""
        for name, value in (self.model_extra or {}).items():
            if value and name not in _WITHOUT_EFFECT and _NEUTRAL.get(name) != value:
                raise unsupported(name, f"{name} is not supported here: leave it out.")


#: They label a request and change no answer.
_WITHOUT_EFFECT = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "store", "user"})
#: Beside null, false, 0 and what is empty: values that ask for what is done anyway.
_NEUTRAL: Mapping[str, Any] = {
    "best_of": 1,
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "tool_choice": "none",
}


def unsupported(param: str, message: str) -> Unsupported:
    return Unsupported(message, errors=[FieldError(location=param, message=message)])


def recorded_as(record: Record[Told] | None, tell: Callable[[View], Told]) -> Record[View] | None:
    """Of what a service makes, an idempotency key keeps what this surface tells."""
    if record is None:
        return None
    return lambda session, view: record(session, tell(view))


def unix(at: datetime) -> int:
    return int(at.timestamp())


@contextmanager
def locations(names: Mapping[str, str]) -> Iterator[None]:
    """Errors tell places by the names that OpenAI's users gave. `names`: ours to theirs, the first that fits counts;
    our empty name stands before all.
    """
    try:
        yield
    except ServiceError as error:
        error.errors = tuple(
            each.model_copy(update={"location": _renamed(each.location, names)}) for each in error.errors
        )
        raise


def _renamed(location: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if not ours or location == ours or location.startswith(f"{ours}."):
            return ".".join(filter(None, (theirs, location.removeprefix(ours).removeprefix("."))))
    return location
