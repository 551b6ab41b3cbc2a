"""A backup of a service that trains: the job goes on where it was copied, and where it was restored."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.backup import restore, write_backup
from app.contract.job import JobStatus
from app.db.session import Database
from app.services.garbage import Garbage
from app.storage import FolderStore
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer

STEPS = 60


@pytest.mark.slow
@pytest.mark.databases("postgresql")
def test_a_job_that_runs_goes_on_here_and_from_its_checkpoint_in_the_restored_service(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database, tmp_path: Path
) -> None:
    job_id = training_jobs.submit(steps=STEPS, checkpoint_every=1, keep_checkpoints=1, step_seconds=0.05)
    start_trainer()
    training_jobs.wait_for_step(job_id, 5)
    written = write_backup(database, training_jobs.store, tmp_path / "backup")
    assert training_jobs.get(job_id).status == JobStatus.RUNNING, "nobody was disturbed"
    assert written.damaged == ()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    Garbage(database, training_jobs.store).collect(datetime.max.replace(tzinfo=UTC))
    kept = {file.key for file in training_jobs.store.list(f"default/jobs/{job_id}") if "/trainer/" in file.key}
    assert len(kept) == len(training_jobs.checkpoints(job_id)), "what was given up meanwhile is collected"

    data_dir, url = tmp_path / "restored", f"sqlite:///{tmp_path / 'restored.db'}"
    store = FolderStore(data_dir / "artifacts")
    restore(tmp_path / "backup", url, store)
    restored_database = Database(url)
    restored = TrainingJobs(restored_database, store, tmp_path)
    row, (checkpoint, *_) = restored.get(job_id), restored.checkpoints(job_id)
    assert (row.status, row.attempt) == (JobStatus.QUEUED, 1)
    start_trainer(data_dir=data_dir, database_url=url)
    assert restored.wait_for(job_id, JobStatus.SUCCEEDED).lost_attempts == 0
    assert restored.outcomes(job_id) == ["preempted", "succeeded"]
    assert restored.weights(job_id) == training_jobs.weights(job_id) == weights_after(STEPS)
    steps_told = [event["step"] for event in restored.events(job_id, "checkpoint") if event["step"] > checkpoint.step]
    assert steps_told == list(range(checkpoint.step + 1, STEPS + 1)), "it went on from the checkpoint of the backup"
    restored_database.dispose()
