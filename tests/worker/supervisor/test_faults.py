"""Training processes that crash, hang, lie and refuse to end; each job comes to the one right end."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import JobRow
from app.settings import Settings
from tests.support.processes import exists
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced_pids
from tests.support.waiting import wait_until
from tests.worker.supervisor.conftest import StartTrainer


def test_a_users_error_is_not_retried(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    job_id = training_jobs.submit(fail_at=3)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error == {"code": "bad_data", "message": "Row 17 is no row.", "fault": "user"}
    assert training_jobs.outcomes(job_id) == ["failed"]
    assert row.finished_at is not None
    assert training_jobs.events(job_id, "status")[-1]["error"] == row.error


def test_a_crash_after_the_last_words_is_no_failure(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    job_id = training_jobs.submit(crash_after_finish=True)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)


def test_a_cancel_lets_a_process_that_listens_write_a_checkpoint(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(steps=1_000, checkpoint_every=1_000, step_seconds=0.02)
    start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    training_jobs.request_stop(job_id, "cancel")
    training_jobs.wait_for(job_id, JobStatus.CANCELLED)
    assert len(training_jobs.checkpoints(job_id)) == 1


def test_a_checkpoint_that_was_written_damaged_is_never_published(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    job_id = training_jobs.submit(steps=6, checkpoint_every=2, damage_at=4)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [2, 6]
    assert "step 4 was written damaged" in training_jobs.events(job_id, "warning")[0]["message"]
    stored = trainer_settings.artifacts_dir / f"default/jobs/{job_id}/attempt-1/step-000000004"
    assert not stored.exists()


def test_a_result_that_cannot_be_verified_is_no_success(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(steps=4, checkpoint_every=2, damage_at=4, faulty_attempts=1)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert training_jobs.weights(job_id) == weights_after(4)


def test_a_resume_in_another_environment_is_told(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    job_id = training_jobs.submit(
        steps=4, checkpoint_every=2, kill_at=3, faulty_attempts=1, environment_by_attempt=True
    )
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    (warning,) = training_jobs.events(job_id, "warning")
    assert "torch scripted-1 then, scripted-2 now" in warning["message"]


def test_a_data_set_whose_bytes_have_changed_fails_the_job(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    job_id = training_jobs.submit()
    (blob,) = (trainer_settings.artifacts_dir / "default/blobs").iterdir()
    _flip_one_bit(blob)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert row.error["fault"] == "infrastructure"
    assert training_jobs.dataset_id in row.error["message"]


def test_a_trainer_that_stops_gives_its_jobs_back_uncounted(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=50, checkpoint_every=50, step_seconds=0.02, trace=trace)
    first = start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    first.stop()
    row = training_jobs.get(job_id)
    assert (row.status, row.lease_owner, row.lost_attempts) == (JobStatus.QUEUED, None, 0)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["preempted", "succeeded"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == list(range(1, 51)), "no step was lost and none repeated"


def test_an_owner_that_lost_its_lease_kills_its_process_and_writes_nothing(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(steps=10_000, checkpoint_every=5, step_seconds=0.01, trace=trace)
    trainer = start_trainer(idle_poll_seconds=60.0)
    threading.Thread(target=trainer.fill).start()
    training_jobs.wait_for_step(job_id, 5)
    with database.transaction() as session:
        row = session.get_one(JobRow, job_id)
        row.lease_owner, row.attempt = "wrk_other", 2
    last_event = max(event["step"] for event in training_jobs.events(job_id, "metrics"))
    (pid,) = traced_pids(trace)
    wait_until(lambda: not exists(pid), 30.0, "the process should be killed")
    row = training_jobs.get(job_id)
    assert (row.lease_owner, row.attempt, row.status) == ("wrk_other", 2, JobStatus.RUNNING)
    assert max(event["step"] for event in training_jobs.events(job_id, "metrics")) <= last_event + 1


def test_memory_is_limited(training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path) -> None:
    """The scripted process needs some 60 MB of addresses to start: with less it is lost, and nothing else is."""
    job_id = training_jobs.submit()
    start_trainer(training_memory_bytes=8 << 20, max_lost_attempts=1)
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert row.error["code"] == "lost"


def _flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.databases("postgresql")
def test_a_database_that_drops_every_connection_does_not_disturb_a_run(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    """What a restart of PostgreSQL does to its clients, once every few steps."""
    job_id = training_jobs.submit(steps=60, checkpoint_every=5, step_seconds=0.02)
    start_trainer()
    for step in (5, 15, 25, 35):
        training_jobs.wait_for_step(job_id, step)
        with database.transaction() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["succeeded"]
    assert training_jobs.weights(job_id) == weights_after(60)
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert sorted(set(steps)) == list(range(1, 61))
