"""Collecting what is wrong with a file: the first errors with their places, and the count of all."""

from typing import Any

from app.contract.errors import FieldError
from app.records.limits import MAX_ERRORS_TOLD
from app.records.types import InvalidDataset


class BadValue(ValueError):
    """A value that its field cannot take. The reader that knows the place turns it into a problem."""


class Problems:
    """Validation's collector: it goes on, so that a user mends many lines at once."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.total = 0

    def add(self, location: str, message: object) -> None:
        self.total += 1
        if len(self.errors) < MAX_ERRORS_TOLD:
            self.errors.append(FieldError(location=location, message=str(message)))

    def raise_any(self) -> None:
        if self.errors:
            raise InvalidDataset(self.errors, self.total)


class FirstProblem(Problems):
    """Reading's collector: the file was valid once, so the first problem ends it."""

    def add(self, location: str, message: object) -> None:
        super().add(location, message)
        self.raise_any()


def refusal(location: str, message: object) -> InvalidDataset:
    """One problem that makes reading on senseless: to be raised."""
    return InvalidDataset([FieldError(location=location, message=str(message))])


def shown(value: Any, limit: int = 60) -> str:
    """A value in a message: quoted, printable and short."""
    text = repr(value[: 2 * limit] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Any, limit: int = 20) -> str:
    """Names in a message, at most `limit` of them."""
    names = list(names)
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(shown(name) for name in names[:limit]) + more
