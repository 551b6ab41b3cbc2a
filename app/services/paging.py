"""Lists in pages. A cursor is opaque to its user: it names the last row shown, so that new rows move nothing."""

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from app.contract.errors import FieldError, InvalidRequest
from app.db.ids import Prefix

DEFAULT_LIMIT, MAX_LIMIT = 20, 200


class Identified(Protocol):
    id: str


AnyRow = TypeVar("AnyRow", bound=Identified)


def id_before(cursor: str | None, prefix: Prefix) -> str | None:
    """The id that the rows of the page come after. Raises InvalidRequest for a cursor that no page gave."""
    if cursor is not None and not re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", cursor):
        raise bad_cursor(cursor)
    return cursor


def event_after(cursor: str | None) -> int:
    """The same for events, whose ids are numbers from 1."""
    if cursor is not None and not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise bad_cursor(cursor)
    return int(cursor or 0)


def cut(rows: Sequence[AnyRow], limit: int) -> tuple[Sequence[AnyRow], str | None]:
    """The rows to show of up to `limit` + 1 that were found, and the cursor of the next page if there is one."""
    return rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None


def bad_cursor(cursor: str) -> InvalidRequest:
    message = f"{cursor[:60]!r} is no cursor of this list. Give `next_cursor` as the page before gave it, or nothing."
    return InvalidRequest(message, errors=[FieldError(location="cursor", message=message)])
