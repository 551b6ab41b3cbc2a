"""The events of a job: as a list, and as a stream that ends when the job has."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.contract.base import Contract
from app.contract.job import TERMINAL
from app.db import events
from app.db.session import Database
from app.db.tables import EventRow
from app.services.jobs.feed import EventFeed
from app.services.jobs.lookup import job_of
from app.services.paging import event_after

#: Proxies cut a silent stream after 30 to 60 s.
HEARTBEAT_SECONDS = 15.0

EventType = Literal["status", "metrics", "checkpoint", "log", "warning"]


class EventView(Contract):
    """`data` by `type`: status {status, attempt, error?}; metrics {step, values, progress}; checkpoint {step, metrics,
    size_bytes, is_best}; log {level, message}; warning {message}.
    """

    id: int
    type: EventType
    created_at: datetime
    data: dict[str, Any]


class EventPage(Contract):
    """In order of time, or against it."""

    data: list[EventView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """What a job has told up to the event `last_id`, its metrics aside, which stand in their series."""

    last_id: int
    events: list[EventView]


@dataclass(frozen=True, slots=True)
class JobEvents:
    database: Database
    feed: EventFeed

    def page(self, project_id: str, job_id: str, cursor: str | None, limit: int) -> EventPage:
        after_id = event_after(cursor)
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            rows = events.after(session, job_id, after_id, limit + 1)
        shown = rows[:limit]
        return EventPage(data=_views(shown), next_cursor=str(shown[-1].id) if len(rows) > limit else None)

    def newest(self, project_id: str, job_id: str, cursor: str | None, limit: int) -> EventPage:
        """The same from the last event on back."""
        before_id = event_after(cursor) if cursor is not None else None
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            rows = events.before(session, job_id, before_id, limit + 1)
        shown = rows[:limit]
        return EventPage(data=_views(shown), next_cursor=str(shown[-1].id) if len(rows) > limit else None)

    def told(self, project_id: str, job_id: str, limit: int) -> Told:
        """The last `limit` events. A stream that goes on after `last_id` leaves nothing out."""
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            last_id = events.last_id(session, job_id)
            rows = events.latest(session, job_id, limit, without="metrics")
        return Told(last_id, _views(rows))

    def follow(self, project_id: str, job_id: str, after: str | None) -> AsyncGenerator[list[EventView], None] | None:
        """What comes after the event `after`, until the job has ended; an empty list now and then says that the stream
        lives. None where nothing can come any more.
        """
        after_id = event_after(after)
        with self.database.reading() as session:
            row = job_of(session, project_id, job_id)
            head = events.heads(session, [row.id])[row.id]
        if head.status in TERMINAL and after_id >= head.last_id:
            return None
        return self._stream(job_id, min(after_id, head.last_id))

    async def _stream(self, job_id: str, after_id: int) -> AsyncGenerator[list[EventView], None]:
        listener = self.feed.listen(job_id, after_id)
        try:
            while (batch := await listener.next(HEARTBEAT_SECONDS)) is not None:
                yield _views(batch)
        finally:
            self.feed.leave(listener)


def _views(rows: Sequence[EventRow]) -> list[EventView]:
    return [EventView.model_validate({name: getattr(row, name) for name in EventView.model_fields}) for row in rows]
