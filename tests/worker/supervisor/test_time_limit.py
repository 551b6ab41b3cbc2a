"""Jobs that have run for as long as they may: over all attempts, and not a moment that they waited."""

from datetime import timedelta

import pytest

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import AttemptRow, JobRow
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer

LIMIT_SECONDS = 3_600


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_a_job_at_its_time_limit_keeps_a_checkpoint_and_a_retry_goes_on_from_it(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    """All but some seconds were spent by earlier attempts; the run would take longer, the retry takes the rest."""
    job_id = training_jobs.submit(steps=300, checkpoint_every=300, step_seconds=0.02, time_limit_seconds=LIMIT_SECONDS)
    set_seconds_run(database, job_id, LIMIT_SECONDS - 5.0)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("time_limit", "user")
    assert "3,600 seconds" in row.error["message"]
    assert row.seconds_run >= LIMIT_SECONDS
    (kept,) = training_jobs.checkpoints(job_id)
    assert 0 < kept.step < 300
    training_jobs.retry(job_id)
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["failed", "succeeded"]
    assert training_jobs.weights(job_id) == weights_after(300)
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == list(range(1, 301)), "the retry went on from the checkpoint, with the whole limit anew"


def test_a_job_that_has_nothing_left_of_its_time_trains_no_more(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    """As where it was paused in its last moment and is resumed."""
    job_id = training_jobs.submit(steps=10_000, step_seconds=0.01, time_limit_seconds=LIMIT_SECONDS)
    set_seconds_run(database, job_id, LIMIT_SECONDS + 1.0)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert row.error["code"] == "time_limit"


def test_attempts_count_and_pauses_do_not(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    job_id = training_jobs.submit(steps=60, checkpoint_every=60, step_seconds=0.02)
    trainer = start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    training_jobs.request_stop(job_id, "pause")
    paused = training_jobs.wait_for(job_id, JobStatus.PAUSED)
    assert paused.seconds_run > 0
    with database.transaction() as session:
        first = session.get_one(AttemptRow, (job_id, 1))
        for name in ("started_at", "finished_at"):
            setattr(first, name, getattr(first, name) - timedelta(days=1))  # so the pause was a day
    training_jobs.resume(job_id)
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    trainer.stop()
    assert row.seconds_run - paused.seconds_run < timedelta(days=1).total_seconds()
    with database.reading() as session:
        ran = [session.get_one(AttemptRow, (job_id, number)) for number in (1, 2)]
    spent = [(attempt.finished_at - attempt.started_at).total_seconds() for attempt in ran if attempt.finished_at]
    assert abs(sum(spent) - row.seconds_run) < 1e-3


def test_a_job_without_a_limit_runs_on(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    job_id = training_jobs.submit(steps=3)
    set_seconds_run(database, job_id, 1e9)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)


def set_seconds_run(database: Database, job_id: str, seconds: float) -> None:
    with database.transaction() as session:
        session.get_one(JobRow, job_id).seconds_run = seconds
