"""Row locks. SQLite knows none, and needs none: whoever may write is alone there."""

from typing import Any, Literal, TypeVar

from sqlalchemy import Select

Lock = Literal["share", "update"]
Query = TypeVar("Query", bound=Select[Any])


def locked(query: Query, lock: Lock | None) -> Query:
    """`share` holds what is read against change and deletion, `update` against every other lock too, until the
    transaction ends."""
    return query if lock is None else query.with_for_update(read=lock == "share")
