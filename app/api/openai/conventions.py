"""What all resources of the OpenAI surface share: lists, times, the fields that we do not know, and names of fields."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Generic, Literal, TypeVar

from pydantic import ConfigDict

from app.contract.base import Contract
from app.contract.errors import ErrorCode, FieldError, InvalidRequest, ServiceError
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

    def refuse_unknown(self, at: str = "") -> None:
        """Raises Unsupported for the first field, here or in a part, that asks for what is not done here. `at` stands
        before its name.
        """
        for name, value in (self.model_extra or {}).items():
            if name not in _WITHOUT_EFFECT and value not in _NOTHING and value not in _NEUTRAL.get(name, ()):
                raise unsupported(f"{at}{name}", f"{at}{name} is not supported here: leave it out.")
        for name in type(self).model_fields:
            for place, part in _parts(getattr(self, name)):
                part.refuse_unknown(f"{at}{name}{place}.")


def _parts(value: object) -> Iterator[tuple[str, OpenAIRequest]]:
    """The requests within a field's value, and where in it they stand."""
    if isinstance(value, OpenAIRequest):
        yield "", value
    elif isinstance(value, list):
        yield from ((f".{index}", each) for index, each in enumerate(value) if isinstance(each, OpenAIRequest))


#: They label a request, or say how OpenAI's machines shall hurry, and change no answer.
_WITHOUT_EFFECT = frozenset({
    "include_obfuscation", "metadata", "prediction", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "safety_identifier", "service_tier", "user",
})  # fmt: skip
_NOTHING: Sequence[object] = (None, False, 0, "", [])
#: Further values that ask for what is done anyway.
_NEUTRAL: Mapping[str, Sequence[object]] = {
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "verbosity": ("medium",),
}


def unsupported(param: str, message: str) -> Unsupported:
    return Unsupported(message, errors=[FieldError(location=param, message=message)])


def refused(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(location=param, message=message)])


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
        ours = [each.location for each in error.errors]
        theirs = [_renamed(location, names) for location in ours]
        error.errors = tuple(
            each.model_copy(update={"location": location}) for each, location in zip(error.errors, theirs, strict=True)
        )
        for before, after in zip(ours, theirs, strict=True):
            error.detail = error.detail.replace(f"{before}: ", f"{after}: ")
        raise


def _renamed(location: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if not ours or location == ours or location.startswith(f"{ours}."):
            return ".".join(filter(None, (theirs, location.removeprefix(ours).removeprefix("."))))
    return location
