"""An application with one endless stream, for servers that tests start and stop. `STREAMED_JOB` names the job."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from app.api.stopping import when_told_to_stop
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.jobs.events import JobEvents
from app.services.jobs.feed import EventFeed
from app.settings import Settings

database = Database(Settings().resolved_database_url)
feed = EventFeed(database)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    with when_told_to_stop(feed.end):
        yield
    feed.close()


async def stream(_: Request) -> StreamingResponse:
    batches = JobEvents(database, feed).follow(DEFAULT_PROJECT_ID, os.environ["STREAMED_JOB"], None)
    assert batches is not None
    return StreamingResponse(str(event.id).encode() async for batch in batches for event in batch)


app = Starlette(routes=[Route("/", stream)], lifespan=lifespan)
