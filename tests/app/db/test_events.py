"""A job's events are numbered without gaps, whoever writes them."""

import threading

from app.contract.job import JobStatus
from app.db import events, jobs
from app.db.session import Database, now
from tests.factories import make_job

WRITERS, EVENTS_EACH = 4, 15


def test_ids_ascend_without_gaps_under_concurrent_writers(database: Database) -> None:
    job = make_job(database)
    given: list[int] = []

    def write(writer: int) -> None:
        for number in range(EVENTS_EACH):
            with database.transaction() as session:
                told = {"level": "info", "message": f"{writer}.{number}"}
                given.append(events.append(session, job.id, "log", told, now(session)))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = 1 + WRITERS * EVENTS_EACH
    assert sorted(given) == list(range(2, total + 1))
    with database.reading() as session:
        stored = events.after(session, job.id, 0, 1_000)
        assert [event.id for event in stored] == list(range(1, total + 1))
        assert {event.data["message"] for event in stored[1:]} == {
            f"{writer}.{number}" for writer in range(WRITERS) for number in range(EVENTS_EACH)
        }


def test_an_id_that_was_rolled_back_is_given_again(database: Database) -> None:
    job = make_job(database)

    def break_off() -> None:
        with database.transaction() as session:
            assert events.append(session, job.id, "log", {}, now(session)) == 2
            raise InterruptedError

    for _ in range(2):
        try:
            break_off()
        except InterruptedError:
            continue
    with database.transaction() as session:
        assert events.append(session, job.id, "log", {}, now(session)) == 2


def test_each_job_counts_for_itself(database: Database) -> None:
    first, second = make_job(database), make_job(database)
    with database.transaction() as session:
        assert events.append(session, first.id, "log", {}, now(session)) == 2
        assert events.append(session, second.id, "log", {}, now(session)) == 2


def test_pages_of_events_join_without_overlap(database: Database) -> None:
    job = make_job(database)
    with database.transaction() as session:
        for _ in range(6):
            events.append(session, job.id, "log", {}, now(session))
    with database.reading() as session:
        first = events.after(session, job.id, 0, 4)
        second = events.after(session, job.id, first[-1].id, 4)
    assert [event.id for event in (*first, *second)] == [1, 2, 3, 4, 5, 6, 7]


def test_the_head_tells_status_and_last_event_together(database: Database) -> None:
    job = make_job(database)
    with database.transaction() as session:
        jobs.transition(session, job.id, JobStatus.CANCELLED, when={JobStatus.QUEUED}, at=now(session))
    with database.reading() as session:
        assert events.heads(session, [job.id, "job_none"]) == {job.id: ("cancelled", 2)}
