"""The one door for a job's status, lists, and places in the line, on both databases."""

from collections.abc import Callable

import pytest

from app.contract.job import TRANSITIONS, JobStatus
from app.db import events, jobs
from app.db.jobs import JobFilters
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, JobRow
from tests.factories import language_model_spec, make_dataset, make_job, make_project


def read(database: Database, job_id: str) -> JobRow:
    with database.reading() as session:
        return session.get_one(JobRow, job_id)


def told(database: Database, job_id: str) -> list[object]:
    with database.reading() as session:
        return [event.data for event in events.after(session, job_id, 0, 100)]


def page(
    database: Database, filters: JobFilters | None = None, before_id: str | None = None, limit: int = 100
) -> list[str]:
    with database.reading() as session:
        rows = jobs.page(session, DEFAULT_PROJECT_ID, filters or JobFilters(), before_id=before_id, limit=limit)
        return [row.id for row in rows]


def test_a_new_job_tells_its_first_status(database: Database) -> None:
    job = make_job(database, status=JobStatus.WAITING)
    assert told(database, job.id) == [{"status": "waiting", "attempt": 0}]


def test_a_transition_changes_the_row_and_tells_it_in_one_transaction(database: Database) -> None:
    job = make_job(database)
    with database.transaction() as session:
        row = session.get_one(JobRow, job.id)
        at = now(session)
        moved = jobs.transition(session, job.id, JobStatus.RUNNING, when={JobStatus.QUEUED}, at=at, attempt=1)
        assert moved
        assert (row.status, row.attempt) == ("running", 1), "a row already read must not stay as it was"
    assert read(database, job.id).status == "running"
    assert told(database, job.id)[1:] == [{"status": "running", "attempt": 1}]


def test_a_transition_that_is_rolled_back_tells_nothing(database: Database) -> None:
    job = make_job(database)

    def change_and_break() -> None:
        with database.transaction() as session:
            jobs.transition(session, job.id, JobStatus.CANCELLED, when={JobStatus.QUEUED}, at=now(session))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        change_and_break()
    assert read(database, job.id).status == "queued"
    assert len(told(database, job.id)) == 1


@pytest.mark.parametrize(
    ("owner", "when"),
    [
        (("wrk_b", 2), {JobStatus.RUNNING}),
        (("wrk_a", 1), {JobStatus.RUNNING}),
        (("wrk_a", 2), {JobStatus.PAUSING}),
    ],
    ids=["another worker", "an earlier attempt", "another status"],
)
def test_who_does_not_own_the_attempt_changes_nothing(
    database: Database, owner: tuple[str, int], when: set[JobStatus]
) -> None:
    job = make_job(database, status=JobStatus.RUNNING, lease_owner="wrk_a", attempt=2)
    with database.transaction() as session:
        at = now(session)
        assert not jobs.transition(session, job.id, JobStatus.SUCCEEDED, when=when, at=at, owner=owner, model_id="m")
    row = read(database, job.id)
    assert (row.status, row.model_id) == ("running", None)
    assert len(told(database, job.id)) == 1


def test_the_error_of_a_failure_is_told_with_it(database: Database) -> None:
    job = make_job(database, status=JobStatus.RUNNING, lease_owner="wrk_a", attempt=1)
    error = {"code": "bad_data", "message": "no", "fault": "user"}
    with database.transaction() as session:
        jobs.transition(session, job.id, JobStatus.FAILED, when={JobStatus.RUNNING}, at=now(session), error=error)
    assert told(database, job.id)[-1] == {"status": "failed", "attempt": 1, "error": error}


def test_what_the_table_forbids_is_a_mistake_of_ours(database: Database) -> None:
    job = make_job(database, status=JobStatus.SUCCEEDED)
    for to in JobStatus:
        with database.transaction() as session, pytest.raises(AssertionError):
            jobs.transition(session, job.id, to, when={JobStatus.SUCCEEDED}, at=now(session))
    assert not TRANSITIONS[JobStatus.SUCCEEDED]


def test_pages_stay_as_they_were_while_jobs_are_added(database: Database) -> None:
    old = [make_job(database).id for _ in range(5)]
    first = page(database, limit=2)
    make_job(database)
    second = page(database, before_id=first[-1], limit=2)
    make_job(database)
    third = page(database, before_id=second[-1], limit=2)
    assert first + second + third == old[::-1]


def test_jobs_of_another_project_are_not_there(database: Database) -> None:
    other = make_job(database, project_id=make_project(database, "other"))
    assert page(database) == []
    with database.reading() as session:
        assert jobs.get(session, DEFAULT_PROJECT_ID, other.id) is None
        assert jobs.get(session, "other", other.id) is not None


def named_parent(database: Database) -> JobRow:
    return make_job(database, parent_ref="production")


def pinned_parent(database: Database) -> JobRow:
    return make_job(database, parent_ref="other", parent_model_id="production")


@pytest.mark.parametrize(
    ("filters", "make"),
    [
        (JobFilters(statuses=(JobStatus.FAILED, JobStatus.PAUSED)), lambda d: make_job(d, status=JobStatus.PAUSED)),
        (JobFilters(kinds=("finetune",)), lambda d: make_job(d, spec=finetune(d))),
        (JobFilters(method="classification"), lambda d: make_job(d, spec=finetune(d))),
        (JobFilters(parent="production"), named_parent),
        (JobFilters(parent="production"), pinned_parent),
        (JobFilters(name="tiny"), lambda d: make_job(d, name="tiny")),
        (JobFilters(metadata={"team": "nlp"}), lambda d: make_job(d, job_metadata={"team": "nlp", "more": "x"})),
        (JobFilters(metadata={"a.\"b'$": "50%"}), lambda d: make_job(d, job_metadata={"a.\"b'$": "50%"})),
        (JobFilters(metadata={"größe": "ß"}), lambda d: make_job(d, job_metadata={"größe": "ß"})),
    ],
)
def test_a_filter_finds_what_it_names_and_nothing_else(
    database: Database, filters: JobFilters, make: Callable[[Database], JobRow]
) -> None:
    make_job(database, name="tin", job_metadata={"team": "NLP", "a": "50%"}, parent_ref="Production")
    wanted = make(database)
    assert page(database, filters) == [wanted.id]


def finetune(database: Database) -> dict[str, object]:
    dataset = make_dataset(database, "labeled_text")
    return {"kind": "finetune", "parent": "x", "dataset": dataset.id, "method": {"type": "classification"}}


def test_places_in_the_line_go_by_priority_and_then_age(database: Database) -> None:
    low, first, second, high = (make_job(database, priority=priority) for priority in (-1, 0, 0, 5))
    make_job(database, status=JobStatus.RUNNING, priority=9)
    on_gpu = make_job(database, device="cuda", priority=9)
    ids = [low.id, first.id, second.id, high.id, on_gpu.id]
    with database.reading() as session:
        places = jobs.queue_positions(session, ids)
    assert [places[job_id] for job_id in ids] == [4, 2, 3, 1, 1]


def test_a_spec_survives_its_row(database: Database) -> None:
    spec = language_model_spec(make_dataset(database).id, metadata={"größe": "\U0001f40d"})
    assert read(database, make_job(database, spec=spec).id).spec["metadata"] == {"größe": "\U0001f40d"}
