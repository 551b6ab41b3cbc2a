"""`/v1/jobs/{job_id}/events`: a list or, for those who accept it, a live stream of server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.api.deps import Reader, Services, get_services
from app.contract.base import PlainText
from app.services.jobs.events import EventPage, EventView, JobEvents
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

STREAM_TYPE = "text/event-stream"
#: A client whose stream breaks comes back so soon.
RETRY_MILLISECONDS = 1_000
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page of events; with `Accept: text/event-stream` a stream of them, which ends after the "
        "event that tells the job's end.",
        "content": {STREAM_TYPE: {"schema": {"type": "string"}}},
    },
    404: {"description": "This project has no such job."},
    204: {"description": "The job has ended and `Last-Event-ID` was its last event: do not come back."},
}


async def get_job_events(services: Annotated[Services, Depends(get_services)]) -> JobEvents:
    return JobEvents(services.database, services.events)


@router.get("/{job_id}/events", response_model=EventPage, responses=_STREAM_RESPONSES)
def list_job_events(
    *,
    job_id: Annotated[PlainText, Path(max_length=64)],
    caller: Reader,
    events: Annotated[JobEvents, Depends(get_job_events)],
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str | None, Header(description="Where a stream goes on.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(description="The events after this one.")] = None,
) -> EventPage | Response:
    """What has happened to a job, in order. `Accept: text/event-stream` gives a live stream instead."""
    if STREAM_TYPE in accept.lower():
        return _streamed(events.follow(caller.project_id, job_id, last_event_id or cursor))
    return events.page(caller.project_id, job_id, cursor, limit)


def _streamed(batches: AsyncGenerator[list[EventView], None] | None) -> Response:
    if batches is None:
        return Response(status_code=204)
    return StreamingResponse(_encoded(batches), media_type=STREAM_TYPE, headers=STREAM_HEADERS)


async def _encoded(batches: AsyncGenerator[list[EventView], None]) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY_MILLISECONDS)
    async with aclosing(batches):
        async for batch in batches:
            yield b"".join(map(_encode, batch)) or KEEPALIVE_COMMENT


def _encode(event: EventView) -> bytes:
    return format_sse_event(id=str(event.id), event=event.type, data_str=event.model_dump_json())
