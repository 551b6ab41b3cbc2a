"""The invariants themselves: each of them is seen where it is broken, and none where all is well."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db.session import Database, now
from app.db.tables import ArtifactRow, AttemptRow, CheckpointRow, EventRow, JobRow
from app.storage import FolderStore
from tests.faults.conftest import StartTrainer
from tests.support.invariants import violations
from tests.support.training_jobs import TrainingJobs

pytestmark = [pytest.mark.slow, pytest.mark.faults]

LATER = timedelta(hours=1)


def leave_nobody_in_charge(session: Session, job: JobRow) -> None:
    job.status, job.finished_at = JobStatus.RUNNING.value, None
    job.lease_owner, job.lease_expires_at = "wrk_a", now(session) - LATER


def keep_the_lease(session: Session, job: JobRow) -> None:
    job.lease_owner, job.lease_expires_at = "wrk_a", now(session) + LATER


def end_without_a_time(session: Session, job: JobRow) -> None:
    job.finished_at = None


def tell_an_error_of_a_success(session: Session, job: JobRow) -> None:
    job.error = {"code": "lost"}


def start_an_attempt_too_many(session: Session, job: JobRow) -> None:
    session.add(AttemptRow(job_id=job.id, number=3, worker_id="wrk_b", started_at=now(session)))


def start_before_the_other_has_ended(session: Session, job: JobRow) -> None:
    session.get_one(AttemptRow, (job.id, 2)).started_at -= LATER


def accept_metrics_when_nobody_runs(session: Session, job: JobRow) -> None:
    [*_, last] = session.query(EventRow).filter_by(job_id=job.id, type="metrics").order_by(EventRow.id)
    last.created_at += LATER


def accept_a_checkpoint_when_its_attempt_has_ended(session: Session, job: JobRow) -> None:
    session.get_one(CheckpointRow, (job.id, 6)).attempt = 1


def lose_an_event(session: Session, job: JobRow) -> None:
    session.delete(session.get_one(EventRow, (job.id, 2)))


def end_twice(session: Session, job: JobRow) -> None:
    *_, before, last = session.query(EventRow).filter_by(job_id=job.id, type="status").order_by(EventRow.id)
    before.data = last.data


def change_the_status_untold(session: Session, job: JobRow) -> None:
    job.status = JobStatus.CANCELLED.value


def publish_what_is_not_stored(session: Session, job: JobRow) -> None:
    session.get_one(CheckpointRow, (job.id, 6)).artifact_prefix += "-not-there"


def publish_what_is_stored_otherwise(session: Session, job: JobRow) -> None:
    session.get_one(ArtifactRow, (job.id, "sample.txt")).sha256 = "0" * 64


BREAKS: dict[Callable[[Session, JobRow], None], str] = {
    leave_nobody_in_charge: "nobody holds a valid lease",
    keep_the_lease: "has a lease still",
    end_without_a_time: "finished at None",
    tell_an_error_of_a_success: "its error is",
    start_an_attempt_too_many: "its attempts are not 1 to 2",
    start_before_the_other_has_ended: "began before attempt 1 had ended",
    accept_metrics_when_nobody_runs: "was accepted while no attempt ran",
    accept_a_checkpoint_when_its_attempt_has_ended: "not from the time of attempt 1",
    lose_an_event: "have gaps",
    end_twice: "it went from succeeded to succeeded",
    change_the_status_untold: "told of succeeded last",
    publish_what_is_not_stored: "is not in the store",
    publish_what_is_stored_otherwise: "is published with the digest",
}


@pytest.mark.databases("sqlite")
def test_each_is_seen_where_it_is_broken(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database, store: FolderStore
) -> None:
    job_id = training_jobs.submit(steps=6, checkpoint_every=2, kill_at=3, faulty_attempts=1)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    with Session(database.engine) as session:
        for break_, told in BREAKS.items():
            assert violations(session, store) == []
            break_(session, session.get_one(JobRow, job_id))
            session.flush()
            assert any(told in violation for violation in violations(session, store)), break_.__name__
            session.rollback()
