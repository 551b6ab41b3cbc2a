"""The events of a job over HTTP: a list for most, a stream for those who accept one."""

import json
from typing import Any

import httpx2
import pytest

from app.contract.job import JobStatus
from app.db import events, jobs
from app.db.session import Database, now
from app.db.tables import JobRow
from tests.factories import make_job

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def finished(database: Database) -> JobRow:
    """Four events: queued, running, a log line, succeeded."""
    job = make_job(database)
    with database.transaction() as session:
        jobs.transition(session, job.id, JobStatus.RUNNING, when={JobStatus.QUEUED}, at=now(session), attempt=1)
        events.append(session, job.id, "log", {"level": "info", "message": "line\nbreak"}, now(session))
        jobs.transition(session, job.id, JobStatus.SUCCEEDED, when={JobStatus.RUNNING}, at=now(session))
    return job


def parsed(text: str) -> list[dict[str, Any]]:
    """The fields of each event; comments and other fields are passed over."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            found.append(fields | {"data": json.loads(fields["data"])})
    return found


def test_a_list_of_events_ascends_and_goes_on_by_cursor(client: httpx2.Client, finished: JobRow) -> None:
    first = client.get(f"/v1/jobs/{finished.id}/events?limit=3").json()
    assert [(event["id"], event["type"]) for event in first["data"]] == [(1, "status"), (2, "status"), (3, "log")]
    assert set(first["data"][0]) == {"id", "type", "created_at", "data"}
    second = client.get(f"/v1/jobs/{finished.id}/events?limit=3&cursor={first['next_cursor']}").json()
    assert [event["data"] for event in second["data"]] == [{"status": "succeeded", "attempt": 1}]
    assert second["next_cursor"] is None


def test_a_stream_tells_each_event_and_ends_with_the_job(client: httpx2.Client, finished: JobRow) -> None:
    answer = client.get(f"/v1/jobs/{finished.id}/events", headers=STREAM)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    told = parsed(answer.text)
    listed = client.get(f"/v1/jobs/{finished.id}/events").json()["data"]
    assert [event["data"] for event in told] == listed, "a stream and a list tell the same"
    assert [(event["id"], event["event"]) for event in told] == [(str(event["id"]), event["type"]) for event in listed]


def test_a_stream_goes_on_after_the_last_event_id(client: httpx2.Client, finished: JobRow) -> None:
    for position in ({"headers": STREAM | {"Last-Event-ID": "2"}}, {"headers": STREAM, "params": {"cursor": "2"}}):
        answer = client.get(f"/v1/jobs/{finished.id}/events", **position)  # type: ignore[arg-type]
        assert [event["id"] for event in parsed(answer.text)] == ["3", "4"]


def test_who_has_the_last_event_of_an_ended_job_is_told_not_to_come_back(
    client: httpx2.Client, finished: JobRow
) -> None:
    answer = client.get(f"/v1/jobs/{finished.id}/events", headers=STREAM | {"Last-Event-ID": "4"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30, ""])
def test_a_position_that_is_no_event_id_is_refused(client: httpx2.Client, finished: JobRow, given: str) -> None:
    for headers in (STREAM, {}):
        answer = client.get(f"/v1/jobs/{finished.id}/events", headers=headers, params={"cursor": given})
        assert answer.status_code == 422
