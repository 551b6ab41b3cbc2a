"""The garbage collection at its most eager, beside attempts that write and die: it takes what is nobody's alone."""

from datetime import UTC, datetime

import pytest

from app.contract.job import JobStatus
from app.db import references
from app.db.session import Database
from app.services.garbage import Garbage
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer

STEPS = 60
#: Whatever its age, and all the time.
EAGER = {"garbage_seconds": 0.05, "garbage_age_seconds": -3_600.0}


@pytest.mark.slow
def test_an_attempt_that_writes_loses_nothing_and_one_that_died_leaves_nothing(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    job_id = training_jobs.submit(
        steps=STEPS, checkpoint_every=1, keep_checkpoints=2, kill_at=STEPS // 2, faulty_attempts=1
    )
    start_trainer(**EAGER)
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]
    assert training_jobs.events(job_id, "warning") == [], "no checkpoint was found damaged"
    assert training_jobs.weights(job_id) == weights_after(STEPS)
    Garbage(database, training_jobs.store).collect(datetime.max.replace(tzinfo=UTC))
    with database.reading() as session:
        referred = {file.key for file in references.all_files(session)}
    assert {file.key for file in training_jobs.store.list("")} == referred
