"""What its user may do to a job in each state."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.contract.errors import Conflict, NotFound
from app.contract.job import JobStatus
from app.db import attempts, events
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, JobRow
from app.services.jobs import JobFilters, Jobs, JobView
from tests.app.services.jobs.conftest import RecordedWakes
from tests.factories import language_model_spec, make_dataset, make_job

S = JobStatus

#: What each call does in each state; what stands not here is refused.
MOVES = {
    ("cancel", S.WAITING): S.CANCELLED,
    ("cancel", S.QUEUED): S.CANCELLED,
    ("cancel", S.RUNNING): S.CANCELLING,
    ("cancel", S.PAUSING): S.CANCELLING,
    ("cancel", S.PAUSED): S.CANCELLED,
    ("cancel", S.CANCELLING): S.CANCELLING,
    ("cancel", S.CANCELLED): S.CANCELLED,
    ("pause", S.QUEUED): S.PAUSED,
    ("pause", S.RUNNING): S.PAUSING,
    ("resume", S.PAUSED): S.QUEUED,
    ("retry", S.FAILED): S.QUEUED,
    ("retry", S.CANCELLED): S.QUEUED,
}


def call(jobs: Jobs, name: str, job_id: str, project_id: str = DEFAULT_PROJECT_ID) -> JobView:
    view: JobView = getattr(jobs, name)(project_id, job_id)
    return view


def statuses(database: Database, job_id: str) -> list[str]:
    with database.reading() as session:
        return [event.data["status"] for event in events.after(session, job_id, 0, 100) if event.type == "status"]


@pytest.mark.parametrize("name", ["cancel", "pause", "resume", "retry"])
def test_each_call_in_each_state(jobs: Jobs, database: Database, wakes: RecordedWakes, name: str) -> None:
    for status in JobStatus:
        job = make_job(database, status=status)
        to = MOVES.get((name, status))
        if to is None:
            with pytest.raises(Conflict, match=f"is {status} and cannot be"):
                call(jobs, name, job.id)
            assert jobs.get(DEFAULT_PROJECT_ID, job.id).status is status
        else:
            assert call(jobs, name, job.id).status is to
            assert statuses(database, job.id) == [status] if status is to else [status, to]
            assert wakes.calls.pop() == ({"cpu"} if to is S.QUEUED else frozenset())


@pytest.mark.parametrize("name", ["cancel", "pause", "resume", "retry"])
def test_a_job_of_another_project_is_not_there(jobs: Jobs, database: Database, name: str) -> None:
    job = make_job(database, project_id="other")
    with pytest.raises(NotFound):
        call(jobs, name, job.id)
    with pytest.raises(NotFound):
        jobs.get(DEFAULT_PROJECT_ID, job.id)


@pytest.mark.parametrize(("name", "request_"), [("cancel", "cancel"), ("pause", "pause")])
def test_a_running_job_is_asked_and_keeps_its_owner(jobs: Jobs, database: Database, name: str, request_: str) -> None:
    job = make_job(database, status=S.RUNNING, lease_owner="wrk_a", attempt=1)
    call(jobs, name, job.id)
    with database.reading() as session:
        row = session.get_one(JobRow, job.id)
        assert (row.stop_request, row.lease_owner, row.finished_at) == (request_, "wrk_a", None)


def test_a_job_cancelled_in_the_queue_is_finished_and_never_claimed(jobs: Jobs, database: Database) -> None:
    job = make_job(database)
    assert call(jobs, "cancel", job.id).finished_at is not None
    with database.transaction() as session:
        assert attempts.claim(session, owner="wrk_a", devices=("auto",), lease_seconds=30) is None


@pytest.mark.parametrize("name", ["cancel", "pause"])
def test_a_job_that_leaves_the_queue_is_held_back_by_nothing_any_more(
    jobs: Jobs, database: Database, name: str
) -> None:
    held = {"code": "disk_full", "message": "There is too little disk.", "fault": "infrastructure"}
    job = make_job(database, error=held)
    assert jobs.get(DEFAULT_PROJECT_ID, job.id).error is not None
    assert call(jobs, name, job.id).error is None


def test_cancelling_twice_tells_it_once(jobs: Jobs, database: Database) -> None:
    job = make_job(database, status=S.RUNNING)
    first, second = call(jobs, "cancel", job.id), call(jobs, "cancel", job.id)
    assert first == second
    assert statuses(database, job.id) == ["running", "cancelling"]


def test_a_retried_job_starts_afresh_under_its_id(jobs: Jobs, database: Database) -> None:
    error = {"code": "lost", "message": "lost", "fault": "infrastructure"}
    job = make_job(database, status=S.FAILED, error=error, attempt=3, lost_attempts=3, seconds_run=60.0, wake_count=4)
    view = call(jobs, "retry", job.id)
    assert (view.id, view.error, view.finished_at, view.attempt) == (job.id, None, None, 3)
    with database.reading() as session:
        row = session.get_one(JobRow, job.id)
    assert (row.lost_attempts, row.seconds_run, row.wake_count, row.wake_at) == (0, 0.0, 0, None)


@pytest.mark.parametrize(
    ("parent_status", "becomes"),
    [(S.SUCCEEDED, S.QUEUED), (S.QUEUED, S.WAITING), (S.RUNNING, S.WAITING), (S.PAUSED, S.WAITING)],
)
def test_a_retried_child_waits_for_its_parent_again(
    jobs: Jobs, database: Database, parent_status: JobStatus, becomes: JobStatus
) -> None:
    parent = make_job(database, status=parent_status)
    child = make_job(database, status=S.FAILED, spec=_finetune(database, parent.id), parent_job_id=parent.id)
    assert call(jobs, "retry", child.id).status is becomes


def test_a_child_is_not_retried_before_a_parent_that_failed(jobs: Jobs, database: Database) -> None:
    parent = make_job(database, status=S.FAILED)
    child = make_job(database, status=S.CANCELLED, spec=_finetune(database, parent.id), parent_job_id=parent.id)
    with pytest.raises(Conflict, match=parent.id):
        call(jobs, "retry", child.id)


def _finetune(database: Database, parent: str) -> dict[str, Any]:
    dataset = make_dataset(database, "labeled_text")
    return {"kind": "finetune", "parent": parent, "dataset": dataset.id, "method": {"type": "classification"}}


def test_a_page_tells_places_in_the_line_and_where_it_goes_on(jobs: Jobs, database: Database) -> None:
    made = [make_job(database).id for _ in range(3)]
    first = jobs.page(DEFAULT_PROJECT_ID, JobFilters(), None, 2)
    assert [(view.id, view.queue_position) for view in first.data] == [(made[2], 3), (made[1], 2)]
    second = jobs.page(DEFAULT_PROJECT_ID, JobFilters(), first.next_cursor, 2)
    assert ([view.id for view in second.data], second.next_cursor) == ([made[0]], None)


def test_a_job_whose_data_were_deleted_cannot_be_retried(jobs: Jobs, database: Database) -> None:
    gone, kept = make_dataset(database, deleted_at=datetime.now(UTC)), make_dataset(database)
    for spec in (
        language_model_spec(gone.id),
        language_model_spec(kept.id, training={"validation_dataset": gone.id}),
    ):
        job = make_job(database, status=S.FAILED, spec=spec)
        with pytest.raises(Conflict, match=f"{gone.id}, which was deleted"):
            jobs.retry(DEFAULT_PROJECT_ID, job.id)
        assert jobs.get(DEFAULT_PROJECT_ID, job.id).status is S.FAILED
