"""Live events: one poller, whatever the number of listeners, and nothing lost or told twice."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db import events, jobs
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, EventRow
from app.services.jobs import events as events_service
from app.services.jobs import feed as feed_module
from app.services.jobs.events import EventView, JobEvents
from app.services.jobs.feed import EventFeed
from tests.factories import make_job
from tests.support.waiting import wait_until

DEADLINE_SECONDS = 20.0


@pytest.fixture
def feed(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventFeed]:
    monkeypatch.setattr(feed_module, "POLL_SECONDS", 0.02)
    made = EventFeed(database)
    yield made
    made.close()


@pytest.fixture
def job_events(database: Database, feed: EventFeed) -> JobEvents:
    return JobEvents(database, feed)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_SECONDS))


def log(database: Database, job_id: str, *messages: str) -> None:
    with database.transaction() as session:
        for message in messages:
            events.append(session, job_id, "log", {"level": "info", "message": message}, now(session))


def move(database: Database, job_id: str, before: JobStatus, to: JobStatus) -> None:
    with database.transaction() as session:
        assert jobs.transition(session, job_id, to, when={before}, at=now(session))


def follow(job_events: JobEvents, job_id: str, after: str | None = None) -> AsyncGenerator[list[EventView], None]:
    stream = job_events.follow(DEFAULT_PROJECT_ID, job_id, after)
    assert stream is not None
    return stream


async def to_the_end(stream: AsyncGenerator[list[EventView], None]) -> list[int]:
    return [event.id async for batch in stream for event in batch]


def test_a_finished_job_is_told_whole_and_ends(job_events: JobEvents, database: Database) -> None:
    job = make_job(database, status=JobStatus.RUNNING)
    log(database, job.id, "a", "b")
    move(database, job.id, JobStatus.RUNNING, JobStatus.SUCCEEDED)
    assert run(to_the_end(follow(job_events, job.id))) == [1, 2, 3, 4]


def test_a_stream_goes_on_after_the_last_event_that_came(job_events: JobEvents, database: Database) -> None:
    job = make_job(database, status=JobStatus.RUNNING)
    log(database, job.id, "a", "b")
    move(database, job.id, JobStatus.RUNNING, JobStatus.SUCCEEDED)
    assert run(to_the_end(follow(job_events, job.id, "2"))) == [3, 4]
    assert job_events.follow(DEFAULT_PROJECT_ID, job.id, "4") is None, "nothing can come any more"


def test_what_happens_while_somebody_listens_comes_as_it_happens(job_events: JobEvents, database: Database) -> None:
    job = make_job(database, status=JobStatus.RUNNING)

    async def listen() -> list[list[int]]:
        seen = []
        async for batch in follow(job_events, job.id):
            seen.append([event.id for event in batch])
            if seen == [[1]]:
                await asyncio.to_thread(log, database, job.id, "live")
            elif seen == [[1], [2]]:
                await asyncio.to_thread(move, database, job.id, JobStatus.RUNNING, JobStatus.FAILED)
        return seen

    assert run(listen()) == [[1], [2], [3]]


def test_an_end_that_was_retried_is_no_end(job_events: JobEvents, database: Database) -> None:
    job = make_job(database, status=JobStatus.FAILED)
    move(database, job.id, JobStatus.FAILED, JobStatus.QUEUED)

    async def listen() -> list[int]:
        seen = []
        async for batch in follow(job_events, job.id):
            seen += [event.id for event in batch]
            if seen == [1, 2]:
                await asyncio.to_thread(move, database, job.id, JobStatus.QUEUED, JobStatus.CANCELLED)
        return seen

    assert run(listen()) == [1, 2, 3]


def test_many_listeners_from_many_places_each_get_all_of_theirs(
    job_events: JobEvents, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batches so small that a listener falls behind, and behind others."""
    monkeypatch.setattr(feed_module, "BATCH", 3)
    monkeypatch.setattr(feed_module, "MAX_BATCHES_WAITING", 2)
    made = [make_job(database, status=JobStatus.RUNNING) for _ in range(2)]
    for job in made:
        log(database, job.id, *map(str, range(20)))

    async def listen() -> list[list[int]]:
        streams = [follow(job_events, job.id, after) for job in made for after in (None, "0", "7", "21", "1")]
        followed = [asyncio.create_task(to_the_end(stream)) for stream in streams]
        await asyncio.sleep(0)
        for job in made:
            await asyncio.to_thread(log, database, job.id, *map(str, range(8)))
            await asyncio.to_thread(move, database, job.id, JobStatus.RUNNING, JobStatus.SUCCEEDED)
        return await asyncio.gather(*followed)

    whole = list(range(1, 31))
    assert run(listen()) == [whole, whole, whole[7:], whole[21:], whole[1:]] * 2


def test_a_listener_that_catches_up_while_others_are_read_for_misses_nothing(
    job_events: JobEvents, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "BATCH", 3)
    monkeypatch.setattr(feed_module, "MAX_BATCHES_WAITING", 1)
    job = make_job(database, status=JobStatus.RUNNING)
    log(database, job.id, *map(str, range(20)))
    read, taken = events.after, []

    async def listen() -> list[list[int]]:
        loop, slow = asyncio.get_running_loop(), follow(job_events, job.id)
        taken.append(await anext(slow))

        def after(session: Session, job_id: str, after_id: int, limit: int) -> Sequence[EventRow]:
            rows = read(session, job_id, after_id, limit)
            if after_id == 9 and len(taken) == 1:  # where the quick one is; 4, 5 and 6 wait for the slow one
                taken.append(asyncio.run_coroutine_threadsafe(anext(slow), loop).result(DEADLINE_SECONDS))
            return rows

        monkeypatch.setattr(events, "after", after)
        quick = asyncio.create_task(to_the_end(follow(job_events, job.id)))
        while len(taken) < 2:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(move, database, job.id, JobStatus.RUNNING, JobStatus.SUCCEEDED)
        rest = await to_the_end(slow)
        return [[event.id for batch in taken for event in batch] + rest, await quick]

    assert run(listen()) == [[*range(1, 23)]] * 2


def test_silence_is_broken_by_signs_of_life(
    job_events: JobEvents, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_service, "HEARTBEAT_SECONDS", 0.05)
    job = make_job(database)

    async def listen() -> list[int]:
        stream = follow(job_events, job.id)
        return [len(await anext(stream)) for _ in range(3)]

    assert run(listen()) == [1, 0, 0]


def test_nobody_listening_means_that_nothing_is_read(
    job_events: JobEvents, feed: EventFeed, database: Database
) -> None:
    job = make_job(database)
    reads: list[str] = []
    sqlalchemy_event.listen(database.engine, "begin", lambda _connection: reads.append("read"))

    async def listen_and_leave() -> None:
        stream = follow(job_events, job.id)
        await anext(stream)
        await stream.aclose()  # what a client that goes away comes to

    run(listen_and_leave())
    assert not feed._listeners
    wait_until(lambda: _is_idle(reads), DEADLINE_SECONDS, "the poller should rest")


def _is_idle(reads: list[str]) -> bool:
    before = len(reads)
    threading.Event().wait(0.2)  # ten polls
    return len(reads) == before


def test_one_thread_serves_all(job_events: JobEvents, database: Database) -> None:
    job = make_job(database, status=JobStatus.RUNNING)

    async def listen() -> int:
        streams = [follow(job_events, job.id) for _ in range(20)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        return sum(thread.name == "event-feed" for thread in threading.enumerate())

    assert run(listen()) == 1


def test_closing_the_feed_ends_every_stream(job_events: JobEvents, feed: EventFeed, database: Database) -> None:
    job = make_job(database)

    async def listen() -> tuple[list[int], list[int]]:
        stream = follow(job_events, job.id)
        await anext(stream)
        feed.close()
        return await to_the_end(stream), await to_the_end(follow(job_events, job.id))

    assert run(listen()) == ([], [])


def test_a_database_that_is_away_for_a_moment_breaks_no_stream(
    job_events: JobEvents, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(database, status=JobStatus.RUNNING)
    read, failures = events.heads, iter([OperationalError("select", None, Exception("gone"))] * 3)

    def failing(*arguments: Any) -> Any:
        if error := next(failures, None):
            raise error
        return read(*arguments)

    async def listen() -> list[int]:
        stream = follow(job_events, job.id)
        monkeypatch.setattr(events, "heads", failing)
        batch = await anext(stream)
        return [event.id for event in batch]

    assert run(listen()) == [1]
    assert next(failures, None) is None
